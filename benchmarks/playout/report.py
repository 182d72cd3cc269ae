"""Formats the figures as tables and as a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.playout.goals import ANCHORS, neteq
from benchmarks.playout.metrics import Figures
from benchmarks.playout.runs import OURS, OURS_BURST, Results

# metrics.py explains the columns.
LIVE_COLUMNS = ["mean", "p95", "conc", "events", "intr", "discard", "clicks", "lsd", "J", "R"]
BURST_COLUMNS = ["ttfa", "stall", "audible", "events", "lost", "acc", "dec", "clicks", "J"]


def rows_of(results: Results, kind: str) -> Iterator[tuple[str, Figures]]:
    """Yield our rows, then the rows of the other buffers, then the recorded row of NetEq."""
    yield from ((name, results.mean(kind, name)) for name in results.names(kind))
    yield "NetEq (recorded)", neteq(kind, results.seeds)


def cell(figure: float | None) -> str:
    """Format a figure with about three digits. Return "" for a figure that was not recorded."""
    return "" if figure is None else f"{figure:.{0 if figure >= 100 else 2}f}"


def markdown(title: str, rows: Sequence[tuple[str, Figures]], columns: Sequence[str]) -> str:
    """Return a table in Markdown."""
    lines = [title, "", f"| buffer | {' | '.join(columns)} |"]
    lines.append("|---|" + "---:|" * len(columns))
    ours = OURS.keys() | OURS_BURST.keys()
    for name, figures in rows:
        cells = [cell(figures.get(key)) for key in columns]
        label = f"**{name}**" if name in ours else name
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def table(results: Results) -> str:
    """Return the tables of live mode, of burst mode and of the recovery."""
    live = markdown("Live, mean over 16 networks", [*rows_of(results, "live")], LIVE_COLUMNS)
    burst = markdown("Burst, mean over 5 servers", [*rows_of(results, "burst")], BURST_COLUMNS)
    return f"{live}\n{burst}\n{recovery(results)}"


def recovery(results: Results) -> str:
    """Return the table of the recovery times. It has a row for each disturbance."""
    rows = {name: results.by_trace("recovery", name, "recovery") for name in OURS}
    kinds = ANCHORS["recovery"]["501,502"]
    rows["NetEq (recorded)"] = {kind: kinds[kind]["recovery"] for kind in kinds}
    lines = [
        "Recovery after a disturbance, s",
        "",
        f"| disturbance | {' | '.join(f'**{name}**' if name in OURS else name for name in rows)} |",
        "|---|" + "---:|" * len(rows),
    ]
    lines += [
        f"| {kind} | {' | '.join(f'{row[kind]:.1f}' for row in rows.values())} |" for kind in kinds
    ]
    return "\n".join(lines) + "\n"


# ---- the chart ---------------------------------------------------------------------------------

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 56
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.ours { fill: #0969da; stroke: #0969da } .other { fill: #8c959f }
.path { fill: none; stroke: #0969da; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #30363d } }
"""


class Axes:
    """Maps figures to coordinates of the chart. Both axes begin at zero."""

    def __init__(self, right: float, top: float) -> None:
        self.right, self.top = right, top

    def x(self, value: float) -> float:
        return LEFT + value / self.right * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def grid(axes: Axes, x_step: int, y_step: int) -> Iterator[str]:
    """Yield the lines and numbers of the grid."""
    for value in range(0, int(axes.right) + 1, x_step):
        x = axes.x(value)
        yield f'<line class="grid" x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value}</text>'
    for value in range(0, int(axes.top) + 1, y_step):
        y = axes.y(value)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{value}</text>'


def chart(results: Results) -> str:
    """Draw a chart of delay and gaps in live mode. The best buffer is at the lower left."""
    rows = list(rows_of(results, "live"))
    right = 1.1 * max(figures["mean"] for _, figures in rows)
    axes = Axes(right, 1.15 * max(figures["events"] for _, figures in rows))
    drawn = [*grid(axes, 100, 5)]
    ours = [(axes.x(row["mean"]), axes.y(row["events"])) for name, row in rows if name in OURS]
    drawn.append(f'<path class="path" d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in ours)}"/>')
    for name, row in rows:
        x, y = axes.x(row["mean"]), axes.y(row["events"])
        kind = "ours" if name in OURS else "other"
        drawn.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        # A name is left of its point if the point is ours or near the right edge.
        left = name in OURS or x > 0.85 * WIDTH
        offset, anchor = (-10, "end") if left else (10, "start")
        where = f'x="{x + offset:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}"'
        drawn.append(f"<text {where}>{escape(name)}</text>")
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Delay against gaps of live playout">\n<style>{STYLE}</style>\n'
        f'<text class="title" x="{LEFT}" y="26">Live playout: delay against gaps, '
        f"mean over 16 networks</text>\n{body}\n"
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">'
        "mean added delay, ms</text>\n"
        f'<text transform="translate(18 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        "gaps per minute</text>\n</svg>\n"
    )
