"""Starts the command line: for the console script `fit` and for `python -m fitcli`."""

from __future__ import annotations

import sys

from fitcli.interrupts import INTERRUPTED, catch_interrupts
from fitcli.process.limits import limit_threads


def main() -> None:
    """Run the command line. Ctrl-C never shows a traceback, whenever it comes."""
    catch_interrupts()
    limit_threads()
    try:
        from fitcli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
