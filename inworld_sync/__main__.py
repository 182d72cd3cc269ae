"""``python -m inworld_sync`` and the command ``inworld-sync``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; exits with its status."""
    try:
        from inworld_sync.cli import run
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(
            f"inworld-sync: the command line needs the extra 'cli' ({error.name} is missing): "
            "pip install 'inworld-sync[cli]', or 'inworld-sync[local]' with the local server"
        )
    run()


if __name__ == "__main__":
    main()
