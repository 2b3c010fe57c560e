"""Settings that do not fit the model or the image are refused before any work; the others become stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.generators import PATCH, TRAINED, make_run, photograph

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError, FitError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.generate.prepare import InitialImage, Prepared, prepare
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run
from models.denoiser import FITDenoiser

CPU = choose_runtime("cpu", "fp32")


def checkpoint(folder: Path, **changes: Any) -> Checkpoint[FITDenoiser]:
    return load_run(make_run(folder / "run", **changes), CPU, DIFFUSION)


def prepared(made: Checkpoint[FITDenoiser], initial: InitialImage | None = None, **settings: Any) -> Prepared:
    return prepare(made, GenerationSettings(**{"size": (64, 64), "steps": 10, **settings}), CPU, initial)


def test_a_large_image_has_stages_from_noise_to_its_size(tmp_path: Path) -> None:
    made = checkpoint(tmp_path)
    stages = prepared(made, size=(100, 64), strength=0.3).stages
    assert [(stage.size, stage.start, stage.steps) for stage in stages] == [
        ((25, 16), 1.0, 10), ((50, 32), 0.3, 3), ((100, 64), 0.3, 3),
    ]  # fmt: skip
    assert [stage.size for stage in prepared(made, size=(100, 64), one_pass=True).stages] == [(100, 64)]


def test_the_grid_is_shifted_where_an_image_has_several_groups(tmp_path: Path) -> None:
    made = checkpoint(tmp_path, output_patch=PATCH)
    assert [stage.shift_grid for stage in prepared(made, size=(60, 64)).stages] == [True, True]
    assert [stage.shift_grid for stage in prepared(made, size=(60, 16), one_pass=True).stages] == [True]
    assert [stage.shift_grid for stage in prepared(made, size=(16, 16), shift_grid=True).stages] == [False]
    assert not any(stage.shift_grid for stage in prepared(made, shift_grid=False).stages)
    linear = checkpoint(tmp_path / "linear")
    assert not any(stage.shift_grid for stage in prepared(linear).stages)
    assert all(stage.shift_grid for stage in prepared(linear, shift_grid=True).stages)


def test_the_condition_is_the_label_or_nothing(tmp_path: Path) -> None:
    made = checkpoint(tmp_path)
    for label, expected in (("dog", [0.0, 1.0]), (None, [0.0, 0.0])):
        condition = prepared(made, label=label).condition
        assert condition is not None
        assert condition.tolist() == [[expected]]
    assert prepared(checkpoint(tmp_path / "other", classes=())).condition is None


@pytest.mark.parametrize(
    ("run", "settings", "message"),
    [
        ({}, {"label": "fox"}, "no such class; there are cat, dog"),
        ({}, {"guidance": 1.0}, "--guidance needs a label: give --label NAME"),
        ({"class_dropout": 0.0}, {}, "never trained without a label: give --label NAME"),
        ({"class_dropout": 0.0}, {"label": "cat", "guidance": 1.0}, "--guidance: the model was never trained without"),
        ({"classes": ()}, {"label": "cat"}, "trained without labels; leave it out"),
        ({"classes": ()}, {"guidance": 1.0}, "trained without labels, which guidance needs"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, run: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((FitError, CheckpointError), match=message):
        prepared(checkpoint(tmp_path, **run), **settings)


def test_an_image_is_enlarged_from_its_own_size(tmp_path: Path) -> None:
    made, image = checkpoint(tmp_path), photograph(30, 40)
    result = prepared(made, InitialImage(image=image), size=(120, 160), strength=0.4)
    assert [stage.size for stage in result.stages] == [(30, 40), (60, 80), (120, 160)]
    assert {stage.start for stage in result.stages} == {0.4}
    assert result.source is not None
    assert result.source.size == (30, 40)
    with pytest.raises(ImageError, match="larger than the 20 x 160 to enlarge it to"):
        prepared(made, InitialImage(image=image), size=(20, 160))


@pytest.mark.parametrize(
    ("window", "context"),
    [
        (Window(40, 40, 6, 6), Window(27, 27, *TRAINED)),
        (Window(0, 70, 6, 10), Window(0, 48, *TRAINED)),
        (Window(10, 10, 40, 40), Window(2, 2, 56, 56)),
    ],
)
def test_a_repainted_window_has_a_context_of_the_trained_size_or_a_margin(
    tmp_path: Path, window: Window, context: Window
) -> None:
    result = prepared(checkpoint(tmp_path), InitialImage(image=photograph(80, 80), window=window))
    assert result.context == context
    assert result.info.size == (80, 80)
    assert [stage.size for stage in result.stages] == [(context.height, context.width)]
    assert result.inpainting is not None
    assert result.inpainting.window == window.shift(-context.top, -context.left)


def test_the_context_is_not_larger_than_the_image(tmp_path: Path) -> None:
    result = prepared(checkpoint(tmp_path), InitialImage(image=photograph(30, 20), window=Window(1, 1, 4, 4)))
    assert result.context == Window(0, 0, 30, 20)
    assert torch.isfinite(torch.tensor(result.stages[0].start))


@pytest.mark.walk(7)
@pytest.mark.parametrize("use", ["to enlarge", "to repaint", "to enlarge as learned"])
@pytest.mark.parametrize(
    ("run", "image", "message"),
    [
        ((1, "uint16"), (3, "uint8"), "has 3 channels, the run generates 1 (colour becomes grey)"),
        ((3, "uint8"), (1, "uint8"), "has 1 channel, the run generates 3 (grey becomes red, green and blue)"),
        ((1, "uint16"), (1, "uint8"), "has uint8 pixels, the run generates uint16 in 0 ... 65535; convert the image"),
        ((3, "uint8"), (3, "uint16"), "has uint16 pixels, the run generates uint8 in 0 ... 255; convert the image"),
        ((3, "uint8"), (3, "float32"), "has float32 pixels, the model was trained on uint8"),
        ((1, "uint16"), (1, "uint16"), ""),
        ((3, "uint8"), (4, "uint8"), ""),
    ],
    ids=str,
)
def test_an_image_of_another_kind_is_refused(
    tmp_path: Path, run: tuple[int, str], image: tuple[int, str], message: str, use: str
) -> None:
    learned = {"enlarging": Enlarging(factor=2, noise=0.05, deviation=0.1)} if use == "to enlarge as learned" else {}
    made = checkpoint(tmp_path, channels=run[0], dtype=run[1], **learned)
    channels = image[0]
    given = ArrayReader(np.zeros((32, 32, channels), image[1]), color=channels >= 3)
    initial = InitialImage(image=given, window=Window(4, 4, 8, 8) if use == "to repaint" else None)
    if not message:
        assert prepared(made, initial, size=(64, 64)).stages
        return
    with pytest.raises(ImageError) as caught:
        prepared(made, initial, size=(64, 64))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
