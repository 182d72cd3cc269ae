"""The messages and documents of the carriers, and the commands to the carriers over HTTP."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from inworld_sync import AuthError, ConfigError, RemoteProtocolError
from inworld_sync.telephony.asterisk import AudioSocketServer, WebSocketCodec
from inworld_sync.telephony.audiosocket import AudioSocketCodec
from inworld_sync.telephony.calls import (
    CallAudio,
    CallStart,
    CarrierFault,
    FlowChanged,
    KeyPressed,
    QueueReported,
    WrongFormat,
)
from inworld_sync.telephony.carrier_http import TelnyxControl, TwilioControl
from inworld_sync.telephony.telnyx import TelnyxCodec, stream_parameters, stream_texml
from inworld_sync.telephony.twilio import TwilioCodec, stream_twiml

from support.peers import Peer, serve

URL = "wss://voice.example.com/media"


def test_twilio_start() -> None:
    """The start message has the ids and parameters of the stream, such as the caller's number."""
    start = {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "customParameters": {"from": "+15550100", "plan": "gold"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    codec = TwilioCodec()
    found = codec.read(json.dumps(start))

    assert isinstance(found, CallStart)
    assert ("CA1", "MZ1", "+15550100") == (found.call_id, found.stream_id, found.from_number)
    assert {"from": "+15550100", "plan": "gold"} == found.parameters
    assert {"event": "clear", "streamSid": "MZ1"} == json.loads(codec.clear() or "")
    assert {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": base64.b64encode(b"\xff\x00").decode()},
    } == json.loads(codec.media(b"\xff\x00"))


def test_the_other_track_is_not_the_caller() -> None:
    """If a stream has both tracks, only the inbound track is audio of the caller."""
    for track, is_caller in (("inbound", True), ("outbound", False), ("outbound_track", False)):
        media = {"track": track, "chunk": "3", "timestamp": "40", "payload": "/w=="}
        found = TwilioCodec().read(json.dumps({"event": "media", "media": media}))

        assert CallAudio(b"\xff", 3, 40, is_caller) == found


@pytest.mark.parametrize("name", ["media_format", "mediaFormat"])
def test_telnyx_start(name: str) -> None:
    """The format's name may be in snake or camel case. The parameters are a list or an object."""
    rate = "sample_rate" if name == "media_format" else "sampleRate"
    for parameters in ({"plan": "gold"}, [{"name": "plan", "value": "gold"}]):
        start = {
            "event": "start",
            "stream_id": "s1",
            "start": {
                "call_control_id": "v3:1",
                "from": "+15550100",
                "to": "+15550101",
                "custom_parameters": parameters,
                name: {"encoding": "PCMA", rate: 8000, "channels": 1},
            },
        }
        found = TelnyxCodec("PCMU").read(json.dumps(start))

        assert isinstance(found, CallStart)
        assert ("alaw", "mulaw") == (found.received.encoding, found.sent.encoding)
        assert {"plan": "gold"} == found.parameters
        assert ("v3:1", "+15550100", "+15550101") == (
            found.call_id,
            found.from_number,
            found.to_number,
        )


def test_telnyx_byte_order() -> None:
    """L16 may have either byte order. The codec converts the samples to little-endian order."""
    media = {"event": "media", "media": {"payload": base64.b64encode(b"\x01\x02").decode()}}
    start = {"media_format": {"encoding": "L16", "sample_rate": 16000}}
    codec = TelnyxCodec("L16", 16000, "big")
    codec.read(json.dumps({"event": "start", "start": start}))
    found = codec.read(json.dumps(media))

    assert isinstance(found, CallAudio)
    assert b"\x02\x01" == found.audio
    assert media == json.loads(codec.media(b"\x02\x01"))


def test_telnyx_fault() -> None:
    """An error message of Telnyx is read as a CarrierFault with the title of the error."""
    error = {"event": "error", "payload": {"code": 100002, "title": "unknown_event"}}
    found = TelnyxCodec().read(json.dumps(error))

    assert isinstance(found, CarrierFault)
    assert "unknown_event" in found.reason


def test_telnyx_is_bidirectional() -> None:
    """deepgram/deepclaw#8: the mode is ``rtp``. With another mode, the caller hears nothing."""
    parameters = stream_parameters(URL, auth_token="t", codec="PCMA", parameters={"a": "b"})
    assert "rtp" == parameters["stream_bidirectional_mode"]
    assert "PCMA" == parameters["stream_codec"] == parameters["stream_bidirectional_codec"]
    assert [{"name": "a", "value": "b"}] == parameters["custom_parameters"]

    stream = ElementTree.fromstring(stream_texml(URL, codec="PCMA")).find("Connect/Stream")
    assert stream is not None
    assert "rtp" == stream.get("bidirectionalMode")
    assert "PCMA" == stream.get("codec") == stream.get("bidirectionalCodec")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DTMF_END digit:5 duration_ms:150", KeyPressed("5")),
        ('{"event":"DTMF_END","digit":"*"}', KeyPressed("*")),
        ("MEDIA_XOFF", FlowChanged(True)),
        ("MEDIA_XON", FlowChanged(False)),
        ("STATUS queue_length:43 xon_level:800", QueueReported(880)),
        ('{"event":"STATUS","queue_length":2}', QueueReported(60)),
        ("MEDIA_BUFFERING_COMPLETED", None),
        ("  ", None),
    ],
)
def test_asterisk_events(text: str, found: object) -> None:
    """Events are read as plain text and as JSON."""
    assert found == WebSocketCodec().read(text)


