"""Streaming gives what `FITEncoder.forward` gives, whatever is computed together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fitcli.grid import PatchGrid
from fitcli.patches import groups_of
from fitcli.streaming import prefetch, stream_latents
from models.build import build
from models.config import EncoderConfig
from models.encoder import FITEncoder


def encoder(plan: str, **changes: object) -> FITEncoder:
    settings: dict[str, object] = {
        "plan": plan, "tokens": 9, "latents": 2, "token_width": 12, "latent_width": 16, "token_heads": 2,
        "latent_heads": 4, "patch": 4, "channels": 1,
    }  # fmt: skip
    config = EncoderConfig.from_dict(settings | changes)
    model = build(config, seed=3).double().eval()
    # Latents that have read nothing would hide mistakes in what is read: make every part of the model matter.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def inputs(size: tuple[int, int]) -> tuple[PatchGrid, Tensor]:
    grid = PatchGrid(size, 4, 3)
    generator = torch.Generator().manual_seed(1)
    return grid, torch.randn(grid.count, 9, 16, generator=generator, dtype=torch.float64)


@torch.inference_mode()
@pytest.mark.parametrize("handful", [1, 2, 5, 100])
@pytest.mark.parametrize("size", [(48, 36), (50, 41), (12, 12), (3, 100)], ids=str)
@pytest.mark.parametrize("plan", ["(2)1", "(1)1(1)2", "(0)1(2)1(1)1"])
def test_equal_to_the_forward_pass(plan: str, size: tuple[int, int], handful: int) -> None:
    model, (grid, patches) = encoder(plan), inputs(size)
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part], handful)
    whole = model(patches, groups).latents
    assert (streamed.latents - whole).abs().max() < 1e-9


@torch.inference_mode()
@pytest.mark.parametrize(
    "changes", [{"causal": "groups"}, {"latent_positions": "learned", "groups": 12}, {"stem": "conv"}]
)
def test_equal_for_every_kind_of_encoder(changes: dict[str, object]) -> None:
    model, (grid, patches) = encoder("(1)1(1)1", **changes), inputs((48, 36))
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part], 5)
    assert (streamed.latents - model(patches, groups).latents).abs().max() < 1e-9


@torch.inference_mode()
def test_equal_in_float32() -> None:
    model, (grid, patches) = encoder("(1)1(1)1").float(), inputs((50, 41))
    groups = groups_of(grid)
    streamed = stream_latents(model, groups, lambda part: patches[part].float(), 3)
    assert (streamed.latents - model(patches.float(), groups).latents).abs().max() < 1e-5


@torch.inference_mode()
def test_reads_are_shares_of_the_patches_that_hold_pixels() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((50, 41))
    groups = groups_of(grid)
    reads = stream_latents(model, groups, lambda part: patches[part], 3, keep_reads=True).reads
    assert reads is not None
    assert reads.shape == (grid.count, 2, 9)
    torch.testing.assert_close(reads.sum(-1), torch.ones(grid.count, 2))
    assert groups.mask is not None
    assert reads.masked_select(~groups.mask[:, None, :].expand_as(reads)).abs().max() == 0


@torch.inference_mode()
def test_every_group_is_read_once_and_progress_counts_segments() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((48, 36))
    asked: list[slice] = []
    finished: list[int] = []

    def read(part: slice) -> Tensor:
        asked.append(part)
        return patches[part]

    stream_latents(model, groups_of(grid), read, 5, advance=finished.append)
    assert [number for part in asked for number in range(part.start, part.stop)] == list(range(grid.count))
    assert sum(finished) == 2 * grid.count


@torch.inference_mode()
def test_an_error_while_reading_ends_the_pass() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((48, 36))

    def read(part: slice) -> Tensor:
        if part.start >= 6:
            raise OSError("the scanner is gone")
        return patches[part]

    with pytest.raises(OSError, match="the scanner is gone"):
        stream_latents(model, groups_of(grid), read, 2)


def test_a_plan_whose_latents_miss_the_last_layers_is_refused() -> None:
    model, (grid, patches) = encoder("(1)1(1)"), inputs((48, 36))
    with pytest.raises(ValueError, match="ends with local layers"):
        stream_latents(model, groups_of(grid), lambda part: patches[part], 2)


def test_prefetching_keeps_the_order_and_runs_no_further_than_asked() -> None:
    begun: list[int] = []

    def work(part: slice) -> int:
        begun.append(part.start)
        return part.start

    results = prefetch(work, [slice(i, i + 1) for i in range(10)], ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert max(begun) <= 4
    assert list(results) == list(range(3, 10))
