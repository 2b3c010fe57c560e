"""Peaks and operations of real steps of real size, run without memory group by group: a second opinion on estimates.

python -m tests.support.kept_memory > tests/data/memory.json     # makes the numbers again, some ten minutes
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.real_step import simulate_step

from fitcli.memory.estimate import Training
from fitcli.memory.plan import named_plans
from fitcli.tasks.registry import find_task

NUMBERS = Path(__file__).parents[1] / "data" / "memory.json"

SIDES = {
    "classify": ((2, 3), (12, 8), (25, 25)),
    "segment": ((2, 3), (12, 8), (25, 25)),
    "detect": ((2, 3), (12, 8), (25, 25)),
    "diffusion": ((2, 3), (16, 8), (28, 28)),
    "autoregressive": ((2, 3), (12, 8), (32, 32)),
}
"""Rows and columns of groups of an image, by task."""

PRECISIONS = ("fp32", "bf16")


class Case(NamedTuple):
    """A step whose numbers are kept."""

    task: str
    preset: str
    side: tuple[int, int]
    images: int
    precision: str
    execution: str

    @property
    def name(self) -> str:
        rows, columns = self.side
        return (
            f"{self.task} {self.preset}, {self.images} x {rows} x {columns} groups, {self.precision}, {self.execution}"
        )

    def work(self) -> Training:
        task = find_task(self.task)
        return Training(
            task=task, config=task.preset(self.preset).config, groups=self.side[0] * self.side[1], images=self.images,
            precision=self.precision,  # type: ignore[arg-type]
            batches=1,
        )  # fmt: skip


def cases() -> Iterator[Case]:
    for task, sides in SIDES.items():
        for number, side in enumerate(sides):
            example = Case(task, "tiny", side, (3, 2, 1)[number], "fp32", "")
            for index, execution in enumerate(named_plans(example.work())):
                yield example._replace(execution=execution, precision=PRECISIONS[(number + index) % 2])
    for execution in ("plain", "selective, half kept", "recompute", "stream"):
        yield Case("classify", "base", (25, 25), 1, "bf16", execution)


def main() -> None:
    kept: dict[str, Any] = {}
    for case in cases():
        work = case.work()
        real = simulate_step(
            work.task, work.config, case.images, case.side, named_plans(work)[case.execution], work.precision
        )
        kept[case.name] = {"moving_bytes": real.peak_bytes, "away_bytes": real.away_bytes, "flops": real.flops}
        print(case.name, file=sys.stderr, flush=True)
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
