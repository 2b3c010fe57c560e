"""A training run: interrupted and resumed it is the same run, what goes wrong leaves what was good."""

from __future__ import annotations

import io
import json
import math
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.live import Live
from safetensors.torch import load_file
from support.pictures import colored, save
from support.small_runs import CPU, at, die, quietly, run_of, two_classes
from torch import nn

from fitcli.data.bad_images import TooManyBadImages
from fitcli.errors import DataError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.classify import objective
from fitcli.tasks.classify.objective import balanced_weights
from fitcli.tasks.classify.validation import Scores
from fitcli.tasks.registry import train_settings
from fitcli.training import loop, stop_requests
from fitcli.training.loop import train
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from fitcli.training.prepare import prepare
from fitcli.training.progress_view import ProgressView
from fitcli.training.reports import (
    BadImageReport,
    BeginReport,
    Report,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)
from fitcli.training.start_options import StartOptions
from fitcli.training.stop_requests import TimeLimitReached
from models.build import build
from models.presets import classifier_preset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def metrics(folder: Path) -> list[tuple[str, int, float, float]]:
    """What was logged, without what depends on the clock."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(e["kind"], e["step"], e["loss"], e["accuracy"]) for e in entries]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "last/model.safetensors"):
        mine, theirs = load_file(one / name), load_file(other / name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), name
    for name in ("config.json", "last/config.json", "training/settings.json"):
        assert (one / name).read_text() == (other / name).read_text()
    assert metrics(one) == metrics(other)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    progress = train(run_of(data, folder), quietly)
    assert progress.step == 8
    return folder


# Eight steps, four per epoch: in the middle, at the end of an epoch, at the very end, twice.
@pytest.mark.parametrize("stops", [[1], [4], [6], [8], [3, 7]], ids=str)
def test_interrupted_and_resumed_is_the_same_run(
    data: Path, uninterrupted: Path, tmp_path: Path, stops: list[int]
) -> None:
    folder = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    for number, step in enumerate(stops):
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            train(run_of(data, folder, resume=number > 0), at(step, interrupt), resume=number > 0)
        assert metrics(folder)[-1][:2] == ("train", step), "it stops at once"
        assert (folder / "model.safetensors").is_file(), "it can be used as it is"
    assert signal.getsignal(signal.SIGINT) is handler
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_out_of_time_and_resumed_is_the_same_run(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """Each process does one step, however late it is; the validation after the fourth waits for the next one."""
    folder = tmp_path / "run"
    for step in range(1, 6):
        run = replace(run_of(data, folder, resume=step > 1), deadline=0.0)
        with pytest.raises(TimeLimitReached, match=f"{step} of 8 steps at the time limit; continue with --resume"):
            train(run, quietly, resume=step > 1)
        assert [entry[:2] for entry in metrics(folder)][-1] == ("train", step)
        assert (folder / "last/model.safetensors").is_file()
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_time_that_runs_out_in_a_step(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(stop_requests, "time", SimpleNamespace(monotonic=lambda: now))

    def pass_time() -> None:
        nonlocal now
        now = 60.0

    with pytest.raises(TimeLimitReached, match="3 of 8 steps"):
        train(replace(run_of(data, tmp_path / "run"), deadline=60.0), at(3, pass_time))
    with pytest.raises(KeyboardInterrupt):  # Who asks is told so, though time is over as well.
        train(replace(run_of(data, tmp_path / "other"), deadline=60.0), at(1, interrupt))


def test_interrupted_before_it_goes_on(
    data: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of an epoch, where a validation waits: it goes on waiting, and no step is done without it."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, folder), at(4, interrupt))
    with monkeypatch.context() as patch:
        patch.setattr(stop_requests.StopRequests, "reason", lambda _: stop_requests.StopReason.REQUEST)
        with pytest.raises(KeyboardInterrupt):
            train(run_of(data, folder, resume=True), quietly, resume=True)
    assert [entry[:2] for entry in metrics(folder)][-1] == ("train", 4)
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


@pytest.mark.parametrize("step", [2, 6])
def test_a_run_that_died_goes_on_from_its_last_save(data: Path, uninterrupted: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    with pytest.raises(SystemError):
        train(run_of(data, folder), at(step, die))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_a_run_that_died_leaves_no_thread_behind(data: Path, tmp_path: Path) -> None:
    """Not even while its error is looked at, whose frames hold all that it had: threads that were ended by the garbage
    collector, which may run in the middle of starting another thread, once kept a process waiting forever."""
    with pytest.raises(SystemError) as caught:
        train(run_of(data, tmp_path / "run"), at(2, die))
    left = {thread.name for thread in threading.enumerate()}
    assert not [name for name in left if name.startswith(("loader", "joined"))]
    assert caught.tb is not None


def test_resuming_a_finished_run_changes_nothing(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(run_of(data, folder), quietly)
    seen: list[Report] = []
    progress = train(run_of(data, folder, resume=True), seen.append, resume=True)
    assert (progress.step, [type(report) for report in seen]) == (8, [BeginReport])
    assert_same_run(folder, uninterrupted)


def test_the_seed_decides(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "same"), quietly)
    assert_same_run(tmp_path / "same", uninterrupted)
    train(run_of(data, tmp_path / "other", seed=1), quietly)
    assert metrics(tmp_path / "other")[0][2] != metrics(uninterrupted)[0][2]


@pytest.mark.parametrize(("name", "value"), [("seed", 5), ("learning_rate", 1e-4), ("size", 16), ("augment", False)])
def test_resuming_with_other_settings_is_refused_by_name(
    data: Path, uninterrupted: Path, name: str, value: object
) -> None:
    with pytest.raises(FitError, match=rf"--{name.replace('_', '-')}: .*begun with {name} = .*, not {value}; "):
        run_of(data, uninterrupted, resume=True, **{name: value})


def test_a_resumed_run_keeps_its_settings_and_may_be_longer(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(run_of(data, folder, seed=3, steps=2), quietly)
    asked = train_settings(preset="large", steps=6)
    again = StartOptions(data=data, folder=folder, runtime=CPU, resume=True, given={"steps"})
    longer = prepare(asked, again)[0]
    assert (longer.settings.preset, longer.settings.seed, longer.total_steps) == ("debug", 3, 6)
    seen: list[Report] = []
    assert train(longer, seen.append, resume=True).step == 6
    rates = [report.learning_rate for report in seen if isinstance(report, StepReport)]
    assert rates == [learning_rate(step, 6, longer.settings) for step in range(2, 6)]
    assert run_of(data, folder, resume=True).total_steps == 6, "the new end is remembered"
    assert prepare(train_settings(epochs=5), replace(again, given={"epochs"}))[0].total_steps == 20


def test_another_data_set_is_refused_and_a_moved_one_is_not(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    run_of(moved, uninterrupted, resume=True)
    (moved / "dark/4.png").rename(moved / "dark/5.png")
    said = r"moved: is not what .*1 image added \(dark.5.png\), 1 image removed \(dark.4.png\)"
    with pytest.raises(FitError, match=said):
        run_of(moved, uninterrupted, resume=True)


def test_a_run_whose_memory_nobody_asked_about_says_nothing_of_it(data: Path, tmp_path: Path) -> None:
    run = replace(run_of(data, tmp_path / "run"), plan=ExecutionPlan(kind="recompute", handful=1), work=None)
    assert run.introduction() == (run.summary(),)


def test_asking_to_stop_is_reported(data: Path, tmp_path: Path) -> None:
    seen: list[Report] = []

    def observe(report: Report) -> None:
        seen.append(report)
        if isinstance(report, StepReport):
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, tmp_path / "run"), observe)
    assert [type(report) for report in seen] == [BeginReport, StepReport, StopReport]


STEP = StepReport(
    step=4, epoch=1, loss=1, learning_rate=1, gradient_norm=1, images_per_second=1, patches_per_second=1, data_wait=0,
    peak_bytes=1, scores={},
)  # fmt: skip


def test_a_log_is_never_silent_for_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    view = ProgressView(None, 0, 8)
    for step, clock[0] in enumerate([1100.0, 1299.0, 1301.0, 1599.0, 1700.0], 1):
        view(replace(STEP, step=step))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["step 3 of 8: loss 1.000, 0:08:22 left", "step 5 of 8: loss 1.000, 0:07:00 left"]


def test_the_live_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Live(console=console, auto_refresh=False) as region:
        view = ProgressView(region, 0, 8)
        console.print(region.renderable)
        view(StopReport())
        view(BadImageReport(step=4, path=Path("a.png"), reason="a.png: broken"))
        view(STEP)
        view(ValidatingReport(48))
        console.print(region.renderable)
        for step, accuracy in ((4, 0.75), (8, 0.5)):
            headline, scores = ("accuracy", f"{accuracy:.1%}"), {"accuracy": accuracy}
            view(ValidationReport(step=step, loss=1, scores=scores, best=step == 4, headline=headline))
        console.print(region.renderable)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "0 of 8" in shown
    assert shown.count("48 images") == 1
    assert "50.0%  (best 75.0%, step 4)" in shown
    assert "after this step" in shown
    assert capsys.readouterr().err == "warning: a.png: broken; left out (1 so far)\n"


def test_resuming_with_other_classes_is_refused(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(2):
            save(tmp_path / label / f"{number}.png", colored((8, 8), (1, 2, 3), number))
    with pytest.raises(FitError, match=r"was trained on dark, light; .*cat.*dog"):
        run_of(tmp_path, uninterrupted, resume=True)


def test_accumulated_passes_are_one_large_batch(data: Path, tmp_path: Path) -> None:
    def reports(batch_size: int, accumulate: int) -> list[StepReport]:
        seen: list[Report] = []
        settings = {"batch_size": batch_size, "accumulate": accumulate, "augment": False, "steps": 3}
        train(run_of(data, tmp_path / f"{batch_size}x{accumulate}", **settings), seen.append)
        return [report for report in seen if isinstance(report, StepReport)]

    whole, parts = reports(4, 1), reports(2, 2)
    for one, other in zip(whole, parts, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-3)
        assert (one.scores, one.epoch) == (other.scores, other.epoch)


def test_reports(data: Path, tmp_path: Path) -> None:
    seen: list[Report] = []
    progress = train(run_of(data, tmp_path / "run", epochs=3), seen.append)
    steps = [report for report in seen if isinstance(report, StepReport)]
    looks = [report for report in seen if isinstance(report, ValidationReport)]
    assert [report.step for report in steps] == list(range(1, 13))
    assert [report.step for report in looks] == [4, 8, 12]
    assert [steps[number].epoch for number in (3, 7, 11)] == [1.0, 2.0, 3.0]
    for step in steps:
        assert math.isfinite(step.loss)
        assert 0 <= step.scores["accuracy"] <= 1
        assert 0 <= step.data_wait <= 1
        assert step.patches_per_second == pytest.approx(4 * step.images_per_second), "24 x 24 pixels are 2 x 2 patches"
    assert progress.best[0] == max(report.scores["accuracy"] for report in looks)
    assert len(metrics(tmp_path / "run")) == 15
    assert list((tmp_path / "run/tensorboard").glob("events.*"))


def test_the_best_model_is_kept_and_the_last_one_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([Scores(0.9, 0.5, 0.5), Scores(0.4, 0.9, 0.9), Scores(0.1, 0.7, 0.7), Scores(0.5, 0.9, 0.9)])
    monkeypatch.setattr(objective, "validate", lambda *_: next(scores))
    models: list[Any] = []
    monkeypatch.setattr(loop, "build", lambda *args, **settings: models.append(build(*args, **settings)) or models[0])
    folder, kept = tmp_path / "run", []

    def observe(report: Report) -> None:
        if isinstance(report, ValidationReport):
            kept.append(models[0].encoder.latent_norm.weight.detach().clone())

    progress = train(run_of(data, folder, epochs=4), observe)
    assert (progress.best, progress.best_step) == ((0.9, -0.4), 8)
    best = load_file(folder / "model.safetensors")["encoder.latent_norm.weight"]
    assert [torch.equal(weights, best) for weights in kept] == [False, True, False, False]
    last = load_file(folder / "last/model.safetensors")["encoder.latent_norm.weight"]
    assert [torch.equal(weights, last) for weights in kept] == [False, False, False, True]


def test_without_validation_the_last_model_is_the_model(data: Path, tmp_path: Path) -> None:
    rows = [f"{data / label / f'{number}.png'},{label},train" for label in ("dark", "light") for number in range(3)]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,split", *rows]))
    progress = train(run_of(tmp_path / "data.csv", tmp_path / "run"), quietly)
    assert progress.summary(tmp_path) == f"{tmp_path}: 6 steps"
    run, last = (load_file(tmp_path / "run" / name) for name in ("model.safetensors", "last/model.safetensors"))
    assert all(torch.equal(run[name], last[name]) for name in run)


# In the middle of an epoch the loss tells, at its end the validation.
@pytest.mark.parametrize("step", [5, 7])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_what_was_good(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def explode(number: int, total: int, settings: TrainSettings) -> float:
        return 1e30 if number == step else learning_rate(number, total, settings)

    monkeypatch.setattr(loop, "learning_rate", explode)
    folder = tmp_path / "run"
    with pytest.raises(FitError, match=r"became (nan|inf).*lower --learning-rate"):
        train(run_of(data, folder), quietly)
    monkeypatch.undo()
    for name in ("model.safetensors", "last/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(folder / name).values())
    assert all(math.isfinite(loss) for _, _, loss, _ in metrics(folder))
    assert train(run_of(data, folder, resume=True), quietly, resume=True).step == 8


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.nan if calls == 8 else gradient

    def steep(*arguments: Any, **settings: Any) -> nn.Module:
        model = build(*arguments, **settings)
        model.head.classify.bias.register_hook(spoil)
        return model

    monkeypatch.setattr(loop, "build", steep)
    with pytest.raises(FitError, match="the gradient became nan in step 8"):
        train(run_of(data, tmp_path / "run"), quietly)
    for name in ("model.safetensors", "last/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "run" / name).values())


def test_pixels_that_are_not_finite_do_not_reach_the_loss(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(3):
            pixels = np.random.default_rng(number).normal(0, 1, (20, 20, 1)).astype(np.float32)
            pixels[:3], pixels[3:5], pixels[5:7] = np.nan, np.inf, -np.inf
            save(tmp_path / "data" / label / f"{number}.tif", pixels)
    train(run_of(tmp_path / "data", tmp_path / "run", epochs=1), quietly)
    assert all(math.isfinite(loss) for _, _, loss, _ in metrics(tmp_path / "run"))


def test_a_data_set_that_cannot_be_used_creates_nothing(data: Path, tmp_path: Path) -> None:
    def refused(match: str, error: type[FitError] = DataError) -> None:
        with pytest.raises(error, match=match):
            run_of(tmp_path / "data", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused("no such data set")
    for label in ("a", "b"):
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", colored((8, 8), (1, 2, 3), number))
    broken = tmp_path / "data/b/2.png"
    broken.write_bytes(b"not a picture")
    (tmp_path / "data/b/3.tif").write_bytes(b"II*\0")
    refused(r"2\.png: .* \(and 1 more images that cannot be read\)")
    broken.unlink()
    (tmp_path / "data/b/3.tif").unlink()
    save(tmp_path / "data/b/2.tif", np.zeros((8, 8, 5), np.uint8))
    refused(r"2\.tif: has 5 channels")


def test_a_file_that_breaks_while_training_is_named_and_the_run_can_go_on(data: Path, tmp_path: Path) -> None:
    for label in ("dark", "light"):
        for number in range(3):
            save(tmp_path / "data" / label / f"{number}.png", colored((24, 24), (60, 80, 70), number))
    run = run_of(tmp_path / "data", tmp_path / "run", epochs=3)
    victim = run.dataset.train[0].path
    whole = victim.read_bytes()
    with pytest.raises(TooManyBadImages, match=victim.name):
        train(run, at(1, lambda: victim.write_bytes(b"gone")))
    victim.write_bytes(whole)
    assert train(run_of(tmp_path / "data", tmp_path / "run", resume=True, epochs=3), quietly, resume=True).step == 6


@pytest.mark.parametrize("total", [1, 2, 10, 1000])
def test_the_learning_rate_rises_then_falls_as_half_a_cosine(total: int) -> None:
    settings = train_settings(learning_rate=0.5, warmup=0.1)
    rates = [learning_rate(step, total, settings) for step in range(total)]
    assert max(rates) == pytest.approx(0.5)
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert top <= max(1, total // 10)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if total == 1000:
        assert rates[49] == pytest.approx(0.25)
        assert rates[550] == pytest.approx(0.25, abs=1e-3), "half way down after half of the remaining steps"
        assert rates[325] == pytest.approx(0.25 * (1 + math.sqrt(0.5)), abs=1e-3)
        assert rates[-1] < 1e-5


def test_the_optimizer_takes_every_parameter_once_and_decays_matrices_only() -> None:
    model = build(classifier_preset("debug", 3, 2), seed=0)
    optimizer = build_optimizer(model, train_settings(weight_decay=0.1))
    taken = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(taken) == sorted(id(parameter) for parameter in model.parameters())

    # Without a gradient, decay is all that happens.
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    matrices = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert len(matrices) > 10
    for name, parameter in model.named_parameters():
        shrunk = 0.95 if name in matrices else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk, msg=name)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    labels = torch.tensor([0] * 8 + [1] * 1 + [2] * 3)
    weights = balanced_weights(labels, 3)
    say = [float(weights[label]) * int((labels == label).sum()) for label in range(3)]
    assert say == pytest.approx([4.0, 4.0, 4.0])
    assert float(weights[labels].mean()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "option"),
    [({"learning_rate": 0.0}, "--learning-rate"), ({"learning_rate": math.nan}, "--learning-rate"),
     ({"learning_rate": math.inf}, "--learning-rate"), ({"label_smoothing": 1.0}, "--label-smoothing"),
     ({"batch_size": 0}, "--batch-size"), ({"steps": 0}, "--steps"), ({"weight_decay": math.nan}, "--weight-decay"),
     ({"clip": -1.0}, "--clip")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, float], option: str) -> None:
    with pytest.raises(FitError, match=option):
        train_settings(**settings)
