"""`fit evaluate --samples`: generated images against held-out ones of a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import Fit
from support.generators import make_run
from support.pictures import save

from fitcli import console
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError
from fitcli.evaluation.evaluate import evaluate
from fitcli.evaluation.quality.measure import QualityJob, QualitySettings
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks import registry
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.image_sampler import CutSides, SampleRequest

CPU = choose_runtime("cpu", "fp32")


def spots(number: int, side: int = 32) -> np.ndarray:
    """Return an image of squares of 4 pixels with some noise."""
    random = np.random.default_rng(number)
    coarse = np.kron(random.integers(0, 200, (side // 4, side // 4, 3)), np.ones((4, 4, 1), int))
    return (coarse + random.integers(0, 56, coarse.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of random spots: twelve to train on and eight held out, of each of two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for part, count, first in (("train", 12, 0), ("val", 8, 100)):
        for number in range(2 * count):
            save(folder / part / ("cat", "dog")[number % 2] / f"{number}.png", spots(first + number))
    return folder


@pytest.fixture(scope="module")
def generator_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("generators") / "run")


class Copier:
    """A sampler that writes images of a list, as a run that has learned them by heart would."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images, self.asked = images, list[SampleRequest]()

    def size(self, config: Any, side: int | None) -> tuple[int, int]:
        return (32, 32) if side is None else (side, side)

    def factor(self, config: Any) -> int:
        return 1

    def cuts(self, config: Any) -> CutSides:
        return CutSides(group=(16, 16), patch=(4, 4))

    def generate(self, checkpoint: Any, runtime: Any, request: SampleRequest, folder: Path) -> Iterator[Path]:
        self.asked.append(request)
        for number, _ in enumerate(request.labels):
            path, pixels = folder / f"{number}.zarr", self.images[number]
            info = ImageInfo(height=32, width=32, channels=3, dtype=np.dtype(np.uint8))
            with create_image(path, info) as canvas:
                canvas.write(Window(0, 0, 32, 32), pixels)
            yield path
            assert not path.exists(), "only one image waits at a time"


