"""Formats rows as lines of text, as a table and as a chart."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.harness import Row

__all__ = ["HEAD", "chart", "line", "processor", "table"]

HEAD = (
    f"{'':36}{'size':>8} {'':9}{'peer':36}{'ours us':>11}{'peer us':>11}"
    f"{'ratio':>9}{'quartiles':>17}{'target':>9}"
)

_BAR_HEIGHT = 20
_LEFT, _WIDTH, _TOP = 470, 420, 56


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor()


def line(row: Row) -> str:
    """Return one row as a line for a terminal."""
    target = "" if row.target is None else f"{row.target:9.4f} {'met' if row.met else 'NOT MET'}"
    return (
        f"{row.name:36}{row.size:8d} {row.unit:9}{row.peer:36}{row.ours_us:11.3f}"
        f"{row.peer_us:11.3f}{row.ratio:9.4f}{row.lower_quartile:8.4f}-{row.upper_quartile:<8.4f}"
        f"{target}"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the rows with a target as a Markdown table."""
    lines = ["| case | size | peer | ours, us | theirs, us | ratio | quartiles | target | met |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {row.name} | {row.size} {row.unit} | {row.peer} | {row.ours_us:.4g} | "
        f"{row.peer_us:.4g} | {row.ratio:.3g} | {row.lower_quartile:.3g} to "
        f"{row.upper_quartile:.3g} | {row.target:.3g} | {'yes' if row.met else '**no**'} |"
        for row in rows
        if row.target is not None
    ]
    return "\n".join([*lines, ""])


def chart(rows: Sequence[Row], machine: Mapping[str, object]) -> str:
    """
    Return a bar chart of the rows with a target, as SVG.

    A bar shows how many times faster than the peer this package is. The scale is logarithmic.
    """
    judged = [row for row in rows if row.target is not None]
    most = max((1 / row.ratio for row in judged), default=10.0)
    decades = max(1, math.ceil(math.log10(most)))
    height = _TOP + _BAR_HEIGHT * len(judged) + 30
    size = f'width="{_LEFT + _WIDTH + 70}" height="{height}"'
    title = "Times faster than each peer; the mark is the target"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-size="15">{title}</text>',
        f'<text x="12" y="42" fill="#555">{escape(_about(machine))}</text>',
    ]
    for decade in range(decades + 1):
        x = _x(10**decade, decades)
        parts.append(
            f'<path d="M{x:.1f} {_TOP}V{height - 22}" stroke="#ddd"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{10**decade}</text>'
        )
    for number, row in enumerate(judged):
        parts.append(_bar(row, _TOP + number * _BAR_HEIGHT, decades))
    return "\n".join([*parts, "</svg>", ""])


def _about(machine: Mapping[str, object]) -> str:
    return f"{machine['processor']}, {machine['level']}, Python {machine['python']}"


def _x(times: float, decades: int) -> float:
    # If this package is slower than the peer, the bar of the row ends a little left of 1.
    return _LEFT + _WIDTH * max(math.log10(times), -0.2) / decades


def _bar(row: Row, y: float, decades: int) -> str:
    assert row.target is not None
    begin, end = sorted((_x(1, decades), _x(1 / row.ratio, decades)))
    mark = _x(1 / row.target, decades)
    color = "#2a7f62" if row.met else "#c0563b"
    label = f"{row.name}, {row.size} {row.unit}: {row.peer}"
    return (
        f'<text x="{_LEFT - 24}" y="{y + 14:.0f}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{begin:.1f}" y="{y + 3:.0f}" width="{max(end - begin, 1):.1f}" height="14" '
        f'fill="{color}"/>'
        f'<path d="M{mark:.1f} {y + 1:.0f}v18" stroke="black" stroke-width="2"/>'
        f'<text x="{max(end, mark) + 6:.1f}" y="{y + 14:.0f}">{1 / row.ratio:.3g}</text>'
    )
