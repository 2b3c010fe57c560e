"""Targets of every kind in one run: the step in all executions, and the whole way from a CSV file to scores."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.answer_tables import ANSWERS, TARGETS
from support.command_line import Fit
from support.float64_runs import assert_close_runs, train_here
from support.pictures import save
from support.processes import run_ranks
from support.ranks import run_on_all
from support.runs import assert_same_run
from support.small_runs import at, interrupt, quietly, run_of
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.distributed.process_group import processes
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.runs.targets import Target
from fitcli.tasks.classify.objective import ClassificationObjective
from fitcli.tasks.classify.options import ClassifyOptions
from fitcli.tasks.classify.targets.joint_loss import loss_of_targets
from fitcli.tasks.classify.targets.rows import AnswerRows, answer_rows
from fitcli.tasks.load import load_config
from fitcli.training.loop import train

OUTPUTS = tuple(target.outputs for target in TARGETS)
CONFIG = replace(CONFIGS["classifier"], classes=sum(OUTPUTS), targets=OUTPUTS)
MEAN, STD = torch.full((3,), 120.0), torch.full((3,), 60.0)


def compute(step: Step, rows: Tensor, plan: ExecutionPlan) -> tuple[float, dict[str, Tensor | None]]:
    """Return loss and gradients of the objective of training."""
    settings = SimpleNamespace(options=ClassifyOptions(), seed=0)
    run: Any = SimpleNamespace(settings=settings, config=SimpleNamespace(targets=TARGETS))
    objective = ClassificationObjective(mean=MEAN, std=STD, weights=None, run=run)
    count = len(step.groups.number)
    one, zero = torch.ones(count, 1, 1), torch.zeros(count, 1, 1)
    outcome = run_job(objective.job(step.model, Batch(step.pixels, step.groups, AnswerRows(rows), one, zero)), plan)
    return float(outcome.loss), step.gradients()


def test_the_step_is_the_same_in_every_execution_and_on_ranks_that_share_images() -> None:
    step = Step(CONFIG, "ragged", torch.float32)
    rows = answer_rows(TARGETS, ANSWERS[: step.groups.images])
    logits = step.model((step.pixels - MEAN.repeat(4)) / STD.repeat(4), step.groups).logits
    loss = loss_of_targets(logits, rows, TARGETS)
    loss.backward()
    expected = step.gradients()
    for plan in (ExecutionPlan(), *PLANS.values()):
        found, gradients = compute(step, rows, plan)
        assert found == pytest.approx(float(loss.detach()), rel=1e-5)
        assert_same_gradients(gradients, expected, 1e-4)
    for name in ("all replayed", "streamed, reruns"):
        plan = PLANS[name]
        shares, _ = run_on_all(2, lambda rank, gather, plan=plan: compute(step.share(rank, 2, gather), rows, plan))
        assert sum(part for part, _ in shares) == pytest.approx(float(loss.detach()), rel=1e-5)
        summed: dict[str, Tensor | None] = {}
        for key in expected:
            parts = [part for _, gradients in shares if (part := gradients[key]) is not None]
            summed[key] = torch.stack(parts).sum(dim=0) if parts else None
        assert_same_gradients(summed, expected, 1e-4)


HEADINGS = ("path", "split", "label:ground", "labels:corner", "value:share", "order:grade=low|mid|high", "time:life",
            "event:life")  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of a bright part of any size. Of some images, share, grade or life are not known."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADINGS)
        for number in range(24):
            rows = number % 12 * 2 + 4
            pixels = rng.integers(0, 30, (32, 32, 1), np.uint8)
            pixels[:rows] += np.uint8(100)
            save(folder / f"{number}.png", pixels)
            grade = ("low", "mid", "high")[min(2, rows // 10)]
            life = ("", "") if number == 5 else (repr(40.5 - rows), number % 2)
            cells = ["light" if rows > 15 else "dark", "top|bottom" if rows > 25 else "top",
                     "" if number in (2, 21) else rows / 32, "" if number == 7 else grade, *life]  # fmt: skip
            writer.writerow([f"{number}.png", "val" if number > 17 else "train", *cells])
    return folder / "data.csv"


HOW: dict[str, Any] = {"preset": "nano", "patch": 4, "augment": False, "batch_size": 4, "epochs": 2}
TRAIN = ("--preset", "nano", "--patch", "4", "--no-augment", "--batch-size", "4", "--epochs", "2")


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(run_of(pictures, folder, **HOW), quietly)
    return folder


@pytest.mark.more
def test_the_config_keeps_scale_and_bins(trained: Path) -> None:
    share, grade, life = load_config(trained).targets[2:]
    known = [(number % 12 * 2 + 4) / 32 for number in range(18) if number != 2]
    assert share == Target("share", "value", (), 1, (pytest.approx(np.mean(known)), pytest.approx(np.std(known))))
    assert grade == Target("grade", "order", ("low", "mid", "high"), 2)
    assert (life.outputs, life.scale[-1]) == (len(life.scale), 36.5)
    document = json.loads((trained / "config.json").read_text())
    assert (document["model"]["tasks"], document["model"]["classes"]) == ([2, 2, 1, 2, life.outputs], 7 + life.outputs)
    assert document["tasks"][0] == {"name": "ground", "kind": "single-label", "classes": ["dark", "light"]}
    assert set(document["tasks"][2]) == {"name", "kind", "classes", "outputs", "scale"}


def test_what_is_known_of_the_data_is_said_first(pictures: Path, tmp_path: Path) -> None:
    understood = "\n".join(run_of(pictures, tmp_path / "run", **HOW).introduction())
    for line in ("2 + 2 + 3 classes", "value:share (training + validation): 0.125 to 0.8125", "not known for 1 + 1",
                 "order:grade, from lowest to highest", "survival:life (training + validation): 8 + 3 events (event 1)",
                 "9 + 3 censored (event 0)"):  # fmt: skip
        assert line in understood


def test_validation_and_evaluation_score_each_target_alike(
    fit: Fit, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(lines) if line["kind"] == "validation")
    result = fit("evaluate", pictures, "--checkpoint", trained, "--json", "--csv", tmp_path / "lines.csv")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    best = next(line for line in reversed(lines) if line.get("best"))
    for target, names in (("ground", ["accuracy"]), ("corner", ["accuracy"]), ("share", ["r2", "mae", "spearman"]),
                          ("grade", ["kappa", "mae", "exact"]), ("life", ["c_index"])):  # fmt: skip
        for name in names:
            assert f"{name}_{target}" in last or found["tasks"][target][name] is None
            if f"{name}_{target}" in best:
                assert found["tasks"][target][name] == pytest.approx(best[f"{name}_{target}"], abs=1e-6)
    assert found["accuracy"] == pytest.approx(best["accuracy"])
    assert found["tasks"]["share"]["not_known"] == 1
    assert "classes" not in found["tasks"]["share"]
    with (tmp_path / "lines.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    given = list(csv.DictReader(pictures.open(newline="")))[18:]
    assert [row["value:share"] for row in rows] == [row["value:share"] for row in given]
    assert [float(row["time:life"]) for row in rows] == [float(row["time:life"]) for row in given]
    known = [(float(row["value:share"]), float(row["predicted:share"])) for row in rows if row["value:share"]]
    assert found["tasks"]["share"]["mae"] == pytest.approx(np.mean([abs(a - b) for a, b in known]), abs=1e-5)
    shown = fit("evaluate", pictures, "--checkpoint", trained)
    assert all(name in shown.stdout for name in ("share: mae", "grade: mae", "life: loss"))


@pytest.mark.more
def test_answers_are_given_in_their_unit_and_each_has_a_heat_map(
    fit: Fit, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    image, table = pictures.parent / "3.png", tmp_path / "image.csv"
    asked = ("classify", image, "--checkpoint", trained)
    result = fit(*asked, "--json", "--csv", table)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)[0]
    answers = document["tasks"]
    config = load_config(trained)
    mean, deviation = config.targets[2].scale
    assert abs(answers["share"]["value"] - mean) < 5 * deviation
    assert [each["level"] for each in answers["grade"]["levels"]] == ["low", "mid", "high"]
    assert sum(each["probability"] for each in answers["grade"]["levels"]) == pytest.approx(1)
    curve = answers["life"]["survival"]
    assert [each["time"] for each in curve] == list(config.targets[4].scale)
    assert answers["life"]["risk"] == pytest.approx(1 - np.mean([each["probability"] for each in curve]))
    (row,) = csv.DictReader(table.open(newline=""))
    assert float(row["value:share"]) == pytest.approx(answers["share"]["value"], rel=1e-5)
    assert row["order:grade"] == answers["grade"]["level"]
    assert float(row["survival:life"]) == pytest.approx(answers["life"]["risk"], abs=1e-4)
    assert {f"life:{each['time']:.6g}" for each in curve} < set(row)
    assert not any(name.startswith("share:") for name in row), "a value has no probability"
    shown = fit(*asked)
    assert all(text in shown.stdout for text in ("share", "grade", "life", row["value:share"]))
    drawn = set()
    for target in config.targets:
        heat = tmp_path / f"{target.name}.png"
        assert fit(*asked, "--heatmap", heat, "--heatmap-target", target.name).exit_code == 0
        drawn.add(heat.read_bytes())
    assert len(drawn) == len(config.targets)


def test_the_prediction_does_not_depend_on_the_pass(pictures: Path, trained: Path) -> None:
    """A pass that reads one group at a time gives what the whole model gives at once."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.images.open import open_image
    from fitcli.patches.cutting import groups_of, normalize, read_patches, statistics
    from fitcli.patches.grid import PatchGrid
    from fitcli.tasks.classify.classify_image import classify_image
    from fitcli.tasks.classify.targets.kinds import kind_of
    from fitcli.tasks.classify.task import TASK
    from fitcli.tasks.load import load_run

    runtime = choose_runtime("cpu", "fp32")
    checkpoint = load_run(trained, runtime, TASK)
    model, pixels = checkpoint.model, checkpoint.config.preprocessing
    with open_image(pictures.parent / "9.png") as image:
        result = classify_image(checkpoint, image, runtime)
        grid = PatchGrid(image.info.size, model.config.patch, model.config.group)
        positions = [(row, column) for row in range(grid.rows) for column in range(grid.columns)]
        patches = read_patches(image, grid, positions, lambda p: pixels.convert(p, image.info))
    logits = (
        model(normalize(patches, *statistics(pixels, torch.device("cpu"))), groups_of(grid)).logits[0].detach().double()
    )
    from fitcli.runs.targets import slices

    for target, part, own in zip(
        checkpoint.config.targets, slices(checkpoint.config.targets), result.target_probabilities, strict=True
    ):
        assert own == pytest.approx(kind_of(target).predict(target, logits[part]), abs=1e-5)


