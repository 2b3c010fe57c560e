"""Adds up the time of the calls of a function."""

from __future__ import annotations

import time
from typing import Any


class Clock:
    """Adds up the CPU and wall seconds of the calls of a function. The threads of a writer count with the caller."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def around(self, owner: Any, name: str) -> None:
        """Measure a method from now on."""
        method = getattr(owner, name)

        def measured(*arguments: Any, **options: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self.cpu += time.process_time() - cpu
                self.wall += time.perf_counter() - wall

        setattr(owner, name, measured)
