"""Decoding token by token with caches gives the logits of the whole model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import inputs_for
from support.decoders import decoder
from support.golden_case import Case, fold, groups_of, unfold
from support.golden_models import build_decoder
from torch import Tensor

from fitcli.tasks.autoregressive.decoding.kv_cache import CachedDecoder
from fitcli.tasks.autoregressive.sequences import sequence_groups
from models.decoder import FITDecoder
from models.groups import Groups

COMMITTED = Path(__file__).parents[3] / "data" / "golden"

GOLDEN = sorted(Path(os.environ.get("FIT_GOLDEN", COMMITTED)).glob("fit_ar_*.npz"))

TOKENS = 4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("given", [0, 1, 2])
def test_each_step_gives_the_logits_of_the_reference_models(path: Path, given: int) -> None:
    case = Case(path)
    ids = case.inputs["tokens"].long()
    model = build_decoder(case.config, case.weights).double().eval()
    expected = unfold(model(fold(ids), groups_of(ids)), len(ids))
    assert_steps_equal(model, groups_of(ids[:1]), ids, None, expected, given)


@given(
    plan=st.sampled_from(["(1)1", "(2)", "(0)1(1)", "(1)1(1)1(1)", "(1)2(0)1(2)", "(2)1(1)2"]),
    classes=st.sampled_from([0, 3]),
    separate=st.booleans(),
    changes=st.sampled_from([{}, {"cross_mlp": True}, {"cross_norm": False}, {"local_attention": False}]),
    order=st.sampled_from(["raster", "snake"]),
)
@settings(max_examples=25)
def test_each_step_gives_the_logits_of_the_whole_model(
    plan: str, classes: int, separate: bool, changes: dict[str, Any], order: Any
) -> None:
    model = decoder(plan=plan, classes=classes, shared_embedding=not separate, **changes)
    groups = sequence_groups(2, 3, order)
    ids, labels, expected = teacher_forced(model, groups, images=2)
    for taken in (0, 3):
        assert_steps_equal(model, groups, ids, labels, expected, taken)


def teacher_forced(model: FITDecoder, groups: Groups, images: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Ids of some images [b g n], their labels, and the logits [b g n v] of the model for all of them at once."""
    batch = Groups.join([groups] * images)
    ids, *rest = inputs_for(model.config, batch)
    labels = rest[0] if rest else None
    return unfold(ids, images), labels, unfold(model(ids, batch, labels), images)


def assert_steps_equal(
    model: FITDecoder, groups: Groups, ids: Tensor, labels: Tensor | None, expected: Tensor, taken: int
) -> None:
    """Where the first groups are taken whole, and the others token by token."""
    with torch.inference_mode():
        cached = CachedDecoder(model, groups, len(ids), labels)
        for group in range(ids.shape[1]):
            if group < taken:
                cached.take(ids[:, group])
                continue
            for place in range(ids.shape[2]):
                assert cached.position == (group, place)
                error = (cached.step(ids[:, group, place]) - expected[:, group, place]).abs().max()
                assert error < 1e-9, (group, place)
        with pytest.raises(ValueError, match=f"all {ids.shape[1]} groups are complete"):
            cached.step(ids[:, 0, 0])


def test_a_group_that_was_begun_cannot_be_taken_whole() -> None:
    model = decoder()
    cached = CachedDecoder(model, sequence_groups(1, 2), 1)
    cached.step(torch.tensor([0]))
    with pytest.raises(ValueError, match="1 tokens of the group"):
        cached.take(torch.zeros(1, TOKENS, dtype=torch.int64))
