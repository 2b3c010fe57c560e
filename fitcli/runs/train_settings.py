"""What a training run was asked to do. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from fitcli.errors import FitError

TaskName = Literal["classify", "diffusion", "autoregressive"]
TASKS = get_args(TaskName)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of a run, as given on the command line. A resumed run keeps them, see `resumed`.

    Attributes:
        task: What is learned.
        preset: Name of the architecture in `models.presets`.
        start_from: Folder of a run whose weights this one begins with; None to begin with random ones.
        patch: Pixels per side of a patch; None for that of the preset.
        unconditional: Leave the classes of the images out.
        size: Side in pixels of the random square windows to train on; None for whole images.
        epochs: Passes over the training images.
        steps: Optimizer steps instead of epochs; None to follow `epochs`.
        batch_size: Images per forward and backward pass.
        accumulate: Passes per optimizer step.
        learning_rate: Highest, reached after the warm-up.
        warmup: Share of all steps over which the learning rate rises from 0.
        weight_decay: Of matrices; biases, norms and tables have none.
        clip: Highest norm of the gradient; 0 for none.
        label_smoothing: Share of each target that is spread over all classes, or levels.
        balance: Weight classes in the loss by the inverse of their frequency.
        augment: Flips, quarter turns and, where images are classified, light changes of brightness and contrast; None
            for classifiers alone: what generates images would learn to generate turned ones.
        drop_path: Probability in [0, 1) that the last layer is left out for an image; it falls linearly to 0 for the
            first (stochastic depth, see `execution/drop_path.py`).
        token_dropout: Probability in [0, 1) that a patch is hidden, as padding is.
        shift_canvas: Pixels by which an image is moved down and to the right at most, so that the borders of patches
            and groups fall elsewhere every time; 0 for none.
        background: Leave out groups that vary less than this, see `background.foreground`; None to keep all.
        seed: Of the initial weights, the order of the data, the augmentation and the noise.
        ema: Greatest decay per step of the moving average of the weights, 0 for no average; None for that of the task.
        prediction, schedule, shift, scale, self_condition_rate, class_dropout: See `DiffusionConfig`; None for a shift
            that follows from the size of the images.
        levels: Grey levels per value of a sequence; None for 256 of 8 bit images.
        order, start: See `SequenceConfig`.
        save_every: Optimizer steps between two saves; None to save at the end of each epoch. Whatever it is, a run is
            also saved every ten minutes, when it is the best so far, and in the end.
        keep: Saved states that are kept, to go on from one before where the last is damaged.
        max_bad_images: Images that cannot be used and are left out before the run stops.
    """

    task: TaskName = "classify"
    preset: str = "tiny"
    start_from: str | None = None
    patch: int | None = None
    unconditional: bool = False
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
    augment: bool | None = None
    drop_path: float = 0.0
    token_dropout: float = 0.0
    shift_canvas: int = 0
    background: float | None = None
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    ema: float | None = None
    prediction: Literal["eps", "x", "v"] = "v"
    schedule: str = "cosine"
    shift: float | None = None
    scale: float = 1.0
    self_condition_rate: float = 0.9
    class_dropout: float = 0.1
    levels: int | None = None
    order: Literal["raster", "snake"] = "raster"
    start: Literal["zero", "learned"] = "learned"
    max_bad_images: int = 0
    save_every: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise FitError(f"--task must be {', '.join(TASKS)}, not {self.task!r}")
        limits = {
            "epochs": 1,
            "batch_size": 1,
            "accumulate": 1,
            "seed": 0,
            "steps": 1,
            "size": 1,
            "patch": 1,
            "max_bad_images": 0,
            "save_every": 1,
            "keep": 1,
            "shift_canvas": 0,
        }
        for name, lowest in limits.items():
            if getattr(self, name) is not None and getattr(self, name) < lowest:
                raise FitError(f"{option(name)} must be at least {lowest}, not {getattr(self, name)}")
        if self.levels is not None and not 2 <= self.levels <= 256:
            raise FitError(f"--levels must be in 2 ... 256, not {self.levels}")
        if not 0 < self.learning_rate < math.inf:
            raise FitError(f"--learning-rate must be above 0 and finite, not {self.learning_rate}")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise FitError(f"{option(name)} must be 0 or more and finite, not {getattr(self, name)}")
        for name in ("warmup", "label_smoothing", "ema", "drop_path", "token_dropout"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < 1:
                raise FitError(f"{option(name)} must be in 0 ... 1, not {getattr(self, name)}")
        for name in ("self_condition_rate", "class_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise FitError(f"{option(name)} must be in 0 ... 1, not {getattr(self, name)}")

    @property
    def augments(self) -> bool:
        """Whether images are turned and mirrored."""
        return self.task == "classify" if self.augment is None else self.augment

    @property
    def ema_decay(self) -> float:
        """Greatest decay of the moving average of the weights; 0 where there is none."""
        return (0.0 if self.task == "classify" else 0.9999) if self.ema is None else self.ema

    def check_options(self, given: Collection[str]) -> None:
        """Refuse options that the task has no use for: whoever gives one expects it to matter.

        Args:
            given: Which options the user gave, by the names of their settings.

        Raises:
            FitError: One of them belongs to another task.
        """
        for name, tasks in TASKS_OF_SETTING.items():
            if name in given and self.task not in tasks:
                raise FitError(f"{option(name)} is for --task {' or '.join(tasks)}, not for {self.task}; leave it out")

    def resumed(self, asked: TrainSettings, given: Collection[str]) -> TrainSettings:
        """These settings, for as many epochs or steps as were asked for: the learning rate follows the new total.

        How many bad images are put up with, and when it is saved, may also be asked for anew.

        Args:
            asked: What the run is to be continued with.
            given: Which options the user gave; what the others say does not count.

        Raises:
            FitError: An option was given that differs: half a run of each is no run of either.
        """
        for name, setting in SETTING_OF_OPTION.items():
            before, now = getattr(self, setting), getattr(asked, setting)
            if name in given and before != now:
                raise FitError(
                    f"{option(name)}: the run was begun with {setting} = {before}, not {now}; "
                    "resume without this option, or start a new run"
                )
        anew = {name: getattr(asked, name) for name in ("max_bad_images", "save_every", "keep") if name in given}
        kept = replace(self, **anew)
        if not {"epochs", "steps"} & set(given):
            return kept
        epochs = asked.epochs if "epochs" in given else self.epochs
        return replace(kept, epochs=epochs, steps=asked.steps)

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


def option(name: str) -> str:
    """How a setting is given on the command line."""
    return f"--{name.replace('_', '-')}"


TASKS_OF_SETTING = {
    **dict.fromkeys(("balance", "drop_path", "token_dropout", "shift_canvas"), ("classify",)),
    "label_smoothing": ("classify", "autoregressive"),
    "skip_background": ("classify", "diffusion"),
    "background_threshold": ("classify", "diffusion"),
    "unconditional": ("diffusion", "autoregressive"),
    **dict.fromkeys(
        ("prediction", "schedule", "shift", "scale", "self_condition_rate", "class_dropout"), ("diffusion",)
    ),
    **dict.fromkeys(("levels", "order", "start"), ("autoregressive",)),
}
"""The tasks that an option is for, where it is not for all."""

MAY_CHANGE = ("epochs", "steps", "max_bad_images", "save_every", "keep")
"""What may be given anew to a run that is resumed."""

SETTING_OF_OPTION = {
    **{setting.name: setting.name for setting in fields(TrainSettings) if setting.name not in MAY_CHANGE},
    "skip_background": "background",
    "background_threshold": "background",
}
"""What a run keeps when it is resumed, by the options that say it."""