def test_asterisk_start() -> None:
    """The call has the format of the channel. An unknown format is refused."""
    start = "MEDIA_START connection_id:c1 channel:WebSocket/x/1 format:{} optimal_frame_size:320"
    found = WebSocketCodec().read(start.format("slin16"))
    assert isinstance(found, CallStart)
    assert ("c1", 16000) == (found.call_id, found.sent.sample_rate_hz)

    assert isinstance(WebSocketCodec().read(start.format("opus")), WrongFormat)
    with pytest.raises(RemoteProtocolError, match="queue_length"):
        WebSocketCodec().read("STATUS queue_length:many")


def test_audiosocket_frames() -> None:
    """Only frames whose type is the audio type of the call are read as audio."""
    codec = AudioSocketCodec("id", 8000)
    codec.read(b"\x10\x01\x40" + bytes(320))

    assert KeyPressed("7") == codec.read(b"\x03\x00\x017")
    assert isinstance(codec.read(b"\xff\x00\x01\x04"), CarrierFault)
    assert isinstance(codec.read(b"\x12\x02\x80" + bytes(640)), WrongFormat)
    for wrong in (b"", b"\x10", b"\x77\x00\x00"):
        with pytest.raises(RemoteProtocolError):
            codec.read(wrong)
    with pytest.raises(ConfigError, match="sample_rate_hz"):
        AudioSocketServer(lambda _: None, port=0, sample_rate_hz=11025)  # type: ignore[arg-type]


def test_twiml() -> None:
    """The document has the parameters, and special characters are escaped in XML."""
    text = stream_twiml(URL, {"from": "+1", "name": 'A & "B" <C>'}, say_before="One moment.")
    response = ElementTree.fromstring(text)
    stream = response.find("Connect/Stream")

    assert stream is not None
    assert URL == stream.get("url")
    assert {"from": "+1", "name": 'A & "B" <C>'} == {
        each.get("name"): each.get("value") for each in stream
    }
    assert "One moment." == response.findtext("Say")


@pytest.mark.parametrize(
    "url", ["https://a.example/x", "ws://a.example/x", "wss://a.example/x?token=1", "/x", ""]
)
def test_addresses_that_do_not_work(url: str) -> None:
    """An address without TLS or with a query is refused."""
    for make in (stream_twiml, stream_texml):
        with pytest.raises(ConfigError):
            make(url)
    with pytest.raises(ConfigError):
        stream_parameters(url, auth_token="t")


