"""Another WebSocket library reads the frames with audio correctly."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.server import ServerProtocol

from inworld_sync.audio import g711, pcm
from inworld_sync.audio.frame import FrameBuilder, FrameForm
from inworld_sync.errors import AudioError

pytestmark = pytest.mark.usefixtures("level")

# Lengths around each value at which the size of the header changes, around each vector width, and
# around the block size of the conversion.
SIZES = [*range(100), 1535, 1536, 1537, 3072, 49_000, 70_002]


def read_back(frame: bytes) -> bytes:
    """Return the payload that a server reads from a frame."""
    server = ServerProtocol(state=State.OPEN, max_size=None)
    assert server.side is SERVER
    server.receive_data(frame)
    [event] = server.events_received()

    assert isinstance(event, Frame)
    assert (True, Opcode.TEXT) == (event.fin, event.opcode)
    return base64.b64decode(json.loads(event.data)["audio"], validate=True)


@pytest.mark.parametrize("size", SIZES)
def test_bytes(size: int) -> None:
    """A frame contains its audio as base64, for every length of the audio."""
    audio = bytes(index * 31 % 256 for index in range(size))

    assert audio == read_back(FrameBuilder('{"audio":"', '","n":1}').build(audio))


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 160, 1535, 1536, 1537, 5000])
def test_converted(samples: int) -> None:
    """The audio of a frame is converted by the same rules as in the functions for samples."""
    s16 = struct.pack(f"<{samples}h", *((i * 977) % 65536 - 32768 for i in range(samples)))
    f32 = pcm.f32_from_s16(s16)
    forms = [
        (FrameForm.S16_FROM_F32, f32, s16),
        (FrameForm.ULAW_FROM_S16, s16, g711.encode_ulaw(s16)),
        (FrameForm.ALAW_FROM_S16, s16, g711.encode_alaw(s16)),
    ]
    for form, audio, expected in forms:
        assert expected == read_back(FrameBuilder('{"audio":"', '"}', form).build(audio))


def test_fresh_masks() -> None:
    """Two frames with the same audio differ, because each frame has a new masking key."""
    builder = FrameBuilder('{"audio":"', '"}')

    assert builder.build(bytes(60)) != builder.build(bytes(60))


@pytest.mark.parametrize("form", [f for f in FrameForm if f is not FrameForm.BYTES])
def test_cut_samples(form: FrameForm) -> None:
    """Audio that ends inside a sample raises an error."""
    with pytest.raises(AudioError, match="whole samples, got 5 bytes"):
        FrameBuilder('{"audio":"', '"}', form).build(bytes(5))
