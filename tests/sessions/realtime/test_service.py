"""``iw.realtime`` refuses wrong arguments before anything is sent."""

from __future__ import annotations

import pytest

from inworld_sync import Inworld, Session

# (wrong keyword, right keyword or None)
WRONG_KEYWORDS = [("sesion", "session"), ("model", "session"), ("color", None)]


@pytest.mark.parametrize(("wrong", "right"), WRONG_KEYWORDS)
def test_wrong_keyword_of_connect(wrong: str, right: str | None) -> None:
    """A wrong keyword raises an error with the method's name and the nearest right keyword."""
    hint = f"did you mean {right!r}" if right else "it accepts session, timeout"
    with Inworld(api_key="a2V5", base_url="http://127.0.0.1:1") as iw:
        with pytest.raises(TypeError, match=rf"Realtime\.connect\(\) got .*{wrong!r}; {hint}"):
            iw.realtime.connect(**{wrong: "x"})  # type: ignore[arg-type]


@pytest.mark.parametrize(("wrong", "right"), [("voice_id", "voice"), ("speaking_rate", "speed")])
def test_wrong_setting(wrong: str, right: str) -> None:
    """A wrong setting raises an error with the nearest right setting."""
    with pytest.raises(TypeError, match=rf"Session\(\) got .*{wrong!r}; did you mean {right!r}"):
        Session(**{wrong: "x"})  # type: ignore[arg-type]
