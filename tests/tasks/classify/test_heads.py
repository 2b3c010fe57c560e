"""Output heads of other packages, by the commands: trained, kept in config.json, asked for heat maps, started from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.command_line import Fit
from support.data_sets import table
from support.packages import restored
from support.small_runs import two_classes
from torch import Tensor, nn

from fitcli.tasks.classify.heads import OUTPUT_HEADS
from models.config import ClassifierConfig
from models.pooling import AttentionPool

SMALL = ["--preset", "debug", "--batch-size", "2", "--epochs", "1", "--device", "cpu"]

NAMED = "output head 'mean'"


class Mean(nn.Module):
    """A mean of the latents, without weights."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.classify = nn.Linear(config.latent_width, config.classes)
        self.targets = len(config.target_classes)

    def forward(self, latents: Tensor, present: Tensor) -> Tensor:
        answers: Tensor = self.classify(latents.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp(min=1))
        return answers


class Even(Mean):
    """The same with weights."""

    def forward(self, latents: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        shares = present / present.sum(dim=1, keepdim=True).clamp(min=1)
        return super().forward(latents, present), shares[..., None].expand(*shares.shape, self.targets)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with restored(OUTPUT_HEADS):
        yield


def refused(fit: Fit, *arguments: object) -> str:
    result = fit(*arguments)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()[-1:]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_a_run_keeps_the_name_of_its_head(fit: Fit, tmp_path: Path) -> None:
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    image, ask = data / "dark" / "0.png", ["--checkpoint", run, "--device", "cpu"]
    missing = "no output head 'mean'; there is attention; install the package that has it"
    named = refused(fit, "train", data, "--out", run, *SMALL, "--output-head", "mean")
    assert named == f"--output-head mean: no such output head; {missing.partition('; ')[2]}"
    OUTPUT_HEADS.register("mean", Mean)
    recipe = tmp_path / "mean.toml"
    recipe.write_text('[model]\noutput-head = "mean"\n')
    learned = fit("train", data, "--out", run, *SMALL, "--recipe", recipe)
    assert learned.exit_code == 0, learned.stderr
    assert json.loads((run / "config.json").read_text())["model"]["output_head"] == "mean"
    answer = json.loads(fit("classify", image, *ask, "--json").stdout)
    assert sum(each["probability"] for each in answer[0]["predictions"]) == pytest.approx(1, abs=1e-5)
    assert fit("evaluate", data, *ask, "--report", tmp_path / "r.html").exit_code == 0
    assert fit("embed", image, *ask, "--out", tmp_path / "f.zarr").exit_code == 0
    assert fit("train", data, "--out", run, "--resume", "--epochs", "2", "--device", "cpu").exit_code == 0
    # The passes alone: without tables that are kept, all executions of a step take as long as the rest of the tests.
    estimate = ("--method", "estimate", "--mode", "infer", "--res", "128", "--device", "cpu")
    estimated = fit("profile-memory", "--checkpoint", run, *estimate)
    assert estimated.exit_code == 0, estimated.output

    OUTPUT_HEADS._parts.pop("mean")
    assert refused(fit, "classify", image, *ask) == missing


@pytest.mark.more
def test_heat_maps_are_given_by_the_head_or_refused(fit: Fit, tmp_path: Path) -> None:
    data, heat = two_classes(tmp_path / "data", (200, 150)), tmp_path / "heat.png"
    image = data / "dark" / "0.png"
    OUTPUT_HEADS.register("mean", Mean)
    OUTPUT_HEADS.register("even", Even)
    OUTPUT_HEADS.register("pool", lambda config: AttentionPool(config.latent_width, 2, config.target_classes))
    answers = {}
    for name in ("mean", "even", "pool"):
        assert fit("train", data, "--out", tmp_path / name, *SMALL, "--output-head", name).exit_code == 0
        ask = ["classify", image, "--checkpoint", tmp_path / name, "--device", "cpu", "--heatmap", heat]
        answers[name] = [fit(*ask, *more) for more in ([], ["--heatmap-class", "dark"])]
    assert {name: [each.exit_code for each in both] for name, both in answers.items()} == {
        "mean": [1, 1], "even": [0, 1], "pool": [0, 0],
    }  # fmt: skip
    assert "output head 'mean' returns no weights of latents, so there is no heat map" in answers["mean"][0].stderr
    assert "output head 'even' gives no contributions to a class" in answers["even"][1].stderr


class Scaled(Even):
    """The same, with weights that are no shares."""

    factor = math.nan

    def forward(self, latents: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits, weights = super().forward(latents, present)
        last = torch.arange(weights.shape[1], device=weights.device)[:, None] == weights.shape[1] - 1
        return logits, torch.where(last, weights * self.factor, 0 * weights if self.factor == 0 else weights)


NO_SHARES = {
    math.nan: "that are NaN or infinite", math.inf: "that are NaN or infinite", -1.0: "below zero",
    0.0: "that are all zero",
}  # fmt: skip


def test_weights_that_are_no_shares_give_no_heat_map(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, heat = two_classes(tmp_path / "data", (200, 150)), tmp_path / "heat.png"
    OUTPUT_HEADS.register("scaled", Scaled)
    run = tmp_path / "run"
    assert fit("train", data, "--out", run, *SMALL, "--output-head", "scaled").exit_code == 0
    ask = ["classify", data / "dark" / "0.png", "--checkpoint", run, "--device", "cpu"]
    for factor, problem in NO_SHARES.items():
        monkeypatch.setattr(Scaled, "factor", factor)
        expected = f"output head 'scaled' returned weights of latents {problem}, so there is no heat map; "
        assert refused(fit, *ask, "--heatmap", heat).startswith(expected)
        assert not heat.exists()
        assert fit(*ask).exit_code == 0, "the answer does not need them"
    monkeypatch.setattr(Scaled, "factor", 3.0)
    assert fit(*ask, "--heatmap", heat).exit_code == 0, "shares are relative"


@pytest.mark.more
def test_several_targets(fit: Fit, tmp_path: Path) -> None:
    data = two_classes(tmp_path / "data")
    rows = [f"{path},{path.parent.name},{int(path.stem) % 3}" for path in sorted(data.rglob("*.png"))]
    listing = table(tmp_path, "path,label:colour,label:rest", *rows)
    OUTPUT_HEADS.register("even", Even)
    run = tmp_path / "run"
    learned = fit("train", listing, "--out", run, *SMALL, "--output-head", "even")
    assert learned.exit_code == 0, learned.stderr
    answer = json.loads(
        fit("classify", data / "dark" / "0.png", "--checkpoint", run, "--device", "cpu", "--json").stdout
    )
    assert [len(each["predictions"]) for each in answer[0]["tasks"].values()] == [2, 3]


def test_another_head_starts_from_the_rest(fit: Fit, tmp_path: Path) -> None:
    data, first, second = two_classes(tmp_path / "data"), tmp_path / "first", tmp_path / "second"
    OUTPUT_HEADS.register("mean", Mean)
    assert fit("train", data, "--out", first, *SMALL).exit_code == 0
    started = fit("train", data, "--out", second, *SMALL, "--output-head", "mean", "--start-from", first)
    assert started.exit_code == 0, started.stderr
    assert f"--start-from {first}: the output head begins anew, because it is another one" in started.stderr
    again = fit("train", data, "--out", tmp_path / "third", *SMALL, "--output-head", "mean", "--start-from", second)
    assert again.exit_code == 0, again.stderr
    assert "begins anew" not in again.stderr


class Failing(Mean):
    def forward(self, latents: Tensor, present: Tensor) -> Tensor:
        raise KeyError("gamma")


class Constant(Mean):
    def forward(self, latents: Tensor, present: Tensor) -> Tensor:
        return torch.zeros(len(latents), 3, device=latents.device)


WRONG = {
    "failing": (Failing, f"{NAMED} failed \\(KeyError: 'gamma'\\); correct it, or take another"),
    "shape": (Constant, rf"{NAMED} must return logits \[b k\] = \[\d+, \d+\], not \[\d+, 3\]"),
    "factory": (dict, "output head cannot be built \\(TypeError: "),
}


@pytest.mark.parametrize(("head", "message"), WRONG.values(), ids=WRONG)
def test_a_head_that_fails_is_one_line(fit: Fit, tmp_path: Path, head: type, message: str) -> None:
    OUTPUT_HEADS.register("mean", head)
    data = two_classes(tmp_path / "data", images=2)
    assert re.search(message, refused(fit, "train", data, "--out", tmp_path / "run", *SMALL, "--output-head", "mean"))


@pytest.mark.parametrize("task", ["segment", "autoregressive"])
def test_other_tasks_have_none(fit: Fit, tmp_path: Path, task: str) -> None:
    OUTPUT_HEADS.register("mean", Mean)
    ask = ["train", two_classes(tmp_path / "data", images=2), "--out", tmp_path / "run", "--task", task]
    assert "has no output head to choose" in refused(fit, *ask, "--preset", "debug", "--output-head", "mean")