def quality_of(
    images: list[np.ndarray], data: Path, run: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> tuple[dict[str, Any], Copier]:
    copier = Copier(images)
    monkeypatch.setattr("fitcli.evaluation.quality.measure.find_image_sampler", lambda task: copier)
    asked = QualitySettings(samples=len(images), options=registry.sampling_options()["diffusion"](), **settings)
    found = evaluate(ImageQueue(), data, run, "val", CPU, EncodingSettings(), quality=asked)
    assert found is not None
    return found.scores["quality"], copier


def test_images_of_the_same_kind_are_as_far_as_real_ones(
    pictures: Path, generator_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, copier = quality_of([spots(500 + n) for n in range(8)], pictures, generator_run, monkeypatch)
    assert (found["samples"], found["crops"], found["crop"]) == (8, 8, [32, 32])
    assert len(found["sliced_wasserstein"]) == 2
    for level in found["sliced_wasserstein"]:
        assert 0.7 < level["ratio"] < 1.4
    assert found["frechet"] is None
    # The squares are as large as the patches.
    for name in ("groups", "real_groups", "patches", "real_patches"):
        assert found["seams"][0][name] > 2
    assert 0.9 < found["memorisation"]["ratio"] < 1.1
    assert copier.asked[0].labels == [0, 0, 0, 0, 1, 1, 1, 1], "the classes of the held-out images"
    dull, _ = quality_of([spots(500 + n) // 3 for n in range(8)], pictures, generator_run, monkeypatch)
    assert all(level["ratio"] > 2 for level in dull["sliced_wasserstein"])


def test_copies_of_training_images_are_found(
    pictures: Path, generator_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = quality_of([spots(number) for number in range(8)], pictures, generator_run, monkeypatch)
    assert found["memorisation"]["generated"] == pytest.approx(0, abs=1e-3)
    assert found["memorisation"]["nearer"] == 1
    assert found["memorisation"]["real"] > 0.1


@pytest.mark.more
def test_crops_of_larger_images(
    generator_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["path,label,split"]
    for number, split in enumerate(("train", "val")):
        save(tmp_path / f"{number}.png", spots(number, 96))
        lines.append(f"{number}.png,cat,{split}")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    images = [spots(500 + number) for number in range(3)]
    found, copier = quality_of(images, tmp_path / "data.csv", generator_run, monkeypatch, crop=16, seed=4)
    # Four crops of each generated image; the two sets of the single real image share its 36.
    assert (found["crops"], found["crop"]) == (12, [16, 16])
    assert copier.asked[0].seed == 4
    assert "two sets of 12 real crops" in capsys.readouterr().err


@pytest.mark.more
def test_generated_images_stand_in_json_and_tables(
    fit: Fit, pictures: Path, generator_run: Path, dataset: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "hint", said.append)
    words = ["evaluate", pictures, "--checkpoint", generator_run, "--samples", "4", "--steps", "2", "--device", "cpu"]
    result = fit(*words, "--features-from", trained, "--seed", "3", "--json")
    assert result.exit_code == 0, result.stderr
    assert "scores 16 images first, then generates 4" in said
    found = json.loads(result.stdout)
    assert found["images"] == 16
    quality = found["quality"]
    assert (quality["sampling"]["steps"], quality["seed"], quality["crops"]) == (2, 3, 4)
    assert quality["frechet"]["ratio"] > 0
    assert quality["features_from"] == str(trained)
    assert {level["level"] for level in quality["seams"]} == {0, 1, 2, 3}
    assert all(level["groups"] > 0 and level["real_groups"] > 0 for level in quality["seams"])
    shown = fit(*words, "--crop", "16").stdout
    assert "sliced Wasserstein, 16 x 16" in shown
    assert "seams, shrunk by" in shown
    assert "sliced Wasserstein, 32 x 32" not in shown


@pytest.mark.walk(3)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--crop", "16"), "--crop is for --samples; give that too, or leave it out"),
        (("--steps", "16"), "--steps is for --samples; give that too, or leave it out"),
        (("--samples", "4", "--temperature", "1"), "--temperature"),
        (("--samples", "4", "--crop", "33"), "--crop 33: generated images have 32 x 32 pixels; give at most 32"),
        (("--samples", "4", "--features-from", "RUN"), "was trained with --task diffusion, which has no vector of an"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    fit: Fit, pictures: Path, generator_run: Path, words: tuple[str, ...], message: str
) -> None:
    given = [str(generator_run) if word == "RUN" else word for word in words]
    result = fit("evaluate", pictures, "--checkpoint", generator_run, "--device", "cpu", *given)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout, "nothing was scored before"


def test_a_failed_comparison_keeps_the_scores(fit: Fit, pictures: Path, generator_run: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "scores.csv", tmp_path / "scores.html"
    words = ["evaluate", pictures, "--checkpoint", generator_run, "--device", "cpu", "--json"]
    whole = json.loads(fit(*words).stdout)
    result = fit(*words, "--samples", "4", "--sample-size", "48", "--crop", "40", "--csv", table, "--report", page)
    assert result.exit_code == 1
    message = "the real images have 0 crops of 40 x 40 pixels"
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    found = json.loads(result.stdout)
    assert message in found.pop("quality")["error"]
    assert found == whole
    assert len(table.read_text().splitlines()) == 17
    assert page.exists()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("HOST_ALLOCATION_FAILED")]
)
def test_any_failure_of_the_comparison_keeps_the_scores(
    fit: Fit, pictures: Path, generator_run: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: QualityJob, *arguments: object) -> None:
        raise error

    monkeypatch.setattr(QualityJob, "run", fail)
    result = fit("evaluate", pictures, "--checkpoint", generator_run, "--device", "cpu", "--json", "--samples", "4")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["images"] == 16
    assert found["quality"]["error"] in result.stderr


def test_fewer_windows_to_enlarge_than_asked_for(
    pictures: Path, generator_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fitcli.evaluation.quality.measure.find_image_sampler", lambda task: Enlarger([]))
    asked = QualitySettings(samples=9, options=registry.sampling_options()["diffusion"]())
    evaluate(ImageQueue(), pictures, generator_run, "val", CPU, EncodingSettings(), quality=asked)
    assert "--samples 9: 5 images to enlarge have 5 windows of at most 32 x 32 pixels" in capsys.readouterr().err


def test_a_classifier_generates_no_images(fit: Fit, dataset: Path, trained: Path) -> None:
    result = fit("evaluate", dataset, "--checkpoint", trained, "--samples", "4")
    assert result.exit_code == 1
    assert "--samples is for runs that generate images, not for those of --task classify" in result.stderr


def test_a_classifier_of_other_images_is_refused(fit: Fit, trained: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", channels=5, classes=())
    data = tmp_path / "data"
    data.mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 5), np.uint8)
        with create_image(data / f"{number}.tif", ArrayReader(pixels).info) as canvas:
            canvas.write(Window(0, 0, 32, 32), pixels)
    result = fit("evaluate", data, "--checkpoint", run, "--samples", "4", "--features-from", trained)
    assert result.exit_code == 1
    assert f"--features-from {trained}: cannot look at images of this run: an image has 5 channels" in result.stderr


class Enlarger(Copier):
    """A sampler that repeats the pixels of smaller images."""

    def factor(self, config: Any) -> int:
        return 4

    def generate(self, checkpoint: Any, runtime: Any, request: SampleRequest, folder: Path) -> Iterator[Path]:
        self.asked.append(request)
        for number, path in enumerate(request.shrunk):
            with open_image(path) as image:
                self.images.append(image.read(Window(0, 0, *image.info.size)))
            pixels = np.repeat(np.repeat(self.images[-1], 4, axis=0), 4, axis=1)
            out, (height, width) = folder / f"{number}.zarr", pixels.shape[:2]
            with create_image(out, ImageInfo(height=height, width=width, channels=3, dtype=np.dtype(np.uint8))) as file:
                file.write(Window(0, 0, height, width), pixels)
            yield out


@pytest.mark.more
def test_images_that_are_made_from_smaller_ones(
    pictures: Path, generator_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enlarger = Enlarger([])
    monkeypatch.setattr("fitcli.evaluation.quality.measure.find_image_sampler", lambda task: enlarger)
    asked = QualitySettings(samples=9, options=registry.sampling_options()["diffusion"]())
    found = evaluate(ImageQueue(), pictures, generator_run, "val", CPU, EncodingSettings(), quality=asked)
    assert found is not None
    # One third of the 16 images is shrunk, each once: it has one window of the trained size.
    request = enlarger.asked[0]
    assert len(request.shrunk) == len(request.labels) == len(enlarger.images) == 5
    spotted = [spots(100 + number) for number in range(16)]
    for small, label in zip(enlarger.images, request.labels, strict=True):
        means = [each.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)) for each in spotted[label::2]]
        assert min(np.abs(mean - small).max() for mean in means) <= 0.5, "rounded means of a held-out image"
    # The squares of 4 pixels are as they were, without their noise; interpolation smooths them away.
    finest = found.scores["quality"]["sliced_wasserstein"][0]
    assert finest["generated"] < finest["bicubic"]
    assert "bicubic" in found.tables[0].columns


def test_too_few_images_to_enlarge(generator_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, split in enumerate(("train", "val", "val")):
        save(tmp_path / split / "cat" / f"{number}.png", spots(number))
    monkeypatch.setattr("fitcli.evaluation.quality.measure.find_image_sampler", lambda task: Enlarger([]))
    asked = QualitySettings(samples=4, options=registry.sampling_options()["diffusion"]())
    with pytest.raises(DataError, match="2 images to compare with"):
        evaluate(ImageQueue(), tmp_path, generator_run, "val", CPU, EncodingSettings(), quality=asked)
