"""
Compare this package with the official packages of Twilio and Telnyx.

    pip install twilio telnyx pynacl
    python tests/official_carriers.py

The program compares signatures, the document of a webhook, and the names and values of parameters.
A missing package is an error.
"""

from __future__ import annotations

import base64
import hashlib
import time
import typing
from collections.abc import Callable, Mapping
from functools import partial
from xml.etree import ElementTree

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature
from telnyx.types.calls.action_send_dtmf_params import ActionSendDtmfParams
from telnyx.types.calls.action_start_streaming_params import ActionStartStreamingParams
from telnyx.types.calls.action_transfer_params import ActionTransferParams
from telnyx.types.stream_bidirectional_codec import StreamBidirectionalCodec
from telnyx.types.stream_bidirectional_mode import StreamBidirectionalMode
from telnyx.types.stream_bidirectional_sampling_rate import StreamBidirectionalSamplingRate
from telnyx.types.stream_codec import StreamCodec
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, VoiceResponse

from inworld_sync import AuthError
from inworld_sync.telephony.telnyx import TelnyxSignature, stream_parameters
from inworld_sync.telephony.twilio import TwilioSignature, stream_twiml

TOKEN = "12345678901234567890123456789012"
KEY = "the secret of a shared key"
FORM = {"CallSid": "CA1", "From": "+15550100", "To": "+15550101", "Ä": "ö € &=?", "Empty": ""}
URL = "wss://voice.example.com/media"


def is_accepted(check: Callable[[], object]) -> bool:
    """Return whether a check raises no error."""
    try:
        check()
    except (AuthError, WebhookVerificationError):
        return False
    return True


def twilio_signatures() -> None:
    """Both packages accept signatures of Twilio's validator, and refuse a wrong signature."""
    ours = TwilioSignature("https://voice.example.com", auth_token=TOKEN, shared_key=KEY)
    body = '{"a": "ö"}'
    json_path = f"/events?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    sha256 = {"X-Twilio-Webhooks-Signature-Settings": "key=k1,algorithm=HMAC_SHA256"}
    cases: list[tuple[str, str, str, Mapping[str, str] | str, Mapping[str, str]]] = [
        ("https", "/voice", TOKEN, FORM, {}),
        ("https", "/voice?x=1&y=ö", TOKEN, FORM, {}),
        ("https", json_path, TOKEN, body, {}),
        ("https", "/voice", KEY, FORM, sha256),
        ("wss", "/media", TOKEN, {}, {}),
        ("wss", "/media", KEY, {}, sha256),
    ]
    for scheme, path, secret, form, settings in cases:
        validator = RequestValidator(secret)
        algorithm = "HMAC_SHA256" if settings else "HMAC_SHA1"
        fields = form if isinstance(form, dict) else {}
        url = f"{scheme}://voice.example.com{path}"
        # Twilio's validator adds port 80 to wss, so the port is tried for https only.
        ported = url.replace(".com", ".com:443") if scheme == "https" else url
        right = validator.compute_signature(url, fields, algorithm)
        for given, expected in (
            (right, True),
            (validator.compute_signature(ported, fields, algorithm), True),
            (right[:-4] + "AAA=", False),
        ):
            theirs = validator.validate(url, form, given, algorithm)
            headers = {**settings, "X-Twilio-Signature": given}
            content = form.encode() if isinstance(form, str) else form
            if scheme == "https":
                check = partial(ours.check_webhook, path, headers, content)
            else:
                check = partial(ours.check_socket, path, headers)
            found = is_accepted(check)
            assert (expected, expected) == (theirs, found), (url, theirs, found)


def twilio_document() -> None:
    """Both packages make the same document."""
    connect = Connect()
    stream = connect.stream(url=URL)
    stream.parameter(name="from", value='+1 & "x" <y>')
    response = VoiceResponse()
    response.say("One moment.")
    response.append(connect)
    ours = stream_twiml(URL, {"from": '+1 & "x" <y>'}, say_before="One moment.")

    assert canonical(str(response)) == canonical(ours)


def canonical(text: str) -> str:
    """Return XML in the canonical form."""
    return ElementTree.canonicalize(text)


def telnyx_signatures() -> None:
    """Both packages accept and refuse the same webhooks."""
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    ours = TelnyxSignature(public)
    body = '{"data": "ö"}'.encode()
    for age, signed, expected in ((0, body, True), (400, body, False), (0, b"{}", False)):
        stamp = str(int(time.time()) - age)
        signature = base64.b64encode(key.sign(stamp.encode() + b"|" + signed)).decode()
        headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
        theirs = is_accepted(partial(verify_webhook_signature, body, headers, public))
        found = is_accepted(partial(ours.check_webhook, headers, body))

        assert (expected, expected) == (theirs, found), (age, theirs, found)


def telnyx_parameters() -> None:
    """Telnyx's package has all parameters that this package sends, and allows their values."""
    codecs = typing.get_args(StreamCodec)
    for codec in ("PCMU", "PCMA", "L16"):
        found = stream_parameters(URL, auth_token="t", parameters={"a": "b"}, codec=codec)
        unknown = set(found) - set(typing.get_type_hints(ActionStartStreamingParams))

        assert not unknown, unknown
        assert found["stream_codec"] in codecs
        assert codec in typing.get_args(StreamBidirectionalCodec)
    assert "rtp" in typing.get_args(StreamBidirectionalMode)
    rates_hz = (8000, 16000, 22050, 24000, 48000)
    assert rates_hz == typing.get_args(StreamBidirectionalSamplingRate)
    assert "to" in typing.get_type_hints(ActionTransferParams)
    assert "digits" in typing.get_type_hints(ActionSendDtmfParams)


def main() -> None:
    """Run all comparisons."""
    for compare in (twilio_signatures, twilio_document, telnyx_signatures, telnyx_parameters):
        compare()
        print(f"{compare.__name__}: equal")  # noqa: T201 - it is a command


if __name__ == "__main__":
    main()
