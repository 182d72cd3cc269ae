"""The audio of a track and the messages are joined, so that a session gets both in order."""

from __future__ import annotations

import base64
import json

import pytest

from inworld_sync.webrtc.track_speech import TrackSpeech

SILENCE = bytes(1920)
BLOCK_SECONDS = 0.02
PLACE = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}


def loud(value: int) -> bytes:
    """Return a block whose samples have this value."""
    return value.to_bytes(2, "little", signed=True) * 960


class Network:
    """Feeds messages and audio to the code under test, and keeps the messages for the session."""

    def __init__(self) -> None:
        self.speech = TrackSpeech()
        self.now = 100.0
        self.kinds: list[str] = []
        self.pcm: dict[str, bytes] = {}

    def message(self, kind: str, **fields: object) -> None:
        self._collect(self.speech.handle_message(json.dumps({"type": kind, **fields}), self.now))

    def audio(self, *blocks: bytes) -> None:
        for block in blocks:
            self.now += BLOCK_SECONDS
            self._collect(self.speech.handle_audio(block, self.now, 0.04))

    def silence(self, seconds: float) -> None:
        self.audio(*[SILENCE] * round(seconds / BLOCK_SECONDS))

    def begin(self, number: int = 1) -> None:
        place = {**PLACE, "response_id": f"r{number}", "item_id": f"i{number}"}
        self.message("response.created", response={"id": f"r{number}", "status": "in_progress"})
        self.message("response.content_part.added", **place, part={"type": "audio"})

    def end(self, number: int = 1, status: str = "completed") -> None:
        place = {**PLACE, "response_id": f"r{number}", "item_id": f"i{number}"}
        self.message("response.output_audio.done", **place)
        self.message("response.done", response={"id": f"r{number}", "status": status})

    def report(self, what: str, number: int | None = 1) -> None:
        response_id = None if number is None else f"r{number}"
        self.message(f"output_audio_buffer.{what}", response_id=response_id)

    @property
    def sounds(self) -> dict[str, bytes]:
        """The audio of each item, without silent blocks."""
        return {
            item: b"".join(
                block
                for start in range(0, len(pcm), len(SILENCE))
                if (block := pcm[start : start + len(SILENCE)]) != SILENCE
            )
            for item, pcm in self.pcm.items()
        }

    def _collect(self, texts: list[str]) -> None:
        for text in texts:
            body = json.loads(text)
            kind = body["type"]
            if kind == "response.output_audio.delta" and body["delta"]:
                item = body["item_id"]
                self.pcm[item] = self.pcm.get(item, b"") + base64.b64decode(body["delta"])
            else:
                self.kinds.append(kind.removeprefix("response."))


@pytest.fixture
def network() -> Network:
    return Network()


def test_ends_of_a_response_follow_its_audio(network: Network) -> None:
    """If the service ends a response before its audio is sent, the session gets the end last."""
    network.begin()
    network.report("started")
    network.end()
    network.message("response.created", response={"id": "r2"})
    network.audio(SILENCE, loud(500), SILENCE, loud(600))

    assert network.kinds == ["created", "content_part.added", "output_audio_buffer.started"]

    network.report("stopped")
    network.silence(0.6)

    assert network.kinds[3:] == [
        "output_audio_buffer.stopped",
        "output_audio.done",
        "done",
        "created",
    ]
    assert network.pcm == {"i1": SILENCE + loud(500) + SILENCE + loud(600)}


def test_silence_before_the_first_sound_is_a_part_of_the_item(network: Network) -> None:
    """``audio_end_ms`` counts from ``started``, so the silence after ``started`` is counted too."""
    network.silence(1.0)
    network.begin()
    network.report("started")
    network.silence(0.3)
    network.audio(loud(500))

    blocks = len(network.pcm["i1"]) // len(SILENCE)
    assert 12 <= blocks <= 16  # 0.3 s and one block, less the delay of 0.04 s of the track


def test_an_item_without_a_start_begins_before_its_first_sound(network: Network) -> None:
    network.silence(1.0)
    network.begin()
    network.silence(0.3)
    network.audio(loud(500))

    assert network.pcm == {"i1": SILENCE * 5 + loud(500)}


