"""Marks for tests that need a speech engine which some platforms cannot install."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement

__all__ = ["needs_pocketsphinx"]


def _is_required(name: str) -> bool:
    """Return whether the extra ``local`` installs a package on this Python and platform."""
    requirements = map(Requirement, importlib.metadata.requires("inworld-sync") or ())
    return any(
        requirement.name == name
        and requirement.marker is not None
        and requirement.marker.evaluate({"extra": "local"})
        for requirement in requirements
    )


# Skip only if the extra does not include the package; a broken installation fails.
needs_pocketsphinx = pytest.mark.skipif(
    not _is_required("pocketsphinx"),
    reason="pocketsphinx has no wheel for this Python and platform",
)
