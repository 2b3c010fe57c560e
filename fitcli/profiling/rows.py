"""The rows of `fit profile-memory`: one per size and execution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fitcli.memory.budget import size_text
from fitcli.memory.estimate import Estimate
from fitcli.profiling.measure import Measurement
from fitcli.profiling.subject import Conditions, Subject

Mode = Literal["train", "infer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The cost of one execution at one size.

    Attributes:
        res: Side of the image, in pixels.
        groups: Side of the image, in groups.
        mode: Training or inference.
        execution: Name of the execution.
        estimate: Estimated memory and operations.
        extra: Additional operations, as a fraction of those of the plain execution.
        measurement: Measured memory and time; None if it was only estimated.
        like: Estimate of what was measured: a training step without moving average and without batches that are read
            ahead, beside the libraries of that process; None for `estimate`.
        fits: Whether it fits into the budget.
    """

    res: int
    groups: int
    mode: Mode
    execution: str
    estimate: Estimate
    extra: float
    measurement: Measurement | None
    fits: bool
    like: Estimate | None = None

    @property
    def peak_bytes(self) -> int:
        """Peak in bytes: measured, or else estimated."""
        return self.estimate.peak_bytes if self.measurement is None else self.measurement.peak_bytes

    def as_dict(self, subject: Subject, conditions: Conditions) -> dict[str, Any]:
        """Return the row as JSON data."""
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
            "estimated_peak_bytes": self.estimate.peak_bytes,
            "estimated_like_bytes": None if self.measurement is None else (self.like or self.estimate).peak_bytes,
            "needed_bytes": self.estimate.needed_bytes,
            "away_bytes": self.estimate.away_bytes,
            "components": parts,
            "flops": self.estimate.total_flops,
            "flops_by_part": self.estimate.flops,
            "extra_flops": self.extra,
            **_measured(self.measurement, groups * config.tokens, self.estimate.total_flops),
            "fits": self.fits,
        }

    def as_cells(self, largest_side: str) -> list[str]:
        """Return the row as cells of a table; `largest_side` is the text of the last but one."""
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
            "estimated" if measured is None else self._comparison(measured),
        ]

    def _comparison(self, measured: Measurement) -> str:
        """Return the time of a measurement, and the estimate of its peak with the difference, as text."""
        estimate = (self.like or self.estimate).peak_bytes
        return (
            f"measured, {measured.seconds:.2f} s; estimate {size_text(estimate)} "
            f"({estimate / measured.peak_bytes - 1:+.1%})"
        )


def _measured(measurement: Measurement | None, patches: int, flops: int) -> dict[str, float | None]:
    if measurement is None:
        return dict.fromkeys(("reserved_bytes", "seconds", "patches_per_second", "flops_per_second"))
    return {
        "reserved_bytes": measurement.reserved_bytes,
        "seconds": measurement.seconds,
        "patches_per_second": patches / measurement.seconds,
        "flops_per_second": flops / measurement.seconds,
    }