def test_long_parameters() -> None:
    """Values that a carrier would refuse, such as a parameter that is too long, raise an error."""
    with pytest.raises(ConfigError, match="500"):
        stream_twiml(URL, {"name": "x" * 497})
    with pytest.raises(ConfigError, match="4000"):
        stream_parameters(URL, auth_token="x" * 4001)
    with pytest.raises(ConfigError, match="OPUS"):
        stream_texml(URL, codec="OPUS")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="16000"):
        TelnyxCodec("PCMU", 16000)


def commands(status: str = "200 OK"):
    """Return a script of an HTTP server, and the list of its requests."""
    requests: list[tuple[str, str, bytes]] = []

    def script(peer: Peer) -> None:
        head, body = peer.read_request()
        requests.append((head.decode().split("\r\n")[0], peer.header("authorization"), body))
        peer.send(
            f"HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode()
        )

    return script, requests


def test_commands_to_twilio() -> None:
    """Commands to Twilio are sent as forms. The form for a transfer has a TwiML document."""
    script, requests = commands()
    with serve(script) as server:
        url = f"http://127.0.0.1:{server.port}"
        control = TwilioControl("AC1", "secret-token", caller_id="+15550101", base_url=url)
        control.hang_up("CA1")
        control.transfer("CA1", "+4930123456")
        control.transfer("CA1", "sip:a&b@example.com")
        control.close()
        assert "secret-token" not in repr(vars(control))

    lines, credentials, bodies = zip(*requests, strict=True)
    assert {"POST /2010-04-01/Accounts/AC1/Calls/CA1.json HTTP/1.1"} == set(lines)
    assert {"Basic " + base64.b64encode(b"AC1:secret-token").decode()} == set(credentials)
    forms = [parse_qs(each.decode()) for each in bodies]
    assert {"Status": ["completed"]} == forms[0]
    dial = ElementTree.fromstring(forms[1]["Twiml"][0]).find("Dial")
    assert dial is not None
    assert ("+15550101", "+4930123456") == (dial.get("callerId"), dial.findtext("Number"))
    assert "sip:a&b@example.com" == ElementTree.fromstring(forms[2]["Twiml"][0]).findtext(
        "Dial/Sip"
    )


def test_commands_to_telnyx() -> None:
    """Commands to Telnyx are sent as JSON."""
    script, requests = commands()
    with serve(script) as server:
        control = TelnyxControl("KEY1", base_url=f"http://127.0.0.1:{server.port}")
        control.answer("v3:1/2")
        control.start_stream("v3:1/2", stream_parameters(URL, auth_token="t"))
        control.hang_up("v3:1/2")
        control.transfer("v3:1/2", "+4930123456")
        control.send_keys("v3:1/2", "12#")
        control.close()

    names = ["answer", "streaming_start", "hangup", "transfer", "send_dtmf"]
    assert [f"POST /v2/calls/v3%3A1%2F2/actions/{each} HTTP/1.1" for each in names] == [
        line for line, _, _ in requests
    ]
    assert {"Bearer KEY1"} == {credential for _, credential, _ in requests}
    assert {"to": "+4930123456"} == json.loads(requests[3][2])
    assert {"digits": "12#"} == json.loads(requests[4][2])


def test_a_command_is_refused() -> None:
    """If the carrier refuses a command, the error that is raised does not show the token."""
    script, _ = commands("401 Unauthorized")
    with serve(script) as server:
        control = TwilioControl("AC1", "secret-token", base_url=f"http://127.0.0.1:{server.port}")
        with pytest.raises(AuthError) as caught:
            control.hang_up("CA1")
        control.close()

    assert "secret-token" not in str(caught.value)


def test_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys come from the environment. If a key is missing, the error names the variable."""
    for name in ("TELNYX_API_KEY", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="TELNYX_API_KEY"):
        TelnyxControl()
    with pytest.raises(ConfigError, match="TWILIO_AUTH_TOKEN"):
        TwilioControl("AC1")
