"""What a training run was asked to do. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Literal

from fitcli.errors import FitError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of a run, as given on the command line. A resumed run keeps them, see `resumed`.

    Attributes:
        preset: Name of the architecture in `models.presets`.
        size: Side in pixels of the random square windows to train on; None for whole images.
        epochs: Passes over the training images.
        steps: Optimizer steps instead of epochs; None to follow `epochs`.
        batch_size: Images per forward and backward pass.
        accumulate: Passes per optimizer step.
        learning_rate: Highest, reached after the warm-up.
        warmup: Share of all steps over which the learning rate rises from 0.
        weight_decay: Of matrices; biases, norms and tables have none.
        clip: Highest norm of the gradient; 0 for none.
        label_smoothing: Share of each target that is spread over all classes.
        balance: Weight classes in the loss by the inverse of their frequency.
        augment: Flips, quarter turns, and light changes of brightness and contrast.
        background: Leave out groups that vary less than this, see `background.foreground`; None to keep all.
        seed: Of the initial weights, the order of the data and the augmentation.
    """

    preset: str = "tiny"
    size: int | None = None
    epochs: int = 30
    steps: int | None = None
    batch_size: int = 4
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    clip: float = 1.0
    label_smoothing: float = 0.0
    balance: bool = False
    augment: bool = True
    background: float | None = None
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        limits = {"epochs": 1, "batch_size": 1, "accumulate": 1, "seed": 0}
        for name, lowest in limits.items():
            if getattr(self, name) < lowest:
                raise FitError(f"--{name.replace('_', '-')} must be at least {lowest}, not {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise FitError(f"--steps must be at least 1, not {self.steps}")
        if not 0 < self.learning_rate < math.inf:
            raise FitError(f"--learning-rate must be above 0 and finite, not {self.learning_rate}")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise FitError(f"--{name.replace('_', '-')} must be 0 or more and finite, not {getattr(self, name)}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise FitError(f"--{name.replace('_', '-')} must be in 0 ... 1, not {getattr(self, name)}")

    def resumed(self, asked: TrainSettings, given: Collection[str]) -> TrainSettings:
        """These settings, for as many epochs or steps as were asked for: the learning rate follows the new total.

        Args:
            asked: What the run is to be continued with.
            given: Which options the user gave; what the others say does not count.

        Raises:
            FitError: An option was given that differs: half a run of each is no run of either.
        """
        for option, name in SETTING_OF_OPTION.items():
            before, now = getattr(self, name), getattr(asked, name)
            if option in given and before != now:
                raise FitError(
                    f"--{option.replace('_', '-')}: the run was begun with {name} = {before}, not {now}; "
                    "resume without this option, or start a new run"
                )
        if not {"epochs", "steps"} & set(given):
            return self
        epochs = asked.epochs if "epochs" in given else self.epochs
        return replace(self, epochs=epochs, steps=asked.steps)

    @property
    def images_per_step(self) -> int:
        """Images that one optimizer step sees."""
        return self.batch_size * self.accumulate

    def total_steps(self, images: int) -> int:
        """Optimizer steps of the whole run: `steps`, or what it takes to see all images `epochs` times."""
        return self.steps if self.steps is not None else -(-self.epochs * images // self.images_per_step)

    def ends_epoch(self, step: int, images: int) -> bool:
        """Whether the last image of an epoch is seen in step 0, 1, ... of the run."""
        return (step + 1) * self.images_per_step // images > step * self.images_per_step // images


SETTING_OF_OPTION = {
    **{setting.name: setting.name for setting in fields(TrainSettings) if setting.name not in ("epochs", "steps")},
    "skip_background": "background",
    "background_threshold": "background",
}
"""What a run keeps when it is resumed, by the options that say it."""
