"""For engines that queue blocks, ``is_incomplete`` says whether more speech must follow."""

from __future__ import annotations

from inworld_sync.games.output import SpeechOutput

from support.game_lines import RATE_HZ, noise


def test_speech_is_incomplete_until_its_end_is_read() -> None:
    """
    Speech is incomplete from its first read until its end was read, even if the end comes late.
    """
    output = SpeechOutput(RATE_HZ, 0.0)
    sound = noise(0.5)
    assert not output.is_incomplete
    output.push_pcm("a", memoryview(sound))
    assert not output.is_incomplete
    block = bytearray(len(sound))
    assert output.read(block, only_speech=True) == RATE_HZ // 2
    assert block == sound
    assert output.is_incomplete

    output.push_pcm("a", memoryview(b""), end=True)

    assert not output.is_incomplete
    assert not output.is_idle
    output.report_heard(RATE_HZ // 2)
    output.advance(0.0)
    assert output.is_idle


def test_speech_ends_when_the_next_item_begins() -> None:
    """If the service does not end an item, the item ends when another item begins."""
    output = SpeechOutput(RATE_HZ, 0.0)
    output.push_pcm("a", memoryview(noise(0.2)))
    output.read(bytearray(RATE_HZ // 5 * 2), only_speech=True)
    assert output.is_incomplete
    output.push_pcm("b", memoryview(noise(0.2, seed=2)))
    assert not output.is_incomplete
    output.close()
    assert output.read(bytearray(RATE_HZ // 5 * 2), only_speech=True) == RATE_HZ // 5
    assert not output.is_incomplete