def test_a_run_that_is_resumed_is_the_same_run(pictures: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(run_of(pictures, tmp_path / "parts", **HOW), at(3, interrupt))
    train(run_of(pictures, tmp_path / "parts", resume=True), quietly, resume=True)
    assert_same_run(tmp_path / "parts", trained)


def train_on_both(data: Path, folder: Path, settings: dict[str, Any]) -> None:
    with processes("cpu") as world:
        train_here(data, folder, world=world, **settings)


@pytest.mark.slow
def test_two_processes_are_one(pictures: Path, tmp_path: Path) -> None:
    settings = {"steps": 2, "accumulate": 1, "balance": True}
    run_ranks(2, train_on_both, pictures, tmp_path / "two", settings)
    train_here(pictures, tmp_path / "one", **settings)
    assert_close_runs(tmp_path / "two", tmp_path / "one")


def changed(pictures: Path, name: str) -> Path:
    """Return the same data set with other values, times and grades of some images."""
    rows = list(csv.DictReader(pictures.open(newline="")))
    with (pictures.parent / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADINGS)
        writer.writeheader()
        for row in rows:
            value, time = row["value:share"], row["time:life"]
            other = {"value:share": value and float(value) * 3, "time:life": time and float(time) + 7}
            writer.writerow(row | other)
    return pictures.parent / name


def test_other_values_do_not_change_the_scale_of_a_run(pictures: Path, trained: Path, tmp_path: Path) -> None:
    other = changed(pictures, "other.csv")
    before = load_config(trained).targets
    fresh = run_of(other, tmp_path / "fresh", **HOW).config.targets
    same = [target.scale == own.scale for target, own in zip(before, fresh, strict=True)]
    assert same == [True, True, False, True, False]
    again = {**HOW, "steps": 1, "learning_rate": 1e-12, "start_from": str(trained)}
    train(run_of(other, tmp_path / "next", **again), quietly)
    assert load_config(tmp_path / "next").targets == before
    old, new = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path / "next"))
    assert all(torch.allclose(old[name], new[name], atol=1e-9) for name in old), "the head goes on, too"
    resumed = run_of(pictures, tmp_path / "next", resume=True, accept=True)
    assert (resumed.config.targets, bool(resumed.changed)) == (before, True)


