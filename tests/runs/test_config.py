"""Run folders of models that generate: what is saved comes back, what is made up is refused, tasks are not mixed up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import Fit
from support.small_runs import two_classes

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError
from fitcli.images.patch_size import PatchSize
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, config_document, identity, save_config
from fitcli.runs.weights import EMA_WEIGHTS, Checkpoint, save_weights
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.load import expect_task, load_config, load_run
from fitcli.tasks.registry import TASKS, find_task
from models.build import build
from models.config import DecoderConfig, DenoiserConfig
from tests.runs.test_weights import CONFIG as CLASSIFIER

CPU = choose_runtime("cpu", "fp32")
TRUNK: dict[str, Any] = {
    "plan": "(1)1(1)", "latents": 2, "token_width": 8, "latent_width": 8, "token_heads": 2, "latent_heads": 2,
}  # fmt: skip
GREY = Preprocessing(channels=1, dtype="float32", mean=(1.5,), std=(4.0,), limits=(-1.0, 9.0))
DIFFUSION = RunConfig(
    model=DenoiserConfig(**TRUNK, tokens=4, values=16, out_values=16, condition_width=2, self_condition=True),
    preprocessing=GREY,
    classes=("cat", "dög"),
    details=DiffusionConfig(patch=4, size=(32, 48), shift=-1.0),
)
SEQUENCE = RunConfig(
    model=DecoderConfig(**TRUNK, tokens=8, vocabulary=16, starts=1, causal="tokens", token_positions="sincos"),
    preprocessing=GREY,
    classes=(),
    details=SequenceConfig(patch=(2, 4), size=(32, 32), levels=16),
)


@pytest.fixture(params=[DIFFUSION, SEQUENCE], ids=["diffusion", "autoregressive"])
def config(request: pytest.FixtureRequest) -> RunConfig:
    found: RunConfig = request.param
    return found


def saved(folder: Path, config: RunConfig) -> Path:
    folder.mkdir()
    save_config(folder, config)
    save_weights(folder, build(config.model, seed=5))
    return folder


def test_what_is_saved_comes_back(tmp_path: Path, config: RunConfig) -> None:
    run = saved(tmp_path / "run", config)
    assert load_config(run) == config
    loaded: Checkpoint[Any] = load_run(run, CPU, ema=False)
    assert loaded.config == config
    weights = build(config.model, seed=5).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in loaded.model.state_dict().items())


@pytest.mark.parametrize("config", [DIFFUSION, SEQUENCE, CLASSIFIER], ids=lambda config: config.task)
def test_the_average_is_loaded_where_it_is_wanted_and_there(tmp_path: Path, config: RunConfig) -> None:
    run = saved(tmp_path / "run", config)

    def first(**options: Any) -> torch.Tensor:
        """The first parameter of the model that is loaded."""
        loaded: Checkpoint[Any] = load_run(run, CPU, **options)
        parameter: torch.Tensor = next(iter(loaded.model.parameters()))
        return parameter

    task = find_task(config.task)
    plain = first(expect=task)
    save_weights(run, build(config.model, seed=6), EMA_WEIGHTS)
    assert torch.equal(first(expect=task, ema=False), plain)
    assert torch.equal(first(ema=False), plain)
    assert not torch.equal(first(expect=task), plain)
    assert torch.equal(first(expect=task), first(ema=True))
    (run / EMA_WEIGHTS).write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"ema\.safetensors: damaged weights"):
        first(expect=task)


def test_tasks_are_not_mixed_up(tmp_path: Path, config: RunConfig) -> None:
    run, classifier = saved(tmp_path / "run", config), saved(tmp_path / "classifier", CLASSIFIER)
    with pytest.raises(CheckpointError, match=f"--task {config.task}.*fit generate.*give a run of --task classify"):
        load_run(run, CPU, find_task("classify"))
    for task in ("diffusion", "autoregressive"):
        with pytest.raises(CheckpointError, match="--task classify, which is for `fit classify`"):
            load_run(classifier, CPU, find_task(task))
    assert expect_task(run, config.task) == expect_task(run, *TASKS) == config
    assert load_run(classifier, CPU, find_task("classify")).config == CLASSIFIER


def test_a_classifier_of_before_there_were_other_tasks(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", CLASSIFIER)
    document = json.loads((run / "config.json").read_text())
    assert not {"diffusion", "sequence"} & set(document)
    document["preprocessing"].pop("limits")
    (run / "config.json").write_text(json.dumps(document))
    assert load_config(run) == CLASSIFIER


HOSTILE: list[tuple[RunConfig, Callable[[dict[str, Any]], object]]] = [
    *(
        (DIFFUSION, lambda d, name=name, value=value: d["diffusion"].update({name: value}))  # type: ignore[misc]
        for name, value in [
            ("patch", 0), ("patch", 3), ("patch", "4"), ("patch", True), ("patch", 10**30), ("size", [32]),
            ("size", [32, 0]), ("size", ["32", 32]), ("size", None), ("size", [10**30, 1]), ("schedule", 5),
            ("prediction", "noise"), ("prediction", ["v"]), ("scale", 0), ("scale", "1"), ("scale", float("nan")),
            ("scale", float("inf")), ("shift", float("nan")), ("shift", 1000), ("shift", None), ("clip", 1),
            ("self_condition_rate", 1.5), ("class_dropout", -0.1), ("class_dropout", "much"), ("unknown", 1),
        ]
    ),
    *(
        (SEQUENCE, lambda d, name=name, value=value: d["sequence"].update({name: value}))  # type: ignore[misc]
        for name, value in [
            ("patch", [0, 2]), ("patch", [2, 2]), ("patch", 2), ("patch", ["2", "4"]), ("size", [1, 1]),
            ("levels", 17), ("levels", 1), ("levels", "16"), ("order", "spiral"), ("start", "zero"), ("unknown", 1),
        ]
    ),
    *((DIFFUSION, lambda d, task=task: d.update(task=task)) for task in ("autoregressive", "classify", ["diffusion"])),  # type: ignore[misc]
    (DIFFUSION, lambda d: d.pop("diffusion")),
    (SEQUENCE, lambda d: d.pop("sequence")),
    (DIFFUSION, lambda d: d.update(diffusion="cosine")),
    (DIFFUSION, lambda d: d.update(classes=["cat"])),
    (SEQUENCE, lambda d: d.update(classes=["cat", "dog"])),
    (DIFFUSION, lambda d: d["model"].update(values=10**9)),
    (DIFFUSION, lambda d: d["model"].update(condition_width=10**9)),
    (SEQUENCE, lambda d: d["model"].update(vocabulary=10**9)),
    (SEQUENCE, lambda d: d["model"].update(starts=10**9)),
    (DIFFUSION, lambda d: d["preprocessing"].update(limits=[1, 1])),
    (DIFFUSION, lambda d: d["preprocessing"].update(limits=[0, float("nan")])),
    (DIFFUSION, lambda d: d["preprocessing"].update(limits="wide")),
]  # fmt: skip


def test_the_part_of_another_task_is_ignored(tmp_path: Path, config: RunConfig) -> None:
    run = saved(tmp_path / "run", config)
    document = json.loads((run / "config.json").read_text())
    foreign = {"diffusion": {"sequence": {"patch": [2, 2]}}, "autoregressive": {"diffusion": {}}}[config.task]
    (run / "config.json").write_text(json.dumps({**document, **foreign, "tasks": [5]}))
    assert load_config(run) == config


@pytest.mark.walk(25)
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_settings_are_refused(tmp_path: Path, number: int) -> None:
    config, change = HOSTILE[number]
    run = saved(tmp_path / "run", config)
    document = json.loads((run / "config.json").read_text())
    change(document)
    (run / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_run(run, CPU, ema=False)


HUGE: dict[str, dict[str, Any]] = {
    "groups of 17600 pixels per side are impossible": {"patch": 16, "tokens": 1100**2},
    "a model of 1200 layers is impossible": {"plan": "(600)600"},
    "classes 65537 is impossible": {"classes": 65537},
}


@pytest.mark.parametrize(("message", "changes"), HUGE.items(), ids=str)
def test_what_could_not_be_read_is_not_made(message: str, changes: dict[str, Any]) -> None:
    names = tuple(map(str, range(changes.get("classes", len(CLASSIFIER.classes)))))
    with pytest.raises(CheckpointError, match=message):
        dataclasses.replace(CLASSIFIER, model=dataclasses.replace(CLASSIFIER.model, **changes), classes=names)


def test_a_training_of_a_model_that_cannot_be_is_refused(fit: Fit, tmp_path: Path) -> None:
    """Its run could not be loaded."""
    data = two_classes(tmp_path / "data")
    result = fit("train", data, "--out", tmp_path / "run", "--preset", "debug", "--group", "1100", "--device", "cpu")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --preset debug --group 1100: groups of 17600 pixels per side")


def test_the_range_of_pixels() -> None:
    assert GREY.range == (-1.0, 9.0)
    assert dataclasses.replace(GREY, dtype="uint16", limits=None).range == (0.0, 65535.0)
    with pytest.raises(CheckpointError, match="black and white"):
        _ = dataclasses.replace(GREY, limits=None).range


def test_rules_of_reading_pixels_are_kept_and_part_of_the_identity(tmp_path: Path) -> None:
    """Configs of earlier versions, without them, keep their text and their identity."""
    old = dataclasses.replace(DIFFUSION, preprocessing=GREY)
    assert not {"rules", "uint16_white"} & config_document(old)["preprocessing"].keys()
    assert "rules" not in identity(old)
    assert "uint16_white" not in identity(old)
    current = dataclasses.replace(GREY, dtype="uint16", rules=2, uint16_white=4095)
    new = dataclasses.replace(DIFFUSION, preprocessing=current)
    save_config(tmp_path, new)
    assert load_config(tmp_path) == new
    assert "rules=2, uint16_white=4095" in identity(new)


def test_the_output_head_is_kept_and_part_of_the_identity(tmp_path: Path) -> None:
    """Denoisers of earlier versions, with a linear head, keep their text and their identity."""
    assert "output_patch" not in config_document(DIFFUSION)["model"]
    assert "output_patch" not in identity(DIFFUSION)
    new = dataclasses.replace(DIFFUSION, model=dataclasses.replace(DIFFUSION.model, output_patch=4))
    save_config(tmp_path, new)
    assert load_config(tmp_path) == new
    assert "output_patch=4" in identity(new)


def test_sizes_of_training_images_are_kept_and_no_part_of_the_identity(tmp_path: Path) -> None:
    old = dataclasses.replace(DIFFUSION, preprocessing=GREY)
    assert not {"trained_sides", "trained_scales", "trained_patch"} & config_document(old)["preprocessing"].keys()
    pixels = dataclasses.replace(
        GREY, trained_sides=(380, 512), trained_scales=(0.25, 0.5), trained_patch=PatchSize(512, nominal=128.0)
    )
    new = dataclasses.replace(DIFFUSION, preprocessing=pixels)
    save_config(tmp_path, new)
    assert load_config(tmp_path) == new
    assert identity(new) == identity(old)


@pytest.mark.parametrize("sides", [(0, 5), (6, 5), (5,), (5, float("inf"))])
def test_sizes_that_cannot_be(sides: Any) -> None:
    with pytest.raises(CheckpointError, match="trained_sides must be two rising positive numbers"):
        dataclasses.replace(GREY, trained_sides=sides)
