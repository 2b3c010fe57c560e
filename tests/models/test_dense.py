"""Models with an answer in every cell: against loops over cells and pixels."""

from __future__ import annotations

import pytest
import torch

from models.build import build
from models.checks import ConfigError
from models.config import DenseConfig
from models.dense import FITDense, by_cell, cell_map, class_counts
from models.groups import Groups
from models.presets import PRESETS, classifier_preset, dense_preset


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("cell", [1, 2, 16])
def test_a_preset_is_the_classifier_with_a_tail(preset: str, cell: int) -> None:
    dense, classifier = dense_preset(preset, 3, 5, cell), classifier_preset(preset, 3, 2)
    assert (dense.cells, dense.cell, dense.outputs) == (16 // cell, cell, 5)
    own = {name: tensor.shape for name, tensor in build(dense, "meta").state_dict().items()}
    shared = build(classifier, "meta").encoder.state_dict()
    assert all(own[f"encoder.{name}"] == tensor.shape for name, tensor in shared.items())
    assert own["head.weight"] == ((16 // cell) ** 2 * 5, dense.token_width)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": "(1)1(1)1"}, "must end with local layers"),
        ({"plan": "(1)"}, "must end with local layers"),
        ({"cells": 3}, "does not divide"),
        ({"cells": 0}, "cells must be"),
        ({"outputs": 0}, "outputs must be"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DenseConfig.from_dict(dense_preset("debug", 1, 2).to_dict() | changes)


@pytest.mark.parametrize(("patch", "cell"), [(16, 3), (18, 4), (8, 16)])
def test_cells_have_to_fill_a_patch(patch: int, cell: int) -> None:
    with pytest.raises(ConfigError, match="do not fill a patch"):
        dense_preset("base", 3, 2, cell, {"patch": patch})


def test_every_token_sees_the_whole_image() -> None:
    torch.manual_seed(0)
    config = dense_preset("debug", 1, 3)
    model: FITDense = build(config).double().eval()
    groups, patches = Groups.of_grid(1, 3, 2), torch.randn(6, config.tokens, config.values, dtype=torch.float64)
    before = model(patches, groups)
    patches[5, -1] += 1
    after = model(patches, groups)
    assert (before != after).any(dim=-1).all()


def test_a_map_has_each_cell_at_its_place() -> None:
    group, cells = 3, 2
    values = torch.arange(2 * group**2 * cells**2).reshape(2, group**2, cells**2)
    maps = cell_map(values, group, cells)
    for number in range(2):
        for row in range(group * cells):
            for column in range(group * cells):
                patch = row // cells * group + column // cells
                cell = row % cells * cells + column % cells
                assert maps[number, row, column] == values[number, patch, cell]


@pytest.mark.parametrize(("patch", "cells"), [(4, 1), (4, 2), (4, 4), (6, 3)])
def test_counts_are_those_of_a_loop(patch: int, cells: int) -> None:
    classes, side = 3, patch // cells
    labels = torch.randint(0, 5, (2, 4, patch**2), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    labels[0, 0, 0] = 255
    expected = torch.zeros(2, 4, cells**2, classes)
    for group in range(2):
        for token in range(4):
            for pixel, label in enumerate(labels[group, token].tolist()):
                y, x = divmod(pixel, patch)
                if label < classes:
                    expected[group, token, y // side * cells + x // side, label] += 1
    assert torch.equal(class_counts(labels, cells, patch, classes), expected)


def test_values_come_cell_by_cell() -> None:
    values = torch.arange(2 * 12).reshape(1, 2, 12)
    assert by_cell(values, 3)[0, 1, 2].tolist() == [18, 19, 20]
    assert by_cell(values[:0], 3).shape == (0, *by_cell(values, 3).shape[1:]), "a process may have no group"
