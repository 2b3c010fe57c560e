"""Generates an image with several runs in a row: the first one begins, and each of the others enlarges its result.

STATE/job.json, position.pt      what is generated; number of finished images
STATE/run-0                      state of the first run
STATE/run-0.tif                  its result, values in [0, 1]; numbered if there are several images
STATE/run-1-0, run-1.tif, ...    states of the other runs, one per image, and their results

Without a state the results lie in a staging folder beside the output. They are float32, so nothing is rounded between
two runs. Only one model is in memory at a time, and each run plans its memory by itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.device.runtime import Runtime
from fitcli.errors import CheckpointError, FitError
from fitcli.files.staging import StagingFolder
from fitcli.files.wording import counted
from fitcli.images.open import open_image
from fitcli.patches.value_range import PixelRange
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
from fitcli.tasks.diffusion.generate.prepare import InitialImage, check_enlarged_size, label_condition
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.generated_image import HASH_DIGITS, GeneratedImage
from fitcli.tasks.image_output import check_outputs, numbered, output_info
from models.denoiser import FITDenoiser


def factor_of(config: RunConfig) -> int:
    """Return how many times a run enlarges an image; 1 for a run that has not learned it."""
    enlarging = diffusion_of(config).enlarging
    return 1 if enlarging is None else enlarging.factor


def check_enlargers(base: RunConfig, enlargers: Sequence[tuple[Path, RunConfig]]) -> int:
    """Check that runs can enlarge the images of a base, one after the other; return how many times they do together.

    Raises:
        CheckpointError: A run has not learned to enlarge, or its images are of another kind.
    """
    factor, own = 1, base.preprocessing
    for folder, config in enlargers:
        of, other = f"--enlarge-with {folder}:", config.preprocessing
        if diffusion_of(config).enlarging is None:
            raise CheckpointError(f"{of} was not trained with --enlarge; give a run of fit train --enlarge")
        if other.channels != own.channels:
            raise CheckpointError(
                f"{of} enlarges images of {counted(other.channels, 'channel')}, --checkpoint has {own.channels}; give "
                "runs of the same kind of images"
            )
        ranges = [PixelRange.of(preprocessing) for preprocessing in (other, own)]
        if ranges[0] != ranges[1]:
            first, second = (f"{each.dtype} in {each.low:g} ... {each.high:g}" for each in ranges)
            raise CheckpointError(
                f"{of} enlarges pixels of {first}, those of --checkpoint are {second}; give runs of the same kind of "
                "images"
            )
        factor *= factor_of(config)
    return factor


def first_size(target: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the (height, width) that is enlarged to `target`.

    Raises:
        FitError: The factor does not divide the target.
    """
    if target[0] % factor or target[1] % factor:
        raise FitError(
            f"an image of {target[0]} x {target[1]} pixels (height x width) cannot be enlarged {factor} times from "
            f"whole pixels; give sides that are multiples of {factor}"
        )
    return target[0] // factor, target[1] // factor


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Images to generate with several runs.

    Attributes:
        folders: Run folders, the base first.
        configs: Their configs.
        load: Loads a run.
        out, settings, limits, runtime, count, overwrite, initial: See `GenerationJob`. The size is that after
            the last run.
    """

    folders: Sequence[Path]
    configs: Sequence[RunConfig]
    load: Callable[[Path], Checkpoint[FITDenoiser]]
    out: Path
    settings: GenerationSettings
    limits: ResourceLimits
    runtime: Runtime
    count: int = 1
    overwrite: bool = False
    initial: InitialImage | None = None

    def run(self) -> Iterator[GeneratedImage]:
        """Generate the images one after the other.

        Raises:
            FitError: The runs do not go together, the settings do not fit one of them or the image, the memory limit is
                too low, or a file cannot be written.
        """
        factor = check_enlargers(self.configs[0], list(zip(self.folders, self.configs, strict=True))[1:])
        first_size(self.settings.size, factor)
        if self.initial is not None and self.initial.window is not None:
            raise FitError("--window repaints a part of an image of its own size; leave out --enlarge-with")
        if self.initial is not None and (own := factor_of(self.configs[0])) > 1:
            check_enlarged_size(self.initial.image.path, self.initial.image.info.size, self.settings.size, own * factor)
        # Everything that could be refused is, before hours of work.
        hashes = [self._check(index) for index in range(len(self.folders))]
        paths = numbered(self.out, self.count)
        info = output_info(self.settings.size, self.configs[-1].preprocessing)
        if self.limits.state is None:
            check_outputs(paths, self.overwrite, info)
        with ExitStack() as stack:
            folder, journal = self._open_folder(stack, hashes, paths)
            begun = journal is not None and journal.plan is not None
            if journal is not None:
                check_outputs(paths, self.overwrite or begun, info)
            if journal is not None and not begun:
                journal.save_plan({"runs": len(self.folders)})
            saved = None if journal is None else journal.load()
            finished = 0 if saved is None else int(saved["image"])
            for index in range(len(self.folders) - 1):
                self._run_link(index, folder, finished, journal is not None)
            model, last = self.load(self.folders[-1]), len(self.folders) - 1
            for number in range(finished, self.count):
                keeps, overwrite = journal is not None, self.overwrite or begun
                origin, path = self._origin(hashes), paths[number]
                yield from self._enlarge(model, last, folder, number, path, keeps, overwrite, origin)
                if journal is not None:
                    journal.save({"image": number + 1})
            if journal is not None:
                _clear(folder)
                journal.remove()

    def _check(self, index: int) -> str:
        """Check the settings against a run; return the hash of its model."""
        checkpoint = self.load(self.folders[index])
        try:
            label_condition(checkpoint, self._settings(index), self.runtime)
        except FitError as error:
            raise type(error)(f"{self.folders[index]}: {error}") from None
        return model_hash(checkpoint)[:HASH_DIGITS]

    def _settings(self, index: int) -> GenerationSettings:
        """Return the settings of a run: those of the job, but for the size, and for labels that it does not have."""
        rest = 1
        for config in self.configs[index + 1 :]:
            rest *= factor_of(config)
        settings = replace(self.settings, size=first_size(self.settings.size, rest))
        if index and not self.configs[index].classes:
            settings = replace(settings, label=None, guidance=0.0, guidance_interval=None)
        return settings

    def _open_folder(self, stack: ExitStack, hashes: list[str], paths: list[Path]) -> tuple[Path, FolderJournal | None]:
        if self.limits.state is None:
            staging = StagingFolder(self.out)
            stack.callback(staging.remove)
            staging.new.mkdir()
            return staging.new, None
        initial = None if self.initial is None else os.path.realpath(self.initial.image.path)
        description = {
            "purpose": "generate with several runs",
            "fit": __version__,
            "checkpoints": hashes,
            "image": initial,
            "size": self.settings.size,
            "label": self.settings.label,
            "seed": self.settings.seed,
            "out": [os.path.realpath(path) for path in paths],
        }
        journal = FolderJournal(self.limits.state, description)
        stack.callback(journal.close)
        return self.limits.state, journal

    def _run_link(self, index: int, folder: Path, finished: int, with_state: bool) -> None:
        """Compute the results of a run that is not the last, unless an earlier process has."""
        results, state = self._results(index, folder), folder / f"run-{index}"
        if index:
            numbers = range(finished, self.count)
            todo = [each for each in numbers if _unfinished(results[each], self._state(index, folder, each))]
            model = self.load(self.folders[index]) if todo else None
            for number in todo:
                assert model is not None
                list(self._enlarge(model, index, folder, number, results[number], with_state, True, {}))
        elif any(_unfinished(result, state) for result in results):
            job = GenerationJob(
                checkpoint=self.load(self.folders[0]),
                out=folder / "run-0.tif",
                settings=self._settings(0),
                limits=replace(self.limits, state=state if with_state else None, preview=None),
                runtime=self.runtime,
                count=self.count,
                overwrite=True,
                initial=self.initial,
                exact=True,
            )
            list(job.run())

    def _enlarge(
        self,
        model: Checkpoint[FITDenoiser],
        index: int,
        folder: Path,
        number: int,
        out: Path,
        with_state: bool,
        overwrite: bool,
        origin: dict[str, Any],
    ) -> Iterator[GeneratedImage]:
        """Enlarge one result of the run before with run `index`."""
        last = index == len(self.folders) - 1
        with open_image(self._results(index - 1, folder)[number]) as image:
            job = GenerationJob(
                checkpoint=model,
                out=out,
                settings=self._settings(index),
                limits=replace(
                    self.limits,
                    state=self._state(index, folder, number) if with_state else None,
                    preview=self.limits.preview if last else None,
                ),
                runtime=self.runtime,
                overwrite=overwrite,
                initial=InitialImage(image=image, exact=True),
                first=number,
                exact=not last,
                origin=origin,
            )
            yield from job.run()

    def _results(self, index: int, folder: Path) -> list[Path]:
        return numbered(folder / f"run-{index}.tif", self.count)

    def _state(self, index: int, folder: Path, number: int) -> Path:
        return folder / f"run-{index}-{number}"

    def _origin(self, hashes: list[str]) -> dict[str, Any]:
        given = None if self.initial is None else self.initial.image.path.name
        return {"given": given, "earlier models": hashes[:-1]}


def _unfinished(result: Path, state: Path) -> bool:
    """Return whether a result is missing, or its job has not yet removed its state."""
    return not result.exists() or state.exists()


def _clear(folder: Path) -> None:
    """Remove the results of the runs, and what is left of their states."""
    for path in folder.glob("run-*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
