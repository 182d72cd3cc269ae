"""The certificates that a connection trusts."""

from __future__ import annotations

import functools
import os
import ssl

from inworld_sync.errors import ConnectError
from inworld_sync.models.options import Options

__all__ = ["context_for", "tls_error"]

# OpenSSL's own two variables; whoever sets them means them.
_ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def context_for(options: Options) -> ssl.SSLContext:
    """
    Give the TLS settings to connect with.

    They are the ones of *options* as they are; else what ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
    name; else certifi's certificates when it is installed; else the system's.
    Reading certificates takes tens of milliseconds, so the settings are made once a process and
    shared.
    """
    if options.ssl_context is not None:
        return options.ssl_context
    return _default_context(tuple(os.environ.get(name) for name in _ENVIRONMENT))


@functools.cache
def _default_context(environment: tuple[str | None, ...]) -> ssl.SSLContext:
    cafile = None
    if not any(environment):
        try:
            import certifi
        except ImportError:
            pass
        else:
            cafile = certifi.where()
    context = ssl.create_default_context(cafile=cafile)
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_error(error: Exception, where: str) -> ConnectError:
    """Say what failed in the TLS handshake with *where*, a host and port, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        # X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
        if error.verify_code in (62, 64):
            return ConnectError(
                f"the certificate of {where} is for another host: {reason}; "
                "check the host in base_url"
            )
        return ConnectError(
            f"the certificate of {where} is not trusted: {reason}; if a proxy or a private "
            "authority signs it, add that authority by ssl_context= or SSL_CERT_FILE"
        )
    if isinstance(error, EOFError):
        return ConnectError(f"{where} hung up during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        return ConnectError(f"no TLS with {where}: {error.reason or error}")
    return ConnectError(f"the connection to {where} failed during the TLS handshake: {error}")
