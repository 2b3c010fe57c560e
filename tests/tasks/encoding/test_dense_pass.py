"""A dense pass hands on each group once, whatever is kept of it; the tests of its tasks compare the values."""

from __future__ import annotations

import torch
from support.dense_models import checkpoint, picture

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.detect.sample_pass import DETECTING
from fitcli.tasks.encoding.dense_pass import Places, run_dense_pass
from fitcli.tasks.encoding.encode import EncodingSettings


def test_each_group_once_and_in_order() -> None:
    model, seen, sums = checkpoint(), list[tuple[int, int]](), list[torch.Tensor]()

    def keep(values: torch.Tensor, places: Places, grid: PatchGrid) -> torch.Tensor:
        assert values.shape[:1] == (len(places),)
        assert grid.size == (40, 50)
        return values.sum(dim=(1, 2))

    def take(places: Places, kept: torch.Tensor) -> None:
        seen.extend(places)
        sums.append(kept)

    done = run_dense_pass(
        model, ArrayReader(picture((40, 50))), choose_runtime("cpu", "fp32"), EncodingSettings(background=None),
        passes=DETECTING, keep=keep, take=take, purpose="test",
    )  # fmt: skip
    assert seen == done.places == list(done.grid.coordinates())
    assert torch.cat(sums).shape == (done.grid.count, model.model.config.outputs)
