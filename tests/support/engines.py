"""Marks for tests that need a speech engine, because some platforms have no such engine."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement

__all__ = ["needs_pocketsphinx"]


def _is_required(name: str) -> bool:
    """Return whether the extra ``local`` includes a package on this Python and platform."""
    requirements = map(Requirement, importlib.metadata.requires("inworld-sync") or ())
    return any(
        requirement.name == name
        and requirement.marker is not None
        and requirement.marker.evaluate({"extra": "local"})
        for requirement in requirements
    )


# The test is skipped only if the extra does not include the package. Otherwise a missing package
# makes the test fail.
needs_pocketsphinx = pytest.mark.skipif(
    not _is_required("pocketsphinx"),
    reason="pocketsphinx has no wheel for this Python and platform",
)
