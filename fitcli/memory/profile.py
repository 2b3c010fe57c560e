"""The answer of `fit profile-memory`: for each size and way of running, what it takes and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from fitcli.errors import FitError
from fitcli.memory.budget import size_text
from fitcli.memory.estimate import Estimate, Training, parameters
from fitcli.memory.inference import Inference, estimate_pass, ways
from fitcli.memory.measure import Measurement, measure_pass, measure_step
from fitcli.memory.plan import evaluate, largest, largest_side, named_plans
from fitcli.runtime import Precision, Runtime
from models.config import TrunkConfig

Mode = Literal["train", "infer"]
Method = Literal["auto", "estimate", "measure"]

MEASURED_FLOPS = {"cpu": 5e12, "cuda": 1e16, "mps": 1e14}
"""Operations of a step up to which `--method auto` measures: some seconds."""

MOST_GROUPS = 2048
"""Groups per side of the largest image that is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model in question.

    Attributes:
        name: Of the preset or run folder.
        task: "classify", "diffusion" or "autoregressive".
        config: Its architecture.
        patch: Pixels per side of a patch of an encoder or denoiser; of a group of a decoder.
    """

    name: str
    task: str
    config: TrunkConfig
    patch: int

    @property
    def group_pixels(self) -> int:
        """Per side of a group."""
        return self.patch if self.task == "autoregressive" else self.patch * self.config.group

    def side(self, res: int) -> int:
        """Groups per side of a square image; what does not fill a group is padded."""
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
    """

    device: str
    precision: Precision
    images: int
    budget_bytes: int
    method: Method
    runtime: Runtime | None


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
            "seconds": None if self.measurement is None else self.measurement.seconds,
            "flops_per_second": None
            if self.measurement is None
            else self.estimate.total_flops / self.measurement.seconds,
            "fits": self.fits,
        }

    def as_cells(self, largest_res: int | None) -> list[str]:
        """For a table."""
        measured = self.measurement
        return [
            f"{self.res} x {self.res}",
            self.mode,
            self.execution,
            size_text(self.peak_bytes),
            f"{self.extra:+.0%}" if self.mode == "train" else "",
            size_text(self.estimate.away_bytes) if self.estimate.away_bytes else "",
            "yes" if self.fits else "no",
            "" if largest_res is None else f"{largest_res:,}",
            "estimated" if measured is None else f"measured, {measured.seconds:.2f} s",
        ]


def profile(subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int]) -> Iterator[Row]:
    """All rows, as they are known.

    Raises:
        FitError: Measuring failed otherwise than by running out of memory, or there is nothing to measure on.
    """
    if conditions.method == "measure" and conditions.runtime is None:
        raise FitError(f"no {conditions.device} device here to measure on; use --method estimate or --device cpu")
    for mode in modes:
        for res in sizes:
            yield from (_train if mode == "train" else _infer)(subject, conditions, res)


def executions(subject: Subject, conditions: Conditions, mode: Mode) -> list[str]:
    """Names of the ways of running that there are."""
    if mode == "infer":
        return [name for name, _ in ways(conditions.device)]
    return list(named_plans(training(subject, conditions, 1)))


def training(subject: Subject, conditions: Conditions, side: int) -> Training:
    """A training step over square images of `side` groups."""
    return Training(
        config=subject.config,
        groups=side**2,
        images=conditions.images,
        precision=conditions.precision,
        device=conditions.device,
        ema=subject.task != "classify",
    )


def largest_sizes(subject: Subject, conditions: Conditions, modes: list[Mode]) -> dict[tuple[Mode, str], int]:
    """Pixels per side of the largest square image within the budget, of each way of running."""
    budget, found = conditions.budget_bytes, {}
    if "train" in modes:
        work = training(subject, conditions, 1)
        for name, plan in named_plans(work).items():
            found["train", name] = largest_side(work, plan, budget, MOST_GROUPS) * subject.group_pixels
    if "infer" in modes:
        for name, store in ways(conditions.device):

            def fits(side: int, store: Any = store) -> bool:
                return estimate_pass(_inference(subject, conditions, side), store).needed_bytes <= budget

            found["infer", name] = largest(fits, MOST_GROUPS) * subject.group_pixels
    return found  # type: ignore[return-value]


def floor(subject: Subject, conditions: Conditions, modes: list[Mode]) -> int:
    """Bytes that the smallest image needs in the smallest way."""
    needed = []
    if "train" in modes:
        work = training(subject, conditions, 1)
        needed += [evaluate(work, plan).estimate.needed_bytes for plan in named_plans(work).values()]
    if "infer" in modes:
        inference = _inference(subject, conditions, 1)
        needed += [estimate_pass(inference, store).needed_bytes for _, store in ways(conditions.device)]
    return min(needed)


def _inference(subject: Subject, conditions: Conditions, side: int) -> Inference:
    return Inference(config=subject.config, groups=side**2, precision=conditions.precision, device=conditions.device)


def _train(subject: Subject, conditions: Conditions, res: int) -> Iterator[Row]:
    side = subject.side(res)
    work = training(subject, conditions, side)
    for name, plan in named_plans(work).items():
        choice = evaluate(work, plan)
        runtime = where_to_measure(conditions, choice.estimate)
        # What is measured has no moving average and reads nothing ahead.
        bare = replace(work, ema=False, batches=1)
        measured = None if runtime is None else measure_step(bare, plan, (side, side), runtime)
        yield _row(conditions, res, side, "train", name, choice.estimate, choice.extra, measured, runtime)


def _infer(subject: Subject, conditions: Conditions, res: int) -> Iterator[Row]:
    side = subject.side(res)
    inference = _inference(subject, conditions, side)
    for name, store in ways(conditions.device):
        estimate = estimate_pass(inference, store)
        runtime = where_to_measure(conditions, estimate)
        measured = None if runtime is None else measure_pass(inference, store, (side, side), runtime)
        yield _row(conditions, res, side, "infer", name, estimate, 0.0, measured, runtime)


def where_to_measure(conditions: Conditions, estimate: Estimate) -> Runtime | None:
    """Where to measure a row; None where it is to be estimated."""
    if conditions.method == "estimate" or estimate.needed_bytes > conditions.budget_bytes:
        return None
    if conditions.method == "auto" and estimate.total_flops > MEASURED_FLOPS[conditions.device]:
        return None
    return conditions.runtime


def _row(
    conditions: Conditions, res: int, side: int, mode: Mode, name: str, estimate: Estimate, extra: float,
    measured: Measurement | None, runtime: Runtime | None,
) -> Row:  # fmt: skip
    """A measurement that ran out of memory leaves the estimate, and does not fit."""
    ran_out = runtime is not None and measured is None
    return Row(
        res=res, groups=side, mode=mode, execution=name, estimate=estimate, extra=extra, measurement=measured,
        fits=not ran_out and estimate.needed_bytes <= conditions.budget_bytes,
    )  # fmt: skip


def title(subject: Subject, conditions: Conditions) -> str:
    """What is asked, in a line."""
    batch = f", {conditions.images} images in a batch" if conditions.images > 1 else ""
    device = {"cuda": "a GPU", "cpu": "a CPU", "mps": "mps"}[conditions.device]
    return (
        f"{subject.name} ({subject.task}): {parameters(subject.config) / 1e6:.1f} M parameters, "
        f"{conditions.precision}{batch}, {device} with {size_text(conditions.budget_bytes)}"
    )
