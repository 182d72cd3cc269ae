"""Signatures of Twilio and Telnyx, which the tests make with hmac and cryptography."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inworld_sync import AuthError, ConfigError
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.telephony import telnyx, twilio
from inworld_sync.telephony.telnyx_signature import TelnyxSignature, check_stream_token
from inworld_sync.telephony.twilio_signature import TwilioSignature

TOKEN = "12345678901234567890123456789012"
FORM = {"CallSid": "CA1", "From": "+14158675310", "To": "+18005551212", "Digits": "1234"}


def sign(text: str, secret: str = TOKEN, digest: str = "sha1") -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), digest).digest()).decode()


def fields(form: dict[str, str]) -> str:
    return "".join(name + form[name] for name in sorted(form))


@pytest.fixture
def signature() -> TwilioSignature:
    return TwilioSignature("https://voice.example.com", auth_token=TOKEN, shared_key="shared")


def test_twilio_webhook(signature: TwilioSignature) -> None:
    """The signature includes the address and the sorted fields. The address may have a port."""
    for host in ("voice.example.com", "voice.example.com:443"):
        given = sign(f"https://{host}/voice?x=1" + fields(FORM))
        signature.check_webhook("/voice?x=1", {"X-Twilio-Signature": given}, FORM)


def test_twilio_socket(signature: TwilioSignature) -> None:
    """The signature of a WebSocket includes only the address, which begins with wss://."""
    given = sign("wss://voice.example.com/media")
    signature.check_socket("/media", {"x-twilio-signature": given})


def test_twilio_shared_key(signature: TwilioSignature) -> None:
    """A header with the settings of the signature selects the shared key and SHA-256."""
    text = "https://voice.example.com/voice" + fields(FORM)
    headers = {
        "X-Twilio-Signature": sign(text, "shared", "sha256"),
        "X-Twilio-Webhooks-Signature-Settings": "key=webhooks_1,algorithm=HMAC_SHA256",
    }
    signature.check_webhook("/voice", headers, FORM)
    headers["X-Twilio-Signature"] = sign(text)
    with pytest.raises(AuthError):
        signature.check_webhook("/voice", headers, FORM)


def test_twilio_json(signature: TwilioSignature) -> None:
    """The signature of a JSON body includes the query, which has the hash of the body."""
    body = b'{"a":1}'
    path = f"/events?bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"X-Twilio-Signature": sign(f"https://voice.example.com{path}")}
    signature.check_webhook(path, headers, body)
    with pytest.raises(AuthError):
        signature.check_webhook(path, headers, body + b" ")


def test_a_form_with_several_values(signature: TwilioSignature) -> None:
    """If a form has several values for one name, the signature includes each value once."""

    class Form(dict[str, str]):
        def getlist(self, _: str) -> list[str]:
            return ["b", "a", "a"]

    headers = {"X-Twilio-Signature": sign("https://voice.example.com/voicenameanameb")}
    signature.check_webhook("/voice", headers, Form(name="a"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "é"},
        {"X-Twilio-Signature": sign("https://voice.example.com/other" + fields(FORM))},
        {"X-Twilio-Signature": sign("https://voice.example.com/voice")},
        {"X-Twilio-Signature": sign("https://voice.example.com/voice" + fields(FORM), "other")},
        {"X-Twilio-Webhooks-Signature-Settings": "algorithm=NONE", "X-Twilio-Signature": ""},
    ],
)
def test_twilio_refuses(signature: TwilioSignature, headers: dict[str, str]) -> None:
    """A wrong signature is refused, and the error shows no secret."""
    with pytest.raises(AuthError) as caught:
        signature.check_webhook("/voice", headers, FORM)

    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(signature)
    assert "public_url" in str(caught.value) or "NONE" in str(caught.value)


