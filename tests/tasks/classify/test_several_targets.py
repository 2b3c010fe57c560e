"""Several targets: columns of a data set and the whole way from a CSV file to predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.command_line import Fit
from support.pictures import save
from support.runs import assert_same_run
from support.small_runs import at, interrupt, quietly, run_of

from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Sample, load_dataset
from fitcli.data.loader import Loader
from fitcli.data.place import Layout, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.errors import CheckpointError, DataError, FitError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.targets import Target, slices
from fitcli.tasks.classify.targets.rows import AnswerRows, target_reader
from fitcli.training.loop import train
from models.groups import Groups
from models.pooling import AttentionPool

TARGETS = (Target("kind", "single-label", ("cat", "dog", "owl")), Target("marks", "multi-label", ("a", "b")))


def table(folder: Path, *lines: str) -> Path:
    for name in "abcdef":
        (folder / name).write_bytes(b"not looked at")
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "data.csv"


def test_columns_become_targets(tmp_path: Path) -> None:
    data = load_dataset(
        table(tmp_path, "path,label:Kind,labels: marks,split", "a,cat,x|y,train", "b,dog,,train", "c,dog,y | z,train",
              "d,cat,z,val", "e,cow,w,test")
    )  # fmt: skip
    assert data.targets == (
        Target("Kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("x", "y", "z"))
    )  # fmt: skip
    assert data.classes == ("cat", "dog")
    assert [sample.target for sample in data.train] == [((0,), (0, 1)), ((1,), ()), ((1,), (1, 2))]
    strata = target_reader(data.targets)
    assert [strata.stratum(sample) for sample in data.train] == [0, 1, 1]
    assert [sample.target for sample in data.validation] == [((0,), (2,))]
    assert [sample.target for sample in data.test] == [((), ())], "classes that nobody learned"


def test_one_column_of_one_class_is_no_target_of_its_own(tmp_path: Path) -> None:
    lines = ["a,x|y", "b,z", "c,x|y", "d,z"]
    plain, named = (load_dataset(table(tmp_path, f"path,{heading}", *lines)) for heading in ("label", "label:grade"))
    assert plain == named
    assert (plain.targets, plain.classes) == ((), ("x|y", "z"))


def test_other_tasks_look_at_the_column_label_alone(tmp_path: Path) -> None:
    data = load_dataset(table(tmp_path, "path,label:x,labels", "a,1,2", "b,2,3", "c,1,"), "welcome")
    assert (data.classes, data.targets) == ((), ())


def test_the_split_spreads_the_first_column_of_one_class(tmp_path: Path) -> None:
    lines = [f"{name},{name}|{'f' if name < 'f' else 'e'},{'x' if name < 'd' else 'y'}" for name in "abcdef"]
    data = load_dataset(table(tmp_path, "path,labels:marks,label:kind", *lines), training=False)
    strata = target_reader(data.targets)
    assert sorted(strata.stratum(sample) for sample in data.validation) == [0, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label:x,label:y", "a,1,", "b,1,2"], r"line 2: label:y must not be empty"),
        (["path,label:x,labels:y", "a,1,p||q", "b,2,p"], r"line 2: labels:y 'p\|\|q' has an empty label"),
        (["path,label:x,label:x", "a,1,1"], "has the column 'label:x' twice"),
        (["path,label:,labels", "a,1,1"], "has the column 'label:' without a name"),
        (["path,label:x,label:y", "a,1,1", "a,1,2"], "a is listed as '1' and as '2'"),
        (["path,label:x,label:y,split", "a,1,1,train", "b,2,2,train", "c,1,3,val"],
         "column label:y: no training image of class '3'"),
        (["path,label:x,label:y,split", "a,1,1,train", "b,2,1,train"],
         "column label:y: a classifier needs two classes or more, found only '1'"),
        (["path,label:x,labels:y,split", "a,1,,train", "b,2,,train"], "the column labels:y is empty"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_says_where(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(table(tmp_path, *lines))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images, dark or light, with a bright corner at the top, at the bottom, both or none: two targets."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label:ground", "labels:corner", "split"])
        for number in range(20):
            ground, top, bottom = number % 2, number // 2 % 2, number // 4 % 2
            pixels = rng.integers(0, 30, (32, 32, 1), np.uint8) + np.uint8(100 * ground)
            pixels[:8, :8] += np.uint8(100 * top)
            pixels[24:, 24:] += np.uint8(100 * bottom)
            save(folder / f"{number}.png", pixels)
            corners = "|".join(name for name, there in (("top", top), ("bottom", bottom)) if there)
            split = "val" if number > 15 else "train"
            writer.writerow([f"{number}.png", "light" if ground else "dark", corners, split])
    return folder / "data.csv"


TRAIN = ("--preset", "nano", "--patch", "4", "--no-augment", "--batch-size", "4", "--drop-path", "0.2",
         "--token-dropout", "0.1", "--shift-canvas", "9")  # fmt: skip


def test_from_a_table_to_predictions(fit: Fit, pictures: Path, tmp_path: Path) -> None:
    run, heat = tmp_path / "run", tmp_path / "heat.png"
    result = fit("train", pictures, "--out", run, *TRAIN, "--epochs", "2")
    assert result.exit_code == 0, result.stderr
    config = json.loads((run / "config.json").read_text())
    assert [task["name"] for task in config["tasks"]] == ["ground", "corner"]
    assert config["classes"] == ["dark", "light"]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["accuracy"] == pytest.approx((last["accuracy_ground"] + last["accuracy_corner"]) / 2)

    image = pictures.parent / "0.png"
    asked = ("classify", image, "--checkpoint", run)
    document = json.loads(fit(*asked, "--json", "--csv", tmp_path / "image.csv").stdout)[0]
    assert document["tasks"]["ground"]["predictions"] == document["predictions"]
    assert sum(p["probability"] for p in document["predictions"]) == pytest.approx(1)
    likely = {p["label"] for p in document["tasks"]["corner"]["predictions"] if p["probability"] > 0.5}
    assert set(document["tasks"]["corner"]["labels"]) == likely
    header, row = csv.reader((tmp_path / "image.csv").open())
    assert header[:3] == ["path", "label:ground", "labels:corner"]
    assert float(row[header.index("ground:dark")]) == pytest.approx(
        next(p["probability"] for p in document["predictions"] if p["label"] == "dark"), abs=1e-6
    )

    assert fit(*asked, "--heatmap", heat, "--heatmap-target", "corner").exit_code == 0
    drawn = heat.read_bytes()
    assert fit(*asked, "--heatmap", heat).exit_code == 0
    assert heat.read_bytes() != drawn
    wrong = fit(*asked, "--heatmap", heat, "--heatmap-target", "size")
    assert (wrong.exit_code, "--heatmap-target size: the run knows ground, corner" in wrong.stderr) == (1, True)


@pytest.mark.more
def test_a_run_of_several_targets_that_is_resumed_is_the_same_run(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "preset": "nano", "patch": 4, "augment": False, "batch_size": 4, "epochs": 2, "drop_path": 0.4,
        "token_dropout": 0.3, "shift_canvas": 9, "balance": True,
    }  # fmt: skip
    train(run_of(pictures, tmp_path / "whole", **how), quietly)
    with pytest.raises(KeyboardInterrupt):
        train(run_of(pictures, tmp_path / "parts", **how), at(3, interrupt))
    train(run_of(pictures, tmp_path / "parts", resume=True), quietly, resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_an_image_that_replaces_another_keeps_its_own_targets(tmp_path: Path) -> None:
    """Two images have the same first class, and one cannot be read: the other comes twice, with its own targets."""
    (tmp_path / "a.png").write_bytes(b"no picture")
    save(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8))
    samples = [Sample(tmp_path / "a.png", ((0,), (0,))), Sample(tmp_path / "b.png", ((0,), (1,)))]
    pixels = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    reading = Reading(
        layout=Layout(patch=4, group=2), rules=PlaceRules(), preprocessing=pixels, targets=target_reader(TARGETS)
    )
    (batch,) = Loader(samples, reading, batch_size=2, bad_images=BadImages(1)).batches(0, 1)
    assert isinstance(batch.target, AnswerRows)
    assert batch.target.rows.tolist() == [[0, 0, 1], [0, 0, 1]]


@pytest.mark.more
def test_a_run_can_begin_with_the_weights_of_another(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "preset": "nano",
        "patch": 4,
        "augment": False,
        "batch_size": 4,
        "steps": 1,
        "learning_rate": 1e-12,
    }
    train(run_of(pictures, tmp_path / "first", **how | {"learning_rate": 1e-2}), quietly)
    again: dict[str, Any] = {**how, "start_from": str(tmp_path / "first")}
    train(run_of(pictures, tmp_path / "second", **again), quietly)
    first, second = (load_file(tmp_path / run / "model.safetensors") for run in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], atol=1e-9) for name in first)

    other = pictures.parent / "ground.csv"
    rows = list(csv.DictReader(pictures.open()))
    other.write_text("\n".join(["path,label,split", *(f"{r['path']},{r['label:ground']},{r['split']}" for r in rows)]))
    train(run_of(other, tmp_path / "third", **again), quietly)
    third = load_file(tmp_path / "third" / "model.safetensors")
    assert torch.allclose(first["head.value.weight"], third["head.value.weight"], atol=1e-9)
    assert third["head.classify.weight"].shape[0] == 2

    with pytest.raises(CheckpointError, match="another architecture"):
        train(run_of(pictures, tmp_path / "fourth", **again | {"preset": "mini"}), quietly)
    with pytest.raises(CheckpointError, match="no run folder"):
        train(run_of(pictures, tmp_path / "fifth", **again | {"start_from": str(tmp_path)}), quietly)


@pytest.mark.more
def test_evaluation_of_several_targets(fit: Fit, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert fit("train", pictures, "--out", run, *TRAIN, "--steps", "4").exit_code == 0
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    result = fit("evaluate", pictures, "--checkpoint", run, "--json", "--csv", tmp_path / "lines.csv")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["accuracy"] == pytest.approx(last["accuracy"])
    assert found["tasks"]["ground"]["accuracy"] == pytest.approx(last["accuracy_ground"])
    assert found["tasks"]["corner"]["accuracy"] == pytest.approx(last["accuracy_corner"])
    with (tmp_path / "lines.csv").open() as file:
        rows = list(csv.DictReader(file))
    matches = [row["labels:corner"] == row["predicted:corner"] for row in rows]
    assert np.mean(matches) == pytest.approx(found["tasks"]["corner"]["accuracy"])
    for row in rows:
        assert row["predicted:ground"] == max(("dark", "light"), key=lambda name: float(row[f"ground:{name}"]))
    table = tmp_path / "image.csv"
    arguments = ("classify", rows[0]["path"], "--checkpoint", run, "--csv", table, "--precision", "fp32")
    assert fit(*arguments).exit_code == 0
    (classified,) = csv.DictReader(table.open())
    columns = [name for name in classified if name.startswith(("ground:", "corner:"))]
    own = [name for name in rows[0] if name.startswith(("ground:", "corner:"))]
    assert (len(columns), own) == (len(list(classified)) - 3, columns)
    assert {name: classified[name] for name in columns} == {name: rows[0][name] for name in columns}
    assert "corner: f1" in fit("evaluate", pictures, "--checkpoint", run).stdout

    rows = list(csv.DictReader(pictures.open()))
    for heading, message in (("label:other", "has no column label:ground"), ("label", "has no column label:ground")):
        other = pictures.parent / "other.csv"
        lines = [f"path,{heading},labels:corner,split"]
        lines += [f"{r['path']},{r['label:ground']},{r['labels:corner']},{r['split']}" for r in rows]
        other.write_text("\n".join(lines) + "\n")
        wrong = fit("evaluate", other, "--checkpoint", run)
        assert (wrong.exit_code, message in wrong.stderr) == (1, True)


def test_a_head_of_several_targets_is_one_head_for_each() -> None:
    """A head for each target, with its rows of the weights, gives the same."""
    latents, groups = torch.randn(6, 3, 8), Groups.of_grid(images=2, rows=1, columns=3)
    head = AttentionPool(width=8, heads=2, targets=(3, 2))
    pooled = head(latents, groups)
    for number, part in enumerate(slices(TARGETS)):
        alone = AttentionPool(width=8, heads=2, targets=(part.stop - part.start,))
        weights = head.state_dict()
        rows = slice(2 * number, 2 * number + 2)
        for name in ("score.weight", "score.bias"):
            weights[name] = weights[name][rows]
        for name in ("classify.weight", "classify.bias"):
            weights[name] = weights[name][part]
        alone.load_state_dict(weights)
        logits, evidence = alone(latents, groups)
        assert torch.allclose(pooled.logits[:, part], logits, atol=1e-6)
        assert torch.allclose(pooled.evidence[..., number], evidence[..., 0], atol=1e-6)


def rewritten(table: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Another table of the same images."""
    text = table.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (table.parent / name).write_text(text)
    return table.parent / name


