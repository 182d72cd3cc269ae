"""Writes the XML documents with which Twilio and Telnyx connect a call with a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from xml.etree import ElementTree

from inworld_sync.errors import ConfigError

__all__ = ["require_stream_url", "stream_xml"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def stream_xml(
    url: str,
    attributes: Mapping[str, str],
    parameters: Mapping[str, str] | None,
    say_before: str | None,
) -> str:
    """
    Return a document that connects a call with a WebSocket in both directions.

    Args:
        url: The address of the WebSocket.
        attributes: Further attributes of ``<Stream>``.
        parameters: The ``<Parameter>`` elements.
        say_before: A text for ``<Say>``; None for no such element.
    """
    require_stream_url(url)
    response = ElementTree.Element("Response")
    if say_before is not None:
        ElementTree.SubElement(response, "Say").text = say_before
    connect = ElementTree.SubElement(response, "Connect")
    stream = ElementTree.SubElement(connect, "Stream", {"url": url, **attributes})
    for name, value in (parameters or {}).items():
        ElementTree.SubElement(stream, "Parameter", {"name": name, "value": value})
    text = ElementTree.tostring(response, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'


def require_stream_url(url: str) -> None:
    """Raise ConfigError if a carrier cannot use the address."""
    parts = urlsplit(url)
    is_local = parts.scheme == "ws" and parts.hostname in _LOOPBACK
    if parts.scheme != "wss" and not is_local:
        raise ConfigError(f"url must begin with wss://, got {parts.scheme or 'no scheme'}://")
    if not parts.hostname:
        raise ConfigError(f"url must have a host, such as wss://voice.example.com/, got {url!r}")
    if parts.query or parts.fragment:
        raise ConfigError(
            "url must have no query, because the carrier removes it: use parameters= or the path"
        )
