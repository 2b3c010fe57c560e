"""`fit profile-memory`: the table, JSON, the picture, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import Fit

from fitcli.memory.plan import COMPARED
from fitcli.tasks.registry import TASKS, find_task

GIB = 2**30


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


def test_without_arguments_it_answers_the_claim_of_the_paper(fit: Fit) -> None:
    result = fit("profile-memory", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["limit"]["budget_bytes"] == 16 * GIB
    rows = {(row["mode"], row["execution"]): row for row in document["rows"]}
    assert {row["tokens"] for row in document["rows"]} == {160_000}
    assert {row["method"] for row in document["rows"]} == {"estimate"}
    assert not rows["train", "plain"]["fits"]
    assert rows["train", "recompute all"]["fits"]
    smallest = rows["train", "recompute all"]
    assert smallest["peak_bytes"] - smallest["components"]["ema"] <= 3 * GIB, "the paper keeps no average"
    assert rows["infer", "whole"]["fits"]
    for row in document["rows"]:
        parts = ("parameters", "gradients", "optimizer", "activations")
        assert sum(row[f"{part}_bytes"] for part in parts) == row["peak_bytes"]
        assert sum(row["components"].values()) == row["peak_bytes"]
        assert sum(row["flops_by_part"].values()) == row["flops"]
    largest = {
        (entry["mode"], entry["execution"]): entry["res"] for entry in document["limit"]["largest_res_by_execution"]
    }
    assert largest["train", "plain"] < 6400 < largest["train", "recompute"]
    assert document["limit"]["largest_res"] == max(largest.values())


def test_the_table(fit: Fit) -> None:
    result = fit("profile-memory", "--preset", "tiny", "--res", 1000, "--res", 2048, "--mode", "train")
    assert result.exit_code == 0, result.stderr
    assert fit("profile-memory", "--preset", "tiny", "--res", "1000,2048", "--mode", "train").stdout == result.stdout
    wrong = fit("profile-memory", "--preset", "tiny", "--res", "1000,x")
    assert wrong.exit_code == 2
    assert "commas" in wrong.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("tiny (classify): 6.2 M parameters, bf16, a GPU with 16.00 GiB")
    assert sum("1000 x 1000" in line for line in lines) == sum("2048 x 2048" in line for line in lines) == 8
    assert not any("infer" in line for line in lines)
    assert "1000 pixels are padded to 1024: groups are 256 pixels wide" in result.stderr
    assert "2048 pixels are padded" not in result.stderr


def test_the_page_shows_what_the_default_call_prints(fit: Fit) -> None:
    page = (Path(__file__).parents[2] / "docs" / "memory.md").read_text()
    shown = page.split("<!-- profile -->\n```\n")[1].split("```")[0]
    printed = fit("profile-memory").stdout
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()


@pytest.mark.parametrize("task", TASKS)
def test_help_says_the_preset_of_each_task(fit: Fit, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (line,) = (line for line in fit("profile-memory", "--help").stdout.splitlines() if "--preset" in line)
    defaults = line.partition("default: ")[2].partition("]")[0]
    special = dict(part.removeprefix("for ").split(": ") for part in defaults.split("; ")[1:])
    assert find_task(task).profiled_preset == special.get(task, defaults.split(";")[0])


def test_the_row_for_comparison_is_said(fit: Fit) -> None:
    for mode, said in (("train", True), ("infer", False)):
        result = fit("profile-memory", "--preset", "debug", "--res", 512, "--mode", mode)
        assert (f"the row {COMPARED} is for comparison" in result.stderr) == said
        assert (f" {COMPARED} " in result.stdout) == said


def test_a_run_folder(fit: Fit, trained: Path) -> None:
    result = fit("profile-memory", "--checkpoint", trained, "--res", 256, "--json")
    document = json.loads(result.stdout)
    assert document["model"]["name"] == str(trained)
    config = json.loads((trained / "config.json").read_text())["model"]
    assert document["model"]["plan"] == config["plan"]
    assert document["rows"][0]["tokens"] == 256


@pytest.mark.parametrize("task", ["diffusion", "autoregressive"])
def test_models_that_generate(task: str, fit: Fit) -> None:
    result = fit("profile-memory", "--task", task, "--preset", "tiny", "--res", 64, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert all(row["fits"] for row in rows)
    # A moving average of the weights is kept.
    trained = [row for row in rows if row["mode"] == "train"]
    assert all(row["components"]["ema"] == row["parameters_bytes"] for row in trained)


@pytest.mark.parametrize(
    ("task", "mode", "words", "tokens"),
    [
        ("classify", "train", "300 pixels are padded to 512: groups are 256 pixels wide", None),
        ("autoregressive", "train", "17 pixels are cropped to 16 for training: groups are 8 pixels wide", 4 * 192),
        ("autoregressive", "infer", "17 pixels are padded to 24: groups are 8 pixels wide", 9 * 192),
        (
            "autoregressive",
            "both",
            "17 pixels are cropped to 16 for training and are padded to 24 for inference: ",
            None,
        ),
    ],
)
def test_what_happens_to_pixels_that_fill_no_group(
    fit: Fit, task: str, mode: str, words: str, tokens: int | None
) -> None:
    res = words.split()[0]
    command = ["profile-memory", "--task", task, "--preset", "tiny", "--res", res]
    command += [] if mode == "both" else ["--mode", mode]
    result = fit(*command)
    assert result.exit_code == 0, result.stderr
    assert words in result.stderr
    if tokens is not None:
        assert json.loads(fit(*command, "--json").stdout)["rows"][0]["tokens"] == tokens


def test_an_image_without_a_whole_group_cannot_train(fit: Fit) -> None:
    result = fit("profile-memory", "--task", "autoregressive", "--preset", "tiny", "--res", 5)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "--res 5: training needs whole groups" in result.stderr


def test_a_larger_batch_takes_more(fit: Fit) -> None:
    asked = ("profile-memory", "--preset", "tiny", "--res", 1024, "--mode", "train", "--json")
    one, four = (json.loads(fit(*asked, "--batch-size", size).stdout)["rows"][0] for size in (1, 4))
    assert four["tokens"] == 4 * one["tokens"]
    assert four["flops"] == 4 * one["flops"]
    assert 3 < four["activations_bytes"] / one["activations_bytes"] < 4.1


def test_peers(fit: Fit) -> None:
    """A ViT without checkpoints takes more memory and far more computing, Swin fewer operations than either."""
    result = fit("profile-memory", "--compare", "vit,swin", "--mode", "train", "--json")
    peers = {(peer["name"], peer["checkpointed"]): peer for peer in json.loads(result.stdout)["peers"]}
    assert peers["vit", False]["flops_over_plain"] > 50
    assert peers["vit", True]["peak_bytes"] < peers["vit", False]["peak_bytes"]
    assert peers["swin", False]["flops_over_plain"] < 1


def test_the_picture(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "memory.png"
    assert fit("profile-memory", "--preset", "tiny", "--compare", "vit", "--plot", path).exit_code == 0
    with Image.open(path) as picture:
        assert picture.size[0] > 1000
    svg = tmp_path / "memory.svg"
    assert fit("profile-memory", "--preset", "tiny", "--plot", svg).exit_code == 0
    assert "<svg" in svg.read_text()


@pytest.mark.more
def test_measured_on_the_cpu(fit: Fit) -> None:
    result = fit("profile-memory", "--preset", "debug", "--res", 128, "--mode", "infer", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["device"] == "cpu"
    for row in document["rows"]:
        assert row["method"] == "measure"
        assert row["patches_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
        assert 0 < row["peak_bytes"] < GIB


@pytest.mark.slow
def test_a_vit_is_measured_beside_it(fit: Fit) -> None:
    result = fit("profile-memory", "--preset", "debug", "--res", 128, "--mode", "train", "--device", "cpu", "--json",
                 "--method", "auto", "--budget", "300MiB", "--compare", "vit")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    for peer in json.loads(result.stdout)["peers"]:
        assert peer["method"] == "measure"
        assert 0.5 < peer["peak_bytes"] / (150 << 20) < 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "100MiB"), "too little for this model of 113 M parameters: the smallest image takes"),
        (
            ("--preset", "enormous"),
            "--preset enormous: no such preset; there are debug, nano, mini, tiny, small, base, large",
        ),
        (("--checkpoint", "nowhere"), "nowhere: no run folder"),
        (("--checkpoint", "nowhere", "--preset", "tiny"), "exclude each other"),
        (("--compare", "resnet"), "--compare takes vit and swin, not 'resnet'"),
        (("--compare", "vit", "--task", "diffusion"), "--compare is for encoders"),
        (("--method", "measure"), "no cuda device here to measure on"),
        (("--preset", "tiny", "--plot", "picture.txt"), "picture.txt"),
    ],
)
def test_refused(options: tuple[str, ...], words: str, fit: Fit) -> None:
    result = fit("profile-memory", *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr
