"""The settings of a training run: those that all tasks share, and the options of one task.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from fitcli.errors import FitError
from fitcli.runs.option import OptionError, check_options, declared_options, flag, option

LARGEST_SEED = 2**64 - 1
"""Largest seed: generators take 64 bits."""

LARGEST_SIDE, MOST_IMAGES, MOST_PASSES, MOST = 2**22, 2**16, 10**6, 10**9
"""Largest pixels per side, images per pass, passes per step, and number of anything else."""

IMAGES, LEARNING, STOPPING = "Images", "Learning", "Starting and stopping"
"""Panels of `fit train --help`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOptions:
    """The options of `fit train` that belong to one task: a task derives a dataclass of options from it.

    Attributes:
        augments: Whether training images are turned and mirrored unless `--augment` says otherwise.
        averages: Greatest decay per step of the moving average of the weights unless `--ema` says otherwise; 0 for no
            average.
        next_command: Command to suggest after training, with `{run}` for the run folder.
    """

    augments: ClassVar[bool] = False
    averages: ClassVar[float] = 0.0
    next_command: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def ignores_classes(self) -> bool:
        """Whether the classes of the data set are left out although the task could learn them."""
        return False

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings under their present names; a task overrides this when it renames an option."""
        return dict(stored)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of a run, as given on the command line. A resumed run keeps them, see `resumed`.

    Fields without an option: `task` is the name of the task, `precision` the resolved `--precision`, `warmup` the share
    of all steps over which the learning rate rises from 0, and `options` the options of the task.
    """

    task: str
    preset: str = option(
        "tiny", "debug, nano, tiny, small, base or large.", more="The README has a table of the sizes."
    )
    size: int | None = option(
        None,
        "Side of random windows; else whole images.",
        minimum=1,
        maximum=LARGEST_SIDE,
        metavar="PIXELS",
        more="Training sees a random square window of each image; the validation of a classifier reads whole images.",
    )
    epochs: int = option(
        30,
        "Passes over the training images.",
        minimum=1,
        maximum=MOST,
        changeable=True,
        more="A resumed run may be given another number: the learning rate then falls towards the new end.",
    )
    batch_size: int = option(
        4,
        "Images per pass.",
        minimum=1,
        maximum=MOST_IMAGES,
        more="Several processes share the images of a batch; the result is that of one process.",
    )
    start_from: str | None = option(
        None,
        "Begin with the weights of another run.",
        panel=LEARNING,
        metavar="RUN",
        more="Give the same task, preset and patch; with other classes, their weights start anew.",
    )
    steps: int | None = option(
        None,
        "Optimizer steps instead of --epochs.",
        panel=LEARNING,
        minimum=1,
        maximum=MOST,
        changeable=True,
        more="The length of the run in optimizer steps, whatever the number of images.",
    )
    accumulate: int = option(
        1,
        "Passes per optimizer step.",
        panel=LEARNING,
        minimum=1,
        maximum=MOST_PASSES,
        more="An optimizer step then sees batch size times this many images.",
    )
    learning_rate: float = option(
        1e-3,
        "Highest learning rate.",
        panel=LEARNING,
        above=0,
        more="It rises linearly over the first tenth of the steps and then falls to 0 as a cosine.",
    )
    weight_decay: float = option(
        0.05, "Weight decay of matrices.", panel=LEARNING, minimum=0, more="Biases, norms and tables do not decay."
    )
    clip: float = option(1.0, "Largest gradient norm; 0: no clipping.", panel=LEARNING, minimum=0)
    ema: float | None = option(
        None,
        "Decay of the average of the weights; 0: none.",
        panel=LEARNING,
        minimum=0,
        below=1,
        by_task="averages",
        more="The averaged weights are validated and are what other commands use.",
    )
    seed: int = option(
        0,
        "Seed of all random choices.",
        panel=LEARNING,
        minimum=0,
        maximum=LARGEST_SEED,
        more="It decides the initial weights, the order of the data, augmentation and noise.",
    )
    patch: int | None = option(
        None, "Side of a patch; else from the preset.", panel=IMAGES, minimum=1, maximum=LARGEST_SIDE, metavar="PIXELS"
    )
    mpp: float | None = option(
        None,
        "Scale: microns per pixel.",
        panel=IMAGES,
        above=0,
        more="Images are read at the level nearest to it, resampled if that differs by more than a tenth. Every image "
        "must say its scale. The run keeps it, and other commands read their images so.",
    )
    level: int | None = option(
        None,
        "Pyramid level to read.",
        panel=IMAGES,
        minimum=0,
        maximum=64,
        more="0 is full resolution. The run keeps it, as it does --mpp.",
    )
    augment: bool | None = option(
        None,
        "Flips and quarter turns.",
        panel=IMAGES,
        negatable=True,
        by_task="augments",
        more="Classifiers also see light changes of brightness and contrast.",
    )
    max_bad_images: int = option(
        0,
        "Unreadable images to leave out.",
        panel=IMAGES,
        minimum=0,
        maximum=MOST,
        changeable=True,
        more="Each is reported; one more stops the run, which can be resumed.",
    )
    save_every: int | None = option(
        None,
        "Steps between saves.",
        panel=STOPPING,
        minimum=1,
        maximum=MOST,
        changeable=True,
        more="Else a run is saved at each epoch; always every ten minutes, when it is the best, and at the end.",
    )
    keep: int = option(
        2,
        "Saved states to keep.",
        panel=STOPPING,
        minimum=1,
        maximum=MOST,
        changeable=True,
        more="If the newest is damaged, a resumed run goes on from the one before.",
    )
    precision: Literal["fp32", "bf16"] = "fp32"
    warmup: float = 0.1
    options: TaskOptions = field(default_factory=TaskOptions)

    def __post_init__(self) -> None:
        check_options(self)
        if self.mpp is not None and self.level is not None:
            raise OptionError("level", "and --mpp both choose the size of the pixels; give one of them")
        if isinstance(self.warmup, bool) or not isinstance(self.warmup, int | float) or not 0 <= self.warmup < 1:
            raise OptionError("warmup", f"must be at least 0 and below 1, not {self.warmup!r:.80}", "warmup")
        if self.precision not in ("fp32", "bf16"):
            raise OptionError("precision", f"must be fp32 or bf16, not {self.precision!r:.80}", "precision")

    @property
    def augments(self) -> bool:
        """Whether images are turned and mirrored."""
        return self.options.augments if self.augment is None else self.augment

    @property
    def ema_decay(self) -> float:
        """Greatest decay of the moving average of the weights; 0 for no average."""
        return self.options.averages if self.ema is None else self.ema

    @property
    def images_per_step(self) -> int:
        """Images per optimizer step."""
        return self.batch_size * self.accumulate

    def total_steps(self, images: int) -> int:
        """Return the optimizer steps of the whole run: `steps`, or enough to see all images `epochs` times."""
        return self.steps if self.steps is not None else -(-self.epochs * images // self.images_per_step)

    def ends_epoch(self, step: int, images: int) -> bool:
        """Return whether the last image of an epoch is seen in step 0, 1, ... of the run."""
        return (step + 1) * self.images_per_step // images > step * self.images_per_step // images

    def as_dict(self) -> dict[str, Any]:
        """Return all settings by name, those of the task beside the others, as plain data."""
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "options"}
        return own | dataclasses.asdict(self.options)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], options: type[TaskOptions]) -> Self:
        """Rebuild settings from what `as_dict` returns.

        Args:
            values: Settings by name; those of the task may be missing.
            options: The options of the task.

        Raises:
            TypeError: A name is unknown.
            FitError: A value is impossible.
        """
        names = {each.name for each in dataclasses.fields(options)}
        own = {name: value for name, value in values.items() if name not in names}
        given = {name: value for name, value in values.items() if name in names}
        return cls(**own, options=options(**given))

    def resumed(self, new: TrainSettings, given: Collection[str]) -> TrainSettings:
        """Return these settings with the changes that a resumed run may have, see `Option.changeable`.

        Epochs or steps change the length of the run; the learning rate then falls towards the new end.

        Args:
            new: Settings from the command line that resumes.
            given: Names of the options that the user gave; other values in `new` are defaults and are ignored.

        Raises:
            FitError: The user gave another value for an option that must not change.
        """
        before, now = self.as_dict(), new.as_dict()
        changeable = {name for name, each in declared_options(type(self)).items() if each.option.changeable}
        for name in before:
            if name in given and name not in changeable and before[name] != now.get(name):
                raise FitError(
                    f"{flag(name)}: the run was begun {_other_choice(name, before[name], now.get(name))}; "
                    "resume without this option, or start a new run"
                )
        changes = {name: now[name] for name in changeable & set(given)}
        if "epochs" in changes and "steps" not in changes:
            changes["steps"] = new.steps
        return replace(self, **changes)


def _other_choice(name: str, before: object, now: object) -> str:
    """Return how a run was begun, and how it was not: "with seed = 3, not 5", or "without it, not with level = 2"."""
    if before is None:
        return f"without it, not with {name} = {now}"
    return f"with {name} = {before}, not {'without it' if now is None else now}"
