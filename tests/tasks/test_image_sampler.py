"""Images of an evaluation are those that `fit generate` makes with the same options, for both kinds of generators."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.batches import live
from support.command_line import Fit
from support.decoders import checkpoint as decoder_checkpoint
from support.generators import make_run
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.runs.config import save_config
from fitcli.runs.weights import save_weights
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.image_sampler import CutSides, SampleRequest, by_label
from fitcli.tasks.load import load_run
from fitcli.tasks.registry import find_image_sampler, sampling_options

CPU = choose_runtime("cpu", "fp32")
OPTIONS = {
    "diffusion": {"steps": 2, "sampler": "ddpm", "guidance": 1.0},
    "autoregressive": {"temperature": 0.7, "top_k": 20},
}


def run_of(task: str, folder: Path) -> Path:
    if task == "diffusion":
        return make_run(folder)
    folder.mkdir()
    made = decoder_checkpoint(classes=("cat", "dog"))
    save_config(folder, made.config)
    save_weights(folder, live(made.model.config, torch.float32))
    return folder


@pytest.mark.parametrize("task", sorted(OPTIONS))
def test_they_are_those_of_fit_generate(fit: Fit, task: str, tmp_path: Path) -> None:
    run, sampler = run_of(task, tmp_path / "run"), find_image_sampler(task)
    assert sampler is not None
    checkpoint = load_run(run, CPU)
    options = sampling_options()[task](**OPTIONS[task])
    request = SampleRequest(labels=[1, 0, 1], size=(16, 16), seed=5, memory_bytes=None, options=options)
    (tmp_path / "samples").mkdir()
    sampled = []
    for path in sampler.generate(checkpoint, CPU, request, tmp_path / "samples"):
        with open_image(path) as image:
            assert image.info.size == (16, 16)
            sampled.append(image.read(Window(0, 0, 16, 16)))
    words = [word for name, value in OPTIONS[task].items() for word in (f"--{name.replace('_', '-')}", str(value))]
    made = []
    for label, (name, count) in enumerate((("cat", 1), ("dog", 2))):
        arguments = ["--checkpoint", run, "--out", tmp_path / f"{name}.png", "--label", name, "--seed", str(5 + label)]
        result = fit("generate", *arguments, "--count", str(count), "--res", "16", "--json", "--device", "cpu", *words)
        assert result.exit_code == 0, result.stderr
        for document in json.loads(result.stdout):
            with open_image(document["path"]) as image:
                made.append(image.read(Window(0, 0, 16, 16)))
    assert len(sampled) == len(made) == 3
    for ours, theirs in zip(sampled, made, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(made[1], made[2])


def test_sizes_and_borders(tmp_path: Path) -> None:
    diffusion, autoregressive = find_image_sampler("diffusion"), find_image_sampler("autoregressive")
    assert diffusion is not None
    assert autoregressive is not None
    config = load_run(make_run(tmp_path / "run"), CPU).config
    assert (diffusion.size(config, None), diffusion.size(config, 48)) == ((32, 32), (48, 48))
    assert diffusion.cuts(config) == CutSides(group=(16, 16), patch=(4, 4))
    config = decoder_checkpoint(patch=(4, 2), size=(9, 6)).config
    assert autoregressive.size(config, None) == (8, 6), "whole patches"
    assert autoregressive.cuts(config) == CutSides(group=(4, 2), patch=(1, 1))


def test_other_tasks_generate_nothing() -> None:
    assert [find_image_sampler(task) for task in ("classify", "segment", "detect")] == [None] * 3


def test_images_are_counted_by_label() -> None:
    assert by_label([2, 0, 2, 1]) == [(0, 1), (1, 1), (2, 2)]
    assert by_label([None, None]) == [(None, 2)]


def test_enlarged_images_are_those_of_fit_generate(fit: Fit, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", enlarging=Enlarging(factor=2, noise=0.1, deviation=0.2))
    sampler, checkpoint = find_image_sampler("diffusion"), load_run(run, CPU)
    assert sampler is not None
    assert sampler.factor(checkpoint.config) == 2
    rng = np.random.default_rng(0)
    small = [save(tmp_path / f"{n}.png", rng.integers(0, 256, (8 + 2 * n, 16, 3)).astype(np.uint8)) for n in range(2)]
    options = sampling_options()["diffusion"](steps=2)
    request = SampleRequest(labels=[1, 0], size=None, seed=5, memory_bytes=None, options=options, shrunk=small)
    (tmp_path / "samples").mkdir()
    sampled = list(sampler.generate(checkpoint, CPU, request, tmp_path / "samples"))
    with open_image(sampled[1]) as image:
        assert image.info.size == (20, 32)
    # The first image has number 0, as that of `fit generate`.
    arguments = [
        "--checkpoint",
        run,
        "--image",
        small[0],
        "--out",
        tmp_path / "made.png",
        "--label",
        "dog",
        "--seed",
        "6",
    ]
    result = fit("generate", *arguments, "--steps", "2", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    with open_image(sampled[0]) as image, open_image(tmp_path / "made.png") as made:
        assert image.info.size == (16, 32)
        np.testing.assert_array_equal(image.read(Window(0, 0, 16, 32)), made.read(Window(0, 0, 16, 32)))


def test_runs_that_make_images_from_nothing(tmp_path: Path) -> None:
    for task in sorted(OPTIONS):
        sampler = find_image_sampler(task)
        assert sampler is not None
        assert sampler.factor(load_run(run_of(task, tmp_path / task), CPU).config) == 1


@pytest.mark.more
def test_enlarged_images_beside_interpolated_ones(fit: Fit, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", classes=(), enlarging=Enlarging(factor=4, noise=0.1, deviation=0.2))
    rng = np.random.default_rng(0)
    for number in range(6):
        save(tmp_path / "data" / f"{number}.png", rng.integers(0, 256, (33, 34, 3)).astype(np.uint8))
    words = ["evaluate", tmp_path / "data", "--checkpoint", run, "--split", "all", "--samples", "4", "--steps", "2"]
    result = fit(*words, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    quality = json.loads(result.stdout)["quality"]
    # Two of the six images are shrunk.
    assert (quality["crop"], quality["crops"]) == ([32, 32], 2)
    assert all(level["bicubic"] > 0 for level in quality["sliced_wasserstein"])
    refused = fit(*words, "--sample-size", "30")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1] == (
        "error: --sample-size 30: the run enlarges 4 times; give a multiple of 4"
    )
