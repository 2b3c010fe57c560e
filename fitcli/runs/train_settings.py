"""The settings of a training run: those that all tasks share, and the options of one task.

A default that varies with task and preset is written once, in `TaskOptions.presets`.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from fitcli.errors import FitError
from fitcli.runs.augmentations import augment_value
from fitcli.runs.option import OptionError, check_options, declared_options, flag, given_as, option
from fitcli.runs.task_options import USUAL_PRESET, TaskOptions

LARGEST_SEED = 2**64 - 1
"""Largest seed: generators take 64 bits."""

LARGEST_SIDE, MOST_IMAGES, MOST_PASSES, MOST = 2**22, 2**16, 10**6, 10**9
"""Largest pixels per side, images per pass, passes per step, and number of anything else."""

LARGEST_WIDTH = 2**16
"""Largest width, number of latents, and patches per side of a group."""

FoldsBy = Literal["contents", "names"]
"""How images whose labels lie in files are dealt into folds: by what the labels show, or as in earlier versions by the
names of the images alone."""

READING = ("level", "mpp", "series", "z", "t", "channels")
"""Options that say what is read of each image."""

IMAGES, LEARNING, MODEL, STOPPING = "Images", "Learning", "Model", "Starting and stopping"
"""Panels of `fit train --help`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of a run, as given on the command line. A resumed run keeps them, see `resumed`.

    Fields without an option: `task` is the name of the task, `precision` the resolved `--precision`, `options` the
    options of the task, and `from_preset` the names of the options that were not given and have the default of task and
    preset: a run keeps their values, whatever the defaults of a later version are.
    """

    task: str
    preset: str = option(
        USUAL_PRESET, "debug, nano, mini, tiny, small, base or large.", more="The README has a table of the sizes."
    )
    size: int | None = option(
        None,
        "Side of random windows.",
        minimum=1,
        maximum=LARGEST_SIDE,
        metavar="PIXELS",
        more="Training sees a random square window of each image; without it, whole images. Validation reads whole "
        "images, but that of models that generate.",
    )
    epochs: int = option(
        30,
        "Passes over the data.",
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
        more="Give the same preset. Weights that depend on other classes, channels or patches start anew.",
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
        None,
        "Highest rate.",
        panel=LEARNING,
        above=0,
        varies=True,
        more="It rises linearly over the first steps (--warmup) and then falls to 0 as a cosine.",
    )
    warmup: float = option(
        None,
        "Warm-up: share of steps.",
        panel=LEARNING,
        minimum=0,
        below=1,
        varies=True,
        more="The learning rate rises linearly over these steps.",
    )
    weight_decay: float = option(
        0.05, "Weight decay of matrices.", panel=LEARNING, minimum=0, more="Biases, norms and tables do not decay."
    )
    clip: float = option(1.0, "Largest gradient norm.", panel=LEARNING, minimum=0, more="0: no clipping.")
    ema: float = option(
        None,
        "Decay of averaged weights; 0: none.",
        panel=LEARNING,
        minimum=0,
        below=1,
        varies=True,
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
    plan: str | None = option(
        None,
        "Layers, like '(2)4(2)4'.",
        panel=MODEL,
        more="One segment after the other: local layers in parentheses, then global layers. This option and the others "
        "of the model change the preset; a recipe may have them in its table `[model]`.",
    )
    latents: int | None = option(None, "Latents per group.", panel=MODEL, minimum=1, maximum=LARGEST_WIDTH)
    group: int | None = option(
        None, "Patches per side of a group.", panel=MODEL, minimum=1, maximum=LARGEST_WIDTH,
        more="A model of sequences of patches has none to choose: there, every patch is a group.",
    )  # fmt: skip
    patch: int | None = option(
        None, "Side of a patch.", panel=MODEL, minimum=1, maximum=LARGEST_SIDE, metavar="PIXELS",
        more="1 for files of features: their places are patches already.",
    )  # fmt: skip
    token_width: int | None = option(None, "Width of a token.", panel=MODEL, minimum=1, maximum=LARGEST_WIDTH)
    latent_width: int | None = option(None, "Width of a latent.", panel=MODEL, minimum=1, maximum=LARGEST_WIDTH)
    head: int | None = option(
        None, "Width of an attention head.", panel=MODEL, minimum=1, maximum=LARGEST_WIDTH,
        more="It divides the width of a token and that of a latent.",
    )  # fmt: skip
    stem: str | None = option(
        None, "Stem: linear, conv, overlap.", panel=MODEL,
        more="How an encoder embeds a patch: one product, convolutions inside of the patch, or convolutions that reach "
        "over its edge into the group.",
    )  # fmt: skip
    output_head: str | None = option(
        None, "Output head by name.", panel=MODEL,
        more="linear or overlap, how a denoiser predicts the pixels of a patch: from its token alone, or as a weighted "
        "mean with the neighbours in its group, which predict half a patch beyond themselves. Of a classifier, "
        "attention, or one that a package adds (docs/library.md).",
    )  # fmt: skip
    attention_start: Literal["reference", "unit"] | None = option(
        None, "Initial attention weights.", panel=MODEL,
        more="reference: as the published implementation draws them, with nearly uniform attention; unit: with "
        "the variance 1 / inputs, which small models learn faster with. Weights of --start-from are taken as they are.",
    )  # fmt: skip
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
    series: str | None = option(
        None,
        "Image in each file.",
        panel=IMAGES,
        more="Number from 0, or name, of an image in a file that holds several; `fit info` lists them. The run keeps "
        "it.",
    )
    z: str | None = option(
        None,
        "Focal plane, max or mean.",
        panel=IMAGES,
        metavar="PLANE",
        more="Number from 0 of the plane to read of a stack, or the largest or mean value of all planes. The run keeps "
        "it.",
    )
    t: int | None = option(
        None,
        "Time point to read.",
        panel=IMAGES,
        minimum=0,
        maximum=MOST,
        more="Number from 0. The run keeps it.",
    )
    channels: str | None = option(
        None,
        "Channels: 0,2 or names.",
        panel=IMAGES,
        metavar="LIST",
        more="Numbers from 0, or names, separated by commas; a name with a comma stands in quotation marks. `all` "
        "takes the pages of a file without named axes as channels. The run keeps it.",
    )
    augment: bool | str = option(
        None,
        "Like flips,blur=1; none.",
        panel=IMAGES,
        varies=True,
        metavar="LIST",
        parser=augment_value,
        more="A list of flips, light, colour, stain, scale, blur, noise and drop, each with a strength or without, or "
        "pathology, aerial or bands for a set of them. Yes is flips,light=0.1. docs/augmentation.md explains and shows "
        "them. --no-augment and none stand for no augmentation.",
    )
    max_bad_images: int = option(
        0,
        "Unreadable images to allow.",
        panel=IMAGES,
        minimum=0,
        maximum=MOST,
        changeable=True,
        more="Each image that cannot be read is reported; one more stops the run, which can be resumed.",
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
    group_by: str | None = option(
        None,
        "Column of patients.",
        panel=IMAGES,
        metavar="COLUMN",
        more="Images with the same value in this column of the CSV file stay in one split. Without it, the column "
        "patient, if there is one; none splits image by image.",
    )
    folds: int | None = option(
        None,
        "Number of folds.",
        panel=IMAGES,
        minimum=2,
        maximum=MOST,
        metavar="N",
        more="Images, or patients, are dealt into folds with even shares of each class. Not with a column fold.",
    )
    fold: int | None = option(
        None,
        "Fold to validate on.",
        panel=IMAGES,
        minimum=0,
        maximum=MOST,
        metavar="K",
        more="From 1 to --folds, or a number in the column fold of the CSV file. The others train.",
    )
    folds_by: FoldsBy = "contents"
    precision: Literal["fp32", "bf16"] = "fp32"
    options: TaskOptions = field(default_factory=TaskOptions)
    from_preset: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.from_preset, tuple) or any(name not in self._varying() for name in self.from_preset):
            names = f"must be names of options that depend on the preset, not {self.from_preset!r:.80}"
            raise OptionError("from_preset", names, "from_preset")
        self._take_defaults()
        check_options(self)
        if isinstance(self.augment, str):
            try:
                # As on the command line: a later version may have other strengths for a name alone.
                object.__setattr__(self, "augment", augment_value(self.augment))
            except ValueError as error:
                raise OptionError("augment", str(error)) from None
        if self.mpp is not None and self.level is not None:
            raise OptionError("level", "and --mpp both choose the size of the pixels; give one of them")
        if self.folds is not None and self.fold is None:
            raise OptionError("folds", "needs --fold K, the fold to validate on; --cross-validate N trains them all")
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise OptionError("fold", f"must be at most the number of folds, {self.folds}, not {self.fold}")
        if self.folds_by not in get_args(FoldsBy):
            raise OptionError("folds_by", f"must be contents or names, not {self.folds_by!r:.80}", "folds_by")
        if self.precision not in ("fp32", "bf16"):
            raise OptionError("precision", f"must be fp32 or bf16, not {self.precision!r:.80}", "precision")

    def _take_defaults(self) -> None:
        """Replace None by the default of task and preset, for options that vary; note their names."""
        missing = {
            name: self.options.default_of(name, self.preset) for name, value in self._varying().items() if value is None
        }
        if not missing:
            return
        own = {name: value for name, value in missing.items() if name in declared_options(type(self))}
        options = replace(self.options, **{name: value for name, value in missing.items() if name not in own})
        names = tuple(dict.fromkeys((*self.from_preset, *missing)))
        for name, value in {**own, "options": options, "from_preset": names}.items():
            # The fields of a frozen dataclass are set like this while it is built.
            object.__setattr__(self, name, value)

    def _varying(self) -> dict[str, Any]:
        """Return the values of the options whose defaults vary, by name."""
        return {
            name: getattr(owner, name)
            for owner in (self, self.options)
            for name, each in declared_options(type(owner)).items()
            if each.option.varies
        }

    @property
    def reading(self) -> dict[str, Any]:
        """What is read of each image: values of `ReadAs` by name."""
        return {name: getattr(self, name) for name in READING}

    @property
    def model_changes(self) -> dict[str, Any]:
        """Return what replaces values of the preset, by name: the options of the model that were given."""
        chosen = {name: getattr(self, name) for name in model_options()}
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def ema_decay(self) -> float:
        """Greatest decay of the moving average of the weights; 0 for no average."""
        return self.ema

    def defaults_text(self) -> str:
        """Return one line with the values that come from task and preset, as options; empty without any."""
        texts = [given_as(name, value) for name, value in self._varying().items() if name in self.from_preset]
        return f"defaults of preset {self.preset}: {', '.join(texts)}" if texts else ""

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
        return own | dataclasses.asdict(self.options) | {"from_preset": list(self.from_preset)}

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
        if isinstance(chosen := own.get("from_preset"), list):
            own["from_preset"] = tuple(chosen)
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


def model_options() -> tuple[str, ...]:
    """Return the names of the options that change a preset: fields of `models.presets.Preset`."""
    return tuple(name for name, each in declared_options(TrainSettings).items() if each.option.panel == MODEL)


def _other_choice(name: str, before: object, now: object) -> str:
    """Return how a run was begun, and how it was not: "with seed = 3, not 5", or "without it, not with level = 2"."""
    if before is None:
        return f"without it, not with {name} = {now}"
    return f"with {name} = {before}, not {'without it' if now is None else now}"