def test_a_run_is_not_resumed_with_other_questions(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"preset": "nano", "patch": 4, "augment": False, "batch_size": 4, "steps": 1}
    train(run_of(pictures, tmp_path / "run", **how), quietly)
    other = rewritten(pictures, "kind.csv", ("label:ground", "labels:ground"))
    with pytest.raises(
        FitError, match=r"was trained on label:ground: dark, light; labels:corner: .* has labels:ground"
    ):
        run_of(other, tmp_path / "run", resume=True)


def test_answers_to_other_classes_begin_anew(pictures: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "preset": "nano",
        "patch": 4,
        "augment": False,
        "batch_size": 4,
        "steps": 1,
        "learning_rate": 1e-9,
    }
    train(run_of(pictures, tmp_path / "first", **how | {"learning_rate": 0.1}), quietly)
    other = rewritten(pictures, "classes.csv", (",dark,", ",night,"), (",light,", ",day,"))
    again = how | {"seed": 1, "start_from": str(tmp_path / "first")}
    train(run_of(other, tmp_path / "other", **again), quietly)
    train(run_of(other, tmp_path / "fresh", **how | {"seed": 1}), quietly)
    first, begun, fresh = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "other", "fresh"))
    for name in first:
        expected = fresh if name.startswith(("head.score.", "head.classify.")) else first
        torch.testing.assert_close(begun[name], expected[name], rtol=0, atol=1e-6)


def test_classes_that_only_the_test_images_have_are_no_other_data_set(pictures: Path) -> None:
    table = rewritten(pictures, "test.csv", ("0.png,dark,,train", "0.png,dusk,,test"))
    assert load_dataset(table).fingerprint == load_dataset(table, training=False).fingerprint
