"""Runs the command line: ``python -m inworld_sync`` and the command ``inworld-sync``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from inworld_sync.cli import run

        run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        sys.exit(
            f"inworld-sync: the command line needs the extra 'cli' ({missing} is missing): "
            "pip install 'inworld-sync[cli]', or 'inworld-sync[local]' with the emulator"
        )
    except KeyboardInterrupt:
        # Ctrl-C during the imports; run() handles it during a command.
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
