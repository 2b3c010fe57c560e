"""What is asked of `fit profile-memory`, and one line of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fitcli.device.runtime import Precision, Runtime
from fitcli.memory.budget import size_text
from fitcli.memory.estimate import Estimate
from fitcli.profiling.measure import Measurement
from models.config import TrunkConfig

Mode = Literal["train", "infer"]
Method = Literal["auto", "estimate", "measure"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model in question.

    Attributes:
        name: Name of the preset or run folder.
        task: Name of the task.
        config: Architecture.
        group_pixels: Side of a group, in pixels.
        ema: Whether training keeps a moving average of the weights.
    """

    name: str
    task: str
    config: TrunkConfig
    group_pixels: int
    ema: bool

    def side(self, res: int) -> int:
        """Return the groups per side of a square image, which is padded to whole groups."""
        return max(1, -(-res // self.group_pixels))


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Under which it is asked.

    Attributes:
        device: Kind of the device: "cpu", "cuda" or "mps".
        precision: Of matrix products.
        images: In a batch of training.
        budget_bytes: Memory of the device.
        method: Whether to measure.
        runtime: Where to measure; None where there is no such device.
        ranks: Devices that share each image in training; what is asked about is one of them.
    """

    device: str
    precision: Precision
    images: int
    budget_bytes: int
    method: Method
    runtime: Runtime | None
    ranks: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One size, one way of running.

    Attributes:
        res: Pixels per side.
        groups: Per side.
        mode: Training or inference.
        execution: Its name.
        estimate: What it should take.
        extra: Operations beyond the plain way, as a share.
        measurement: What it took; None where it was not measured.
        fits: Into the budget.
    """

    res: int
    groups: int
    mode: Mode
    execution: str
    estimate: Estimate
    extra: float
    measurement: Measurement | None
    fits: bool

    @property
    def peak_bytes(self) -> int:
        """Measured if it was, else estimated."""
        return self.estimate.peak_bytes if self.measurement is None else self.measurement.peak_bytes

    def as_dict(self, subject: Subject, conditions: Conditions) -> dict[str, Any]:
        """For JSON."""
        parts, config = self.estimate.parts, subject.config
        groups = self.groups**2 * (conditions.images if self.mode == "train" else 1)
        named = {name: parts.get(name, 0) for name in ("parameters", "gradients", "optimizer")}
        return {
            "res": self.res,
            "tokens": groups * config.tokens,
            "latents": groups * config.latents,
            "mode": self.mode,
            "execution": self.execution,
            "method": "estimate" if self.measurement is None else "measure",
            "precision": conditions.precision,
            **{f"{name}_bytes": size for name, size in named.items()},
            "activations_bytes": self.estimate.peak_bytes - sum(named.values()),
            "peak_bytes": self.peak_bytes,
            "needed_bytes": self.estimate.needed_bytes,
            "away_bytes": self.estimate.away_bytes,
            "components": parts,
            "flops": self.estimate.total_flops,
            "flops_by_part": {f"{place} {kind}": count for (place, kind), count in self.estimate.flops.items()},
            "extra_flops": self.extra,
            **_measured(self.measurement, groups * config.tokens, self.estimate.total_flops),
            "fits": self.fits,
        }

    def as_cells(self, largest_side: str) -> list[str]:
        """For a table, with the side of the largest image in words."""
        measured = self.measurement
        return [
            f"{self.res} x {self.res}",
            self.mode,
            self.execution,
            size_text(self.peak_bytes),
            f"{self.extra:+.0%}" if self.mode == "train" else "",
            size_text(self.estimate.away_bytes) if self.estimate.away_bytes else "",
            "yes" if self.fits else "no",
            largest_side,
            "estimated" if measured is None else f"measured, {measured.seconds:.2f} s",
        ]


def _measured(found: Measurement | None, patches: int, flops: int) -> dict[str, float | None]:
    if found is None:
        return dict.fromkeys(("reserved_bytes", "seconds", "patches_per_second", "flops_per_second"))
    return {
        "reserved_bytes": found.reserved_bytes,
        "seconds": found.seconds,
        "patches_per_second": patches / found.seconds,
        "flops_per_second": flops / found.seconds,
    }