def test_other_levels_are_another_question(pictures: Path, trained: Path, tmp_path: Path) -> None:
    text = pictures.read_text().replace("grade=low|mid|high", "grade=high|mid|low")
    (pictures.parent / "down.csv").write_text(text)
    wrong = r"order:grade: low, mid, high; survival:life; .* has .*order:grade: high, mid, low"
    with pytest.raises(FitError, match=wrong):
        run_of(pictures.parent / "down.csv", trained, resume=True)
    run = run_of(pictures.parent / "down.csv", tmp_path / "run", start_from=str(trained), **HOW)
    assert run.config.targets[3].classes == ("high", "mid", "low")


def column_of(pictures: Path, name: str, *headings: str) -> Path:
    rows = list(csv.DictReader(pictures.open(newline="")))
    with (pictures.parent / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "split", *headings), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row for row in rows if any(row[heading] for heading in headings))
    return pictures.parent / name


def test_a_value_alone_is_trained_and_classified(fit: Fit, pictures: Path, tmp_path: Path) -> None:
    table, run = column_of(pictures, "value.csv", "value:share"), tmp_path / "run"
    result = fit("train", table, "--out", run, *TRAIN)
    assert result.exit_code == 0, result.stderr
    assert json.loads((run / "config.json").read_text())["classes"] == []
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validations = [line for line in lines if line["kind"] == "validation"]
    assert all("accuracy" not in line and "mae_share" in line for line in validations)
    # The loss decides which weights are kept.
    assert [line["best"] for line in validations] == [True, validations[1]["loss"] < validations[0]["loss"]]
    document = json.loads(fit("classify", pictures.parent / "3.png", "--checkpoint", run, "--json").stdout)[0]
    assert document["predictions"] == []
    assert set(document["tasks"]) == {"share"}
    assert fit("evaluate", table, "--checkpoint", run).exit_code == 0
    assert fit("info", run).exit_code == 0


