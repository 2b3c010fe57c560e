"""The part of config.json of a model that names the class of every place: it comes back, and nonsense is one error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.dense_models import NAMES, PIXELS, VALUES, checkpoint

from fitcli.annotations.class_table import ClassTable
from fitcli.errors import CheckpointError
from fitcli.runs.config import RunConfig, identity, save_config
from fitcli.tasks.load import load_config
from fitcli.tasks.segment.config import LABELS, SegmentDetails
from models.config import DenseConfig

DETAILS = SegmentDetails(
    values=VALUES, colors=((0, 128, 255), None, (1, 2, 3)), elsewhere="iron", weights=(0.5, 1.0, 2.25)
)
CONFIG = replace(checkpoint().config, details=DETAILS)


def test_the_classes_are_those_of_label_images() -> None:
    assert DETAILS.table(NAMES) == ClassTable(NAMES, VALUES, DETAILS.colors)
    assert CONFIG.task == "segment"


@pytest.mark.parametrize("elsewhere", [None, "iron"])
def test_a_config_comes_back(tmp_path: Path, elsewhere: str | None) -> None:
    config = replace(CONFIG, details=replace(DETAILS, elsewhere=elsewhere))
    save_config(tmp_path, config)
    assert load_config(tmp_path) == config
    document = json.loads((tmp_path / "config.json").read_text())
    assert document[LABELS] == {
        "values": [0, 7, 200], "colors": [[0, 128, 255], None, [1, 2, 3]], "elsewhere": elsewhere,
        "weights": [0.5, 1.0, 2.25],
    }  # fmt: skip


def test_answers_depend_on_the_values_and_not_on_colours() -> None:
    """A finished result is taken again only for the same answers."""
    assert identity(CONFIG) == identity(replace(CONFIG, details=replace(DETAILS, colors=(None,) * 3)))
    assert identity(CONFIG) != identity(replace(CONFIG, details=replace(DETAILS, values=(0, 7, 201))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": (0, 1)}, "2 values of labels for a model of 3 classes"),
        ({"colors": (None,)}, "1 colours for a model of 3 classes"),
        ({"weights": (1.0,) * 4}, "4 class weights for a model of 3 classes"),
    ],
)
def test_classes_have_to_go_with_the_model(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        replace(CONFIG, details=replace(DETAILS, **changes))


@pytest.mark.parametrize(
    ("model", "message"),
    [({"outputs": 4}, "3 class names for a model of 4 outputs"), ({"channels": 1}, "3 channels of pixels for a model")],
)
def test_the_model_has_to_go_with_the_classes(model: dict[str, Any], message: str) -> None:
    changed = DenseConfig.from_dict(CONFIG.model.to_dict() | model)
    with pytest.raises(CheckpointError, match=message):
        RunConfig(model=changed, preprocessing=PIXELS, classes=NAMES, details=DETAILS)


HOSTILE: list[tuple[str, object]] = [
    *(("values", value) for value in (None, 5, "012", [0, 1], [0, 1, "x"], [0, 0, 1], [-1, 1, 2], [0, 1, 10**30])),
    *(("values", value) for value in ([0, 1, 1.5], [0, 1, float("nan")], [0, 1, [2]], {"0": 1}, [0, True, 2])),
    *(("colors", value) for value in (None, [None], [[1, 2, 3]] * 4, [[1, 2]] * 3, [[1, 2, 300]] * 3, ["red"] * 3)),
    *(("colors", value) for value in ([[1, 2, -1]] * 3, [[1, 2, 3, 4]] * 3, 7)),
    *(("elsewhere", value) for value in ("steel", "", 5, ["iron"])),
    *(("weights", value) for value in (None, [1.0], ["x"] * 3, [-1.0, 1, 1], [float("nan"), 1, 1], [1e400, 1, 1])),
    *(("weights", value) for value in ([0.0, 0.0, 0.0],)),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE, ids=lambda value: str(value)[:20])
def test_hostile_values_are_one_error(tmp_path: Path, name: str, value: object) -> None:
    refused(tmp_path, lambda document: document[LABELS].update({name: value}))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop(LABELS),
        lambda d: d.update({LABELS: []}),
        lambda d: d.update({LABELS: None}),
        lambda d: d[LABELS].pop("values"),
        lambda d: d[LABELS].pop("weights"),
        lambda d: d.update(classes=["a", "a", "b"]),
        lambda d: d.update(classes=["a", "", "b"]),
        lambda d: d.update(classes=[]),
        lambda d: d["model"].update(cells=3),
        lambda d: d["model"].update(cells=0),
        lambda d: d["model"].update(outputs=300),
        lambda d: d["model"].update(plan="(1)1(1)1"),
    ],
)
def test_parts_that_are_missing_or_wrong_are_one_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    refused(tmp_path, change)


def refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    save_config(folder, CONFIG)
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"config\.json: ") as caught:
        load_config(folder)
    assert "\n" not in str(caught.value)
