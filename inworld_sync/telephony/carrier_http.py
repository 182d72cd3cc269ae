"""
Sends commands to Twilio and Telnyx over HTTP, which end or transfer a call. Further commands to
Telnyx answer a call, stream its audio, and send the tones of phone keys (DTMF).

Sources: Twilio, "Call resource", "Update a Call"; Telnyx, "Call Commands".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from inworld_sync.audio import base64
from inworld_sync.errors import ConfigError
from inworld_sync.models.options import Options
from inworld_sync.secret import Secret
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient

__all__ = ["TelnyxControl", "TwilioControl"]

_FORM = {"content-type": "application/x-www-form-urlencoded"}


class TwilioControl:
    """
    Ends and transfers calls of Twilio.

    Args:
        account_sid: The id of the account. With None, ``TWILIO_ACCOUNT_SID`` is read.
        auth_token: The token of the account. With None, ``TWILIO_AUTH_TOKEN`` is read.
        caller_id: The number that the target of a transfer sees; None for Twilio's default.
        base_url: The address of Twilio's API.
        timeout: How many seconds a command may take.

    Raises:
        ConfigError: The account or the token is missing.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        account_sid: str | None = None,
        auth_token: str | None = None,
        *,
        caller_id: str | None = None,
        base_url: str = "https://api.twilio.com",
        timeout: float = 10.0,
    ) -> None:
        # An error report may show the variables of this function, so the token must be a Secret.
        auth_token = _given(auth_token, "TWILIO_AUTH_TOKEN", "auth_token")
        account = _given(account_sid, "TWILIO_ACCOUNT_SID", "account_sid")
        basic = Secret(base64.encode(f"{account}:{auth_token}".encode()).decode())
        self._header = ("authorization", Secret(f"Basic {basic}"))
        self._account, self._caller_id, self._timeout = account, caller_id, timeout
        self._http = HttpClient(Options(base_url=base_url))

    def hang_up(self, call_id: str) -> None:
        """End a call."""
        self._update(call_id, {"Status": "completed"})

    def transfer(self, call_id: str, target: str) -> None:
        """Connect the caller with a number, or with a ``sip:`` address."""
        response = ElementTree.Element("Response")
        caller_id = {} if self._caller_id is None else {"callerId": self._caller_id}
        dial = ElementTree.SubElement(response, "Dial", caller_id)
        kind = "Sip" if target.lower().startswith(("sip:", "sips:")) else "Number"
        ElementTree.SubElement(dial, kind).text = target
        self._update(call_id, {"Twiml": ElementTree.tostring(response, encoding="unicode")})

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()

    def _update(self, call_id: str, fields: Mapping[str, str]) -> None:
        path = f"/2010-04-01/Accounts/{quote(self._account)}/Calls/{quote(call_id, safe='')}.json"
        body = urlencode(fields).encode()
        self._http.request(
            "POST",
            path,
            headers={**_FORM, "content-length": str(len(body))},
            credential=self._header,
            body=lambda: [body],
            deadline=Deadline(self._timeout, "a command to Twilio"),
        )


class TelnyxControl:
    """
    Answers, streams, ends and transfers calls of Telnyx, and sends the tones of phone keys.

    Args:
        api_key: The key. With None, ``TELNYX_API_KEY`` is read.
        base_url: The address of Telnyx's API.
        timeout: How many seconds a command may take.

    Raises:
        ConfigError: The key is missing.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = "https://api.telnyx.com",
        timeout: float = 10.0,
    ) -> None:
        api_key = _given(api_key, "TELNYX_API_KEY", "api_key")
        self._header = ("authorization", Secret(f"Bearer {api_key}"))
        self._timeout = timeout
        self._http = HttpClient(Options(base_url=base_url))

    def answer(self, call_id: str) -> None:
        """Answer a call."""
        self._command(call_id, "answer", {})

    def start_stream(self, call_id: str, parameters: Mapping[str, object]) -> None:
        """Stream the audio of a call that is answered; see ``stream_parameters``."""
        self._command(call_id, "streaming_start", parameters)

    def hang_up(self, call_id: str) -> None:
        """End a call."""
        self._command(call_id, "hangup", {})

    def transfer(self, call_id: str, target: str) -> None:
        """Connect the caller with a number, or with a ``sip:`` address."""
        self._command(call_id, "transfer", {"to": target})

    def send_keys(self, call_id: str, digits: str) -> None:
        """Send the tones of keys; ``w`` is a pause of 0.5 s, and ``W`` is a pause of 1 s."""
        self._command(call_id, "send_dtmf", {"digits": digits})

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()

    def _command(self, call_id: str, name: str, body: Mapping[str, object]) -> None:
        self._http.request(
            "POST",
            f"/v2/calls/{quote(call_id, safe='')}/actions/{name}",
            credential=self._header,
            json=body,
            deadline=Deadline(self._timeout, "a command to Telnyx"),
        )


def _given(value: str | None, variable: str, name: str) -> Secret:
    text = value or os.environ.get(variable, "")
    if not text:
        raise ConfigError(f"{name}= or the environment variable {variable} is needed")
    return Secret(text)
