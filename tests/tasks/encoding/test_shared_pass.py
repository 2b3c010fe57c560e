"""Processes that share one image give what one process gives; an error of one is an error of all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.dense_models import PATCH, checkpoint, picture
from support.pictures import save
from support.processes import run_ranks

from fitcli.device.runtime import choose_runtime
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.read_as import ReadAs, open_as
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.encoding import group_encoder
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding
from fitcli.tasks.encoding.shared_pass import can_share, help_with_passes
from fitcli.tasks.segment.sample_pass import SEGMENTING
from models.dense import FITDense

SIZE = (61, 75)
"""Height and width of an image of 42 groups; those at its edges have fewer patches."""

Values = dict[str, np.ndarray[Any, Any]]


def model() -> Checkpoint[FITDense]:
    """A model of three segments in float64."""
    return checkpoint(plan="(1)1(1)2(1)")


def encoded(
    path: Path, team: World | None, how: ReadAs, handful: int | None = None, store: StoreKind = "host"
) -> Values:
    """Encode an image and return everything that a pass gives; on the first process or alone."""
    found: dict[str, list[Any]] = {"tokens": [], "places": []}
    settings = EncodingSettings(background=0.02, team=team)
    with (
        open_as(path, how) as image,
        encoding(model(), image, choose_runtime("cpu", "fp32"), settings, purpose="test", passes=SEGMENTING) as job,
    ):
        job: EncodingPass = replace(job, plan=replace(job.plan, handful=handful or job.plan.handful, store=store))

        def take(part: slice, tokens: torch.Tensor) -> None:
            found["tokens"].append(tokens.numpy().copy())
            found["places"].extend(range(part.start, part.stop))

        advanced: list[float] = []
        latents = job.run(advanced.append, take)
    assert sum(advanced) == pytest.approx(1, abs=0.2)
    assert found["places"] == list(range(len(job.places)))
    return {"latents": latents.numpy(), "tokens": np.concatenate(found["tokens"])}


FAILURES: dict[str, BaseException] = {
    "broken image": ImageError("large.tif", "is truncated"),
    "memory": MemoryError(),
    "full disk": FitError("the disk is full"),
}


def fail(kind: str, times: int) -> None:
    """Let this process fail the first times that it reads."""
    read, left = group_encoder.read_patches, [times]

    def failing(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise FAILURES[kind]
        return read(*arguments)

    group_encoder.read_patches = failing


def work(act: Any, *arguments: Any) -> Any:
    """What each process of a job does: `act` on the first one, and help on the others."""
    with processes("cpu", int(os.environ["WORLD_SIZE"])) as world:
        help_with_passes(world, model(), choose_runtime("cpu", "fp32"))
        if not world.is_first:
            return None
        with torch.inference_mode():
            result = act(world, *arguments)
        world.broadcast(None)
        return result


def several(world: World | None, paths: list[Path]) -> list[Values]:
    """Images of many groups and of one, at another scale, in handfuls and stores of several kinds."""
    return [
        encoded(paths[0], world, ReadAs(), 4),
        encoded(paths[0], world, ReadAs(), 3, "disk"),
        encoded(paths[0], world, ReadAs(mpp=0.8)),
        encoded(paths[1], world, ReadAs()),
    ]


def images(folder: Path) -> list[Path]:
    large = picture(SIZE)
    large[:24, :36] = 90
    return [save(folder / "large.tif", large, 0.5), save(folder / "one.tif", picture((PATCH, 2 * PATCH)))]


@pytest.mark.distributed
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_shared_pass_gives_what_one_process_gives(tmp_path: Path, ranks: int) -> None:
    paths = images(tmp_path)
    with torch.inference_mode():
        alone = several(None, paths)
    shared, *helpers = run_ranks(ranks, work, several, paths)
    assert helpers == [None] * (ranks - 1)
    assert len(alone[0]["latents"]) < 42, "some groups are background"
    for one, other in zip(alone, shared, strict=True):
        for name, values in one.items():
            assert other[name].shape == values.shape
            assert np.abs(other[name] - values).max() < 1e-9


def after_a_failure(world: World, path: Path) -> tuple[str, str, Values]:
    """What the first process sees of a failure, and a pass after it."""
    raised: FitError | None = None
    try:
        encoded(path, world, ReadAs(), 8)
    except FitError as error:
        raised = error
    return type(raised).__name__, str(raised), encoded(path, world, ReadAs(), 8)


def work_of_a_failing_process(rank: int, kind: str, times: int, path: Path) -> Any:
    if os.environ["RANK"] == str(rank):
        fail(kind, times)
    return work(after_a_failure, path)


@pytest.mark.distributed
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("kind", "times", "raised", "text"),
    [
        ("broken image", 1, "ImageError", "large.tif: is truncated"),
        ("memory", 1, "NoneType", "None"),
        ("memory", 2, "OutOfMemory", "out of memory on cpu"),
        ("full disk", 1, "FitError", "the disk is full"),
    ],
)
def test_a_failure_of_one_process_is_one_of_all_and_the_next_pass_works(
    tmp_path: Path, rank: int, kind: str, times: int, raised: str, text: str
) -> None:
    """Memory that runs out once is met by half a handful on all processes."""
    path = images(tmp_path)[0]
    (name, said, values), _ = run_ranks(2, work_of_a_failing_process, rank, kind, times, path)
    assert name == raised
    assert text in said
    with torch.inference_mode():
        alone = encoded(path, None, ReadAs())
    assert all(np.abs(values[name] - alone[name]).max() < 1e-9 for name in alone)


def test_only_files_are_shared(tmp_path: Path) -> None:
    two = replace(ALONE, size=2)
    with open_as(images(tmp_path)[0]) as image:
        assert can_share(two, image)
        assert not can_share(ALONE, image)
        assert not can_share(None, image)
    assert not can_share(two, ArrayReader(picture(SIZE)))
