"""
Checks the SDP of an offer, and removes the candidates that the emulator does not use.

Source: RFC 8866 (SDP), RFC 8839 (ICE in SDP).
"""

from __future__ import annotations

from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused

__all__ = ["checked_offer"]

_MAX_CHARACTERS = 256 << 10
_CANDIDATE = "a=candidate:"
# The fields of a candidate are foundation, component, transport, priority, address, port and
# others.
_ADDRESS_FIELD = 4


def checked_offer(sdp: object) -> str:
    """
    Return an offer without the candidates whose addresses are host names.

    A browser hides its addresses behind names of multicast DNS. Looking up such a name would send
    packets to the network. The lookup is not needed, because the browser sends the first packet,
    and this packet shows the address of the browser. For the same reason, the line that ends the
    candidates is removed: otherwise ICE would fail at once.

    Raises:
        Refused: *sdp* is too long or is not SDP; it does not have exactly one section for audio and
            one for data; a section lacks its fingerprint or its own name; or the group ``BUNDLE``
            does not list all sections.
    """
    if not isinstance(sdp, str):
        raise _bad("sdp must be a string with an SDP offer")
    if not sdp.startswith("v=0"):
        raise _bad(f"sdp must be an SDP offer, which begins with v=0, got {sdp[:20]!r}")
    if len(sdp) > _MAX_CHARACTERS:
        raise _bad(f"sdp must have at most {_MAX_CHARACTERS} characters, got {len(sdp)}")
    lines = sdp.splitlines()
    kinds = [line[2:].partition(" ")[0] for line in lines if line.startswith("m=")]
    if sorted(kinds) != ["application", "audio"]:
        found = ", ".join(kinds) or "none"
        raise _bad(
            "the offer must have one audio section (m=audio) and one section for the data channel "
            f"oai-events (m=application), got {found[:100]}"
        )
    sections = _sections(lines)
    if not all(_values(section, "a=fingerprint:") for section in sections):
        raise _bad("the offer must have a fingerprint (a=fingerprint) for each section")
    mids = [mid for section in sections for mid in _values(section, "a=mid:")]
    if len(set(mids)) != len(sections) or len(mids) != len(sections):
        raise _bad("each section of the offer must have its own name (a=mid)")
    for group in _values(lines, "a=group:BUNDLE "):
        if sorted(group.split(" ")) != sorted(mids):
            raise _bad(f"a=group:BUNDLE must list the sections {' and '.join(mids)}, got {group}")
    kept = [line for line in lines if line != "a=end-of-candidates" and not _is_named(line)]
    return "\r\n".join([*kept, ""])


def _sections(lines: list[str]) -> list[list[str]]:
    """Return the lines of each section. The lines before all sections are added to each section."""
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    ends = [*starts[1:], len(lines)]
    return [lines[: starts[0]] + lines[at:end] for at, end in zip(starts, ends, strict=True)]


def _values(lines: list[str], prefix: str) -> list[str]:
    return [line[len(prefix) :] for line in lines if line.startswith(prefix)]


def _is_named(line: str) -> bool:
    if not line.startswith(_CANDIDATE):
        return False
    fields = line.split(" ")
    return len(fields) > _ADDRESS_FIELD and fields[_ADDRESS_FIELD].endswith(".local")


def _bad(message: str) -> Refused:
    return Refused(INVALID_ARGUMENT, message)