def test_twilio_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment has no token, the error names the variable for the token."""
    monkeypatch.delenv("TWILIO_AUTH_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="TWILIO_AUTH_TOKEN"):
        TwilioSignature("https://voice.example.com")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    TwilioSignature("https://voice.example.com")
    for wrong in ("voice.example.com", "ftp://x", "https://x?y", "https://u:p@x"):
        with pytest.raises(ConfigError, match="public_url"):
            TwilioSignature(wrong)


def test_a_stream_is_checked_by_default(signature: TwilioSignature) -> None:
    """Without a signature, or with a wrong signature, no call begins."""
    socket = SimulatedCall().socket
    with pytest.raises(ConfigError, match="verify=False"):
        twilio.MediaStream(socket, lambda _: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(AuthError):
        twilio.MediaStream(
            socket,
            lambda _: None,  # type: ignore[arg-type,return-value]
            headers={},
            path="/media",
            signature=signature,
        )
    with pytest.raises(ConfigError, match="stream_auth_token"):
        telnyx.MediaStream(socket, lambda _: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(AuthError):
        telnyx.MediaStream(socket, lambda _: None, headers={"a": "b"}, auth_token="t")  # type: ignore[arg-type,return-value]


def telnyx_key() -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return key, base64.b64encode(public).decode()


def telnyx_headers(key: Ed25519PrivateKey, body: bytes, age: float = 0.0) -> dict[str, str]:
    stamp = str(int(time.time() - age))
    signature = base64.b64encode(key.sign(stamp.encode() + b"|" + body)).decode()
    return {"Telnyx-Signature-Ed25519": signature, "Telnyx-Timestamp": stamp}


def test_telnyx_webhook() -> None:
    """The signature includes the time and the body. An old signature is refused."""
    key, public = telnyx_key()
    signature = TelnyxSignature(public)
    body = b'{"data":{}}'
    headers = telnyx_headers(key, body)

    signature.check_webhook(headers, body)
    for wrong_headers, wrong_body in (
        (headers, body + b" "),
        (telnyx_headers(telnyx_key()[0], body), body),
        (telnyx_headers(key, body, age=1000), body),
        (telnyx_headers(key, body, age=-1000), body),
        ({**headers, "Telnyx-Timestamp": "soon"}, body),
        ({**headers, "Telnyx-Signature-Ed25519": "***"}, body),
        ({}, body),
    ):
        with pytest.raises(AuthError):
            signature.check_webhook(wrong_headers, wrong_body)


def test_telnyx_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the public key is missing or does not have 32 bytes, an error is raised."""
    monkeypatch.delenv("TELNYX_PUBLIC_KEY", raising=False)
    for wrong in (None, "x", base64.b64encode(bytes(31)).decode()):
        with pytest.raises(ConfigError, match="TELNYX_PUBLIC_KEY"):
            TelnyxSignature(wrong)


def test_the_token_of_a_stream() -> None:
    """Any header may have the token, alone or after a scheme."""
    for headers in ({"authorization": "Bearer t0ken"}, {"x-anything": "t0ken"}):
        check_stream_token(headers, "t0ken")
    for headers in ({}, {"authorization": "Bearer t0ken2"}, {"a": "xt0ken"}, {"a": ""}):
        with pytest.raises(AuthError):
            check_stream_token(headers, "t0ken")


SECRET = "a-token-that-nobody-sees"


@pytest.mark.parametrize(
    "make",
    [
        lambda: TwilioSignature("wrong", auth_token=SECRET, shared_key=SECRET),
        lambda: twilio.TwilioControl("", SECRET),
        lambda: twilio.TwilioControl("AC1", SECRET, base_url="wrong"),
        lambda: telnyx.TelnyxControl(SECRET, base_url="wrong"),
        lambda: telnyx.stream_parameters("wrong", auth_token=SECRET),
        lambda: telnyx.MediaStream(None, None, headers={"a": "b"}, auth_token=SECRET),  # type: ignore[arg-type]
        lambda: check_stream_token({"a": "b"}, SECRET),
    ],
)
def test_reports_of_errors(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error report that shows the variables of each function contains no secret."""
    monkeypatch.delenv("TWILIO_ACCOUNT_SID", raising=False)
    with pytest.raises((ConfigError, AuthError)) as caught:
        make()

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(report.format())
    assert SECRET not in text
    assert base64.b64encode(f"AC1:{SECRET}".encode()).decode() not in text


def test_a_report_does_not_show_the_right_signature() -> None:
    """An attacker who can read the reports of errors does not get the right signature."""
    signature = TwilioSignature("https://voice.example.com", auth_token=TOKEN)
    with pytest.raises(AuthError) as caught:
        signature.check_socket("/media", {"x-twilio-signature": "wrong"})

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert sign("wss://voice.example.com/media") not in "".join(report.format())
