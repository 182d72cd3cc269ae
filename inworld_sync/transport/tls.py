"""Chooses the certificates that a connection trusts."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path

from inworld_sync.errors import ConfigError, ConnectError
from inworld_sync.models.options import Options

__all__ = ["context_for", "tls_error"]

# OpenSSL's variables. If one is set, it replaces certifi's certificates.
_ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def context_for(options: Options) -> ssl.SSLContext:
    """
    Return the TLS context for new connections.

    The context is made from the first of these sources that exists:

    1. ``ssl_context`` of *options*, unchanged
    2. the certificates named by ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
    3. the certificates of certifi
    4. the certificates of the system

    Reading certificates takes tens of milliseconds, so the default context is created once per
    process and shared.
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
    _check_variables(context, *environment)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_variables(context: ssl.SSLContext, cert_file: str | None, cert_dir: str | None) -> None:
    """Raise an error for a file or folder that cannot be read, which OpenSSL would ignore."""
    if cert_file:
        try:
            context.load_verify_locations(cafile=cert_file)
        except OSError as error:
            raise ConfigError(
                f"SSL_CERT_FILE names {cert_file!r}, which is not a readable file of certificates "
                f"in PEM format: {error.strerror or error}"
            ) from error
    for path in (cert_dir or "").split(os.pathsep):
        if path and not Path(path).is_dir():
            raise ConfigError(f"SSL_CERT_DIR names {path!r}, which is not a folder")


def tls_error(error: Exception, where: str) -> ConnectError:
    """Return the error for a TLS handshake that failed; *where* is the host and port."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        # X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
        if error.verify_code in (62, 64):
            return ConnectError(
                f"the certificate of {where} is for another host: {reason}; "
                "check the host in base_url"
            )
        # X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
        if error.verify_code in (9, 10):
            return ConnectError(
                f"the certificate of {where} is not valid now: {reason}; check the clock of this "
                "machine, or have the server's certificate renewed"
            )
        return ConnectError(
            f"the certificate of {where} is not trusted: {reason}; if a proxy or a private "
            "authority signed it, add that authority with ssl_context= or SSL_CERT_FILE"
        )
    if isinstance(error, EOFError):
        return ConnectError(f"{where} closed the connection during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        return ConnectError(
            f"the TLS handshake with {where} failed: {error.reason or error}; "
            "check the port and whether the server uses TLS"
        )
    return ConnectError(f"the connection to {where} failed during the TLS handshake: {error}")
