"""Builds what several benchmarks measure: a forward pass or a training step of a classifier over pixels in memory."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from fitcli.device.runtime import Runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.patches.sample_pixels import as_pixels
from fitcli.tasks.classify.task import TASK as CLASSIFY
from models.build import build
from models.encoder import FITClassifier
from models.groups import Groups
from models.presets import classifier_preset


def job_options(document: str | None, works: Iterable[str]) -> argparse.ArgumentParser:
    """Return a parser of the options of a benchmark that compares such jobs.

    Args:
        document: Text above the options in `--help`.
        works: Names of the jobs that `--works` chooses from; all by default.
    """
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--works", nargs="+", choices=list(works), default=list(works))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser


def classifier_job(
    preset: str, size: int, runtime: Runtime, plan: ExecutionPlan | None
) -> tuple[Callable[[], object], FITClassifier, Groups]:
    """Return a function that runs one pass or step, the model, and the groups of its one image.

    Args:
        preset: Preset of the model, whose weights are untrained.
        size: Pixels per side of the image, which lies on the device as bytes.
        runtime: Device and precision.
        plan: Execution of a training step without the optimizer. None for a forward pass as `fit classify` prepares it.
    """
    config = classifier_preset(preset, 3, 100)
    model = build(config).to(runtime.device)
    groups = groups_of(PatchGrid((size, size), config.patch, config.group)).to(runtime.device)
    one = CLASSIFY.step_input(config)
    pixels = torch.randint(one.values, (len(groups.number), *one.shape), dtype=one.dtype, device=runtime.device)
    if plan is None:
        model.eval().requires_grad_(False)
        runtime.prepare(model)
    runtime.compile(model)
    job = CLASSIFY.sample_step(model, groups, lambda part: pixels[part], plan or ExecutionPlan())

    def forward() -> object:
        with torch.inference_mode(), runtime.autocast():
            return model(as_pixels(pixels), groups).logits

    def step() -> None:
        assert plan is not None
        model.zero_grad(set_to_none=True)
        with runtime.autocast():
            run_job(job, plan)

    return (forward if plan is None else step), model, groups
