"""Writes the results of all clients into ``docs/conformance.md``."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.conformance.clients import FEATURES, Client
from tests.conformance.runner import Result

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_START, _END = "<!-- results -->\n", "<!-- end of results -->\n"


@attrs.frozen
class Run:
    """One client with the results of its checks."""

    client: Client
    results: Sequence[Result]

    def unexpected(self) -> list[Result]:
        """Return the failed checks that are not known limits of the client."""
        failed = [result for result in self.results if not result.passed]
        return [result for result in failed if result.feature not in self.client.limits]

    def surpassed(self) -> list[str]:
        """Return the features that are listed as limits although no check of them failed."""
        failed = {result.feature for result in self.results if not result.passed}
        return [feature for feature in self.client.limits if feature not in failed]


def write(runs: Sequence[Run], browser: str, node: str) -> None:
    """Replace the results in the page."""
    before, _, rest = PAGE.read_text().partition(_START)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_START}{_results(runs, browser, node)}{_END}{after}")


def _results(runs: Sequence[Run], browser: str, node: str) -> str:
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    python = f"Python {platform.python_version()}"
    environment = f"Results of {date}, with {python}, Node {node} and {browser}:\n"
    return "\n".join([environment, _table(runs), _limits(runs)])


def _table(runs: Sequence[Run]) -> str:
    lines = [["client", "version", *FEATURES], ["---"] * (2 + len(FEATURES))]
    for run in runs:
        cells = [_cell(run.results, feature) for feature in FEATURES]
        lines.append([run.client.name, _versions(run.client), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(results: Sequence[Result], feature: str) -> str:
    passed = [result.passed for result in results if result.feature == feature]
    return f"{sum(passed)} of {len(passed)}" if passed else ""


def _versions(client: Client) -> str:
    separator = "==" if client.registry == "PyPI" else "@"
    pinned = [package for package in client.packages if separator in package]
    return "<br>".join(" ".join(package.rsplit(separator, 1)) for package in pinned)


def _limits(runs: Sequence[Run]) -> str:
    lines = [
        f"- {run.client.name}, {feature}: {reason}.\n"
        for run in runs
        for feature, reason in run.client.limits.items()
    ]
    return f"Checks that fail because of the client:\n{''.join(lines)}" if lines else ""
