"""Chooses the certificates that a connection trusts."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from inworld_sync.errors import ConfigError, ConnectError
from inworld_sync.models.options import Options
from inworld_sync.transport.stream import NotTls

__all__ = ["context_for", "tls_error"]

# If one of these variables is set, the certificates that it names replace those of certifi. The
# first two are OpenSSL's variables. The third is the variable of the library requests, and names a
# file or a folder.
_ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


def context_for(options: Options) -> ssl.SSLContext:
    """
    Return the TLS context for new connections.

    The context is made from the first of these sources that exists:

    1. ``ssl_context`` of *options*, unchanged
    2. the certificates named by ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
    3. the certificates named by ``REQUESTS_CA_BUNDLE``
    4. the certificates of certifi
    5. the certificates of the system

    Reading certificates takes tens of milliseconds, so the default context is created once per
    process and shared.
    """
    if options.ssl_context is not None:
        return options.ssl_context
    return _default_context(tuple(os.environ.get(name) for name in _ENVIRONMENT))


@functools.cache
def _default_context(environment: tuple[str | None, ...]) -> ssl.SSLContext:
    cert_file, cert_dir, bundle = environment
    if cert_file or cert_dir:
        context = ssl.create_default_context()
        if cert_file:
            with _readable("SSL_CERT_FILE", cert_file):
                context.load_verify_locations(cafile=cert_file)
        for path in (cert_dir or "").split(os.pathsep):
            if path and not Path(path).is_dir():
                raise ConfigError(f"SSL_CERT_DIR names {path!r}, which is not a folder")
    elif bundle:
        with _readable("REQUESTS_CA_BUNDLE", bundle):
            is_folder = Path(bundle).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else bundle, capath=bundle if is_folder else None
            )
    else:
        context = ssl.create_default_context(cafile=_certifi())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _certifi() -> str | None:
    """Return the file of certifi's certificates; None if certifi is not installed."""
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()


@contextlib.contextmanager
def _readable(name: str, path: str) -> Iterator[None]:
    """Raise an error that names the variable. OpenSSL itself would ignore an unreadable file."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{name} names {path!r}, which is not a readable file of certificates in PEM format: "
            f"{error.strerror or error}"
        ) from error


def tls_error(error: Exception, where: str, setting: str) -> ConnectError:
    """
    Return the error for a TLS handshake that failed.

    Args:
        error: The error of the handshake.
        where: The server, for the message.
        setting: The setting with the address of the server, for the message.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        # X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
        if error.verify_code in (62, 64):
            return ConnectError(
                f"the certificate of {where} is for another host: {reason}; "
                f"check the host in {setting}"
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
    if isinstance(error, NotTls):
        return ConnectError(
            f"{where} answered the TLS handshake with bytes that are not TLS; if the server uses "
            f"no TLS on this port, {setting} must start with http://"
        )
    if isinstance(error, EOFError):
        return ConnectError(
            f"{where} closed the connection during the TLS handshake; if the server uses no TLS on "
            f"this port, {setting} must start with http://"
        )
    if isinstance(error, ssl.SSLError):
        return ConnectError(
            f"the TLS handshake with {where} failed: {error.reason or error}; check the server's "
            "versions of TLS and whether it needs a certificate of the client"
        )
    return ConnectError(f"the connection to {where} failed during the TLS handshake: {error}")
