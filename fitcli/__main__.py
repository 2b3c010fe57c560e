"""Entry point of the console script and of `python -m fitcli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Ctrl-C during the imports, which take half a second, needs no traceback either."""
    try:
        from fitcli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