def test_messages_that_are_not_about_a_response_are_never_held(network: Network) -> None:
    network.begin()
    network.end()
    network.message("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    network.message("error", error={"message": "x"})

    assert network.kinds[-2:] == ["input_audio_buffer.speech_started", "error"]


def test_audio_before_the_messages_of_its_item_is_kept(network: Network) -> None:
    """Audio is kept until its item arrives, because the data channel may be slower."""
    network.audio(SILENCE, loud(500), loud(600))
    network.begin()
    network.audio(loud(700))

    assert network.pcm == {"i1": SILENCE + loud(500) + loud(600) + loud(700)}
    assert network.speech.lost_blocks == 0


def test_audio_of_no_item_is_counted(network: Network) -> None:
    network.audio(*[loud(500)] * 10)
    network.silence(5.1)

    assert network.speech.lost_blocks == 10
    network.begin()
    network.audio(loud(600))
    assert network.sounds == {"i1": loud(600)}


def test_cleared_audio_on_its_way_is_dropped(network: Network) -> None:
    """After an interruption, late audio of the old response is not part of the next response."""
    network.begin()
    network.audio(loud(500))
    network.end()
    network.report("cleared")
    network.audio(loud(510), loud(520))
    network.silence(0.2)
    network.begin(2)
    network.audio(loud(600))

    assert network.kinds[2:4] == ["output_audio.done", "output_audio_buffer.cleared"][::-1]
    assert network.sounds == {"i1": loud(500), "i2": loud(600)}


@pytest.mark.parametrize("number", [1, None])
def test_cleared_releases_the_end_of_the_response(network: Network, number: int | None) -> None:
    network.begin()
    network.audio(loud(500))
    network.end()
    network.report("cleared", number)

    assert network.kinds[-3:] == ["output_audio_buffer.cleared", "output_audio.done", "done"]


def test_a_cancelled_response_ends_at_once(network: Network) -> None:
    network.begin()
    network.audio(loud(500))
    network.message("response.output_audio.done", **PLACE)
    network.message("response.done", response={"id": "r1", "status": "cancelled"})

    assert network.kinds[-2:] == ["output_audio.done", "done"]


def test_a_service_without_reports(network: Network) -> None:
    """Without ``output_audio_buffer`` events, a second of silence ends the audio."""
    network.begin()
    network.audio(loud(500))
    network.end()
    network.silence(0.9)
    assert "done" not in network.kinds

    network.audio(loud(600))
    network.silence(1.2)

    assert network.kinds[-2:] == ["output_audio.done", "done"]
    assert network.pcm["i1"].rstrip(b"\0").endswith(loud(600))


def test_a_missing_report_delays_the_end_by_four_seconds(network: Network) -> None:
    network.begin()
    network.report("started")
    network.audio(loud(500))
    network.end()
    network.silence(3.9)
    assert "done" not in network.kinds
    network.silence(0.3)

    assert network.kinds[-1] == "done"


def test_two_responses_keep_their_audio(network: Network) -> None:
    network.begin()
    network.end()
    network.begin(2)
    network.end(2)
    network.report("started")
    network.audio(loud(500))
    network.report("stopped")
    network.silence(0.4)
    network.report("started", 2)
    network.audio(loud(600))
    network.report("stopped", 2)
    network.silence(0.6)

    assert network.sounds == {"i1": loud(500), "i2": loud(600)}
    assert network.kinds.count("done") == 2


def test_a_response_out_of_band_does_not_wait(network: Network) -> None:
    """An out-of-band response may begin and end while another response is spoken."""
    network.speech.handle_command(
        '{"type":"response.create","response":{"conversation":"none",'
        '"metadata":{"client_event_id":"evt_1"}}}'
    )
    network.begin()
    network.audio(loud(500))
    network.end()
    info = {"id": "r2", "metadata": {"client_event_id": "evt_1"}}
    network.message("response.created", response={**info, "status": "in_progress"})
    network.message("response.output_text.delta", response_id="r2", delta="x")
    network.message("response.done", response={**info, "status": "completed"})

    assert network.kinds[2:] == ["created", "output_text.delta", "done"]


def test_noise_does_not_keep_a_response_open(network: Network) -> None:
    """After the text is complete, the audio ends after a limited time, even if there is noise."""
    network.begin()
    network.message("response.output_audio_transcript.delta", **PLACE, delta="x" * 60)
    network.end()
    network.audio(*[loud(100)] * (19 * 50))
    assert "done" not in network.kinds
    network.audio(*[loud(100)] * (2 * 50))

    assert network.kinds[-1] == "done"


def test_text_responses_pass(network: Network) -> None:
    network.message("response.created", response={"id": "r1", "status": "in_progress"})
    network.message("response.content_part.added", **PLACE, part={"type": "text"})
    network.message("response.done", response={"id": "r1", "status": "completed"})

    assert network.kinds == ["created", "content_part.added", "done"]


def test_times_of_words_pass_without_audio(network: Network) -> None:
    """A delta keeps its times. The audio is removed from it, because the track has the audio."""
    network.begin()
    found = network.speech.handle_message(
        json.dumps({"type": "response.output_audio.delta", **PLACE, "delta": "AAAA", "x": 1}), 0.0
    )

    assert [json.loads(text) for text in found] == [
        {"type": "response.output_audio.delta", **PLACE, "delta": "", "x": 1}
    ]


def test_the_end_of_the_connection_releases_everything(network: Network) -> None:
    network.begin()
    network.end()

    assert [json.loads(text)["type"] for text in network.speech.flush()] == [
        "response.output_audio.done",
        "response.done",
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"type": 5}', '{"type": "x"}'])
def test_odd_messages_pass_unchanged(network: Network, text: str) -> None:
    assert network.speech.handle_message(text, 0.0) == [text]


def test_messages_that_are_held_back_are_counted(network: Network) -> None:
    """``held_characters`` is the count of characters in the messages that are held back."""
    network.begin()
    network.end()
    assert network.speech.held_characters > 100
    network.silence(5.0)
    assert network.speech.held_characters == 0
    network.begin(2)
    network.end(2)
    network.speech.flush()
    assert network.speech.held_characters == 0


def test_a_flood_of_items(network: Network) -> None:
    """Items whose audio never arrives do not fill the memory, because their count is limited."""
    for number in range(1500):
        network.begin(number)
    assert len(network.kinds) == 3000
    network.report("cleared", 1400)
    network.audio(loud(500))
    assert network.sounds == {"i0": loud(500)}