@pytest.mark.parametrize("option", [("--balance",), ("--label-smoothing", "0.1")])
def test_options_for_classes_are_refused_without_classes(
    fit: Fit, pictures: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    table = column_of(pictures, "two.csv", "value:share", "order:grade=low|mid|high")
    result = fit("train", table, "--out", tmp_path / "run", *TRAIN, *option)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert (
        f"{option[0]}: is for targets of classes, and the data set has value:share, order:grade; leave it"
        in result.stderr
    )


def test_a_wrong_cell_is_one_line(fit: Fit, pictures: Path, tmp_path: Path) -> None:
    (pictures.parent / "wrong.csv").write_text(pictures.read_text().replace(",0.125,", ',"0,125",', 1))
    result = fit("train", pictures.parent / "wrong.csv", "--out", tmp_path / "run", *TRAIN)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "wrong.csv, line 2: value:share '0,125' is no number; write 0.125, with a point" in result.stderr


@pytest.mark.more
def test_the_example_of_the_documentation_is_a_data_set(fit: Fit, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/training.md").read_text(encoding="utf-8")
    example = re.search(r"^    (path,split,value:age.*?)\n\n", page, flags=re.S | re.M)
    assert example is not None
    (tmp_path / "data.csv").write_text("\n".join(line.strip() for line in example[1].splitlines()) + "\n")
    for number, name in enumerate("abcd"):
        save(tmp_path / f"{name}.tif", np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8))
    result = fit("train", tmp_path / "data.csv", "--out", tmp_path / "run", *TRAIN)
    assert result.exit_code == 0, result.stderr
    asked = ("classify", tmp_path / "d.tif", "--checkpoint", tmp_path / "run", "--json", "--csv", tmp_path / "new.csv")
    answers = json.loads(fit(*asked, "--heatmap", tmp_path / "new.png", "--heatmap-target", "age").stdout)[0]["tasks"]
    assert {name: list(answer) for name, answer in answers.items()} == {
        "age": ["value"], "grade": ["level", "levels"], "death": ["risk", "survival"]
    }  # fmt: skip
    with (tmp_path / "new.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [
            "path", "value:age", "order:grade", "survival:death", "grade:low", "grade:mid", "grade:high", "death:60"
        ]  # fmt: skip
    assert fit("evaluate", tmp_path / "data.csv", "--checkpoint", tmp_path / "run").exit_code == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_share_of_dark_spots_is_learned(fit: Fit, tmp_path: Path) -> None:
    """A value, its order in four levels, and the time until an event that its rate decides."""
    rng = np.random.default_rng(0)
    with (tmp_path / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "split", "value:share", "order:level", "time:life", "event:life"])
        for number in range(300):
            share = rng.uniform(0, 0.5)
            pixels = rng.integers(170, 230, (32, 32, 1), np.uint8)
            pixels[np.kron(rng.random((16, 16)) < share, np.ones((2, 2))) > 0] //= 3
            dark = float((pixels < 120).mean())
            save(tmp_path / f"{number}.png", pixels)
            time, end = rng.exponential(12 * np.exp(-8 * dark)), rng.uniform(1, 12)
            split = "val" if number >= 240 else "train"
            writer.writerow([f"{number}.png", split, dark, min(3, int(dark * 8)), min(time, end), int(time <= end)])
    run = tmp_path / "run"
    how = ("--preset", "nano", "--patch", "4", "--batch-size", "16", "--epochs", "40", "--learning-rate", "0.002")
    result = fit("train", tmp_path / "data.csv", "--out", run, *how)
    assert result.exit_code == 0, result.stderr
    scores = json.loads(fit("evaluate", tmp_path / "data.csv", "--checkpoint", run, "--json").stdout)["tasks"]
    assert scores["share"]["r2"] > 0.9
    assert scores["level"]["kappa"] > 0.85
    assert scores["life"]["c_index"] > 0.7
