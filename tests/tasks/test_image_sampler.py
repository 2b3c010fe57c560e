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


def test_a_run_that_enlarges_generates_none_by_itself(fit: Fit, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", classes=(), enlarging=Enlarging(factor=2, noise=0.1, deviation=0.2))
    save(tmp_path / "data" / "a.png", np.zeros((32, 32, 3), np.uint8))
    result = fit("evaluate", tmp_path / "data", "--checkpoint", run, "--split", "all", "--samples", "2")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: --samples: the run enlarges images and generates none by itself; leave it out"
    )
