"""Weights of a run folder: they are loaded as they were saved; damaged and forged files are one error."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fitcli import __version__
from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs import weights
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.weights import Checkpoint, save_weights
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.load import load_config, load_run
from fitcli.tasks.registry import find_task, train_settings
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.training.checkpointing.run_record import load_settings, save_settings
from models.build import build
from models.config import ClassifierConfig
from models.groups import Groups
from models.presets import classifier_preset, dense_preset

CPU = choose_runtime("cpu", "fp32")
MODEL = ClassifierConfig.from_dict(
    {
        "plan": "(1)1(1)1", "tokens": 4, "latents": 2, "token_width": 8, "latent_width": 8, "token_heads": 2,
        "latent_heads": 2, "patch": 4, "channels": 3, "classes": 2, "pool_heads": 2,
    }
)  # fmt: skip
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(1.5, 2.0, 3.0), std=(4.0, 5.0, 6.0), mpp=0.25)
CONFIG = RunConfig(model=MODEL, preprocessing=PIXELS, classes=("cat", "dög"), details=ClassifyDetails())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    save_config(folder, CONFIG)
    save_weights(folder, build(MODEL, seed=5))
    return folder


def refused(folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_run(folder, CPU, ema=False)
    assert str(folder) in str(caught.value), "it names the file"


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "config.json").read_text())
    change(document)
    (folder / "config.json").write_text(json.dumps(document))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@torch.inference_mode()
def test_what_is_saved_comes_back(run: Path) -> None:
    loaded: Checkpoint[Any] = load_run(run, CPU, ema=False)
    assert loaded.config == CONFIG
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    groups = Groups.of_grid(1, 2, 3)
    patches = torch.randn(6, 4, 48, generator=torch.Generator().manual_seed(0))
    for mine, saved in zip(loaded.model(patches, groups), build(MODEL, seed=5).eval()(patches, groups), strict=True):
        assert torch.equal(mine, saved)


def classifying(
    preset: str = "debug", patch: int = 8, classes: tuple[str, ...] = ("a", "b"), channels: int = 3
) -> RunConfig:
    model = classifier_preset(preset, channels, len(classes), {"patch": patch})
    pixels = dataclasses.replace(PIXELS, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    return RunConfig(model=model, preprocessing=pixels, classes=classes, details=ClassifyDetails())


def segmenting(
    preset: str = "debug", patch: int = 8, classes: tuple[str, ...] = ("a", "b"), cell: int = 2
) -> RunConfig:
    count = len(classes)
    details = SegmentDetails(values=tuple(range(count)), colors=(None,) * count, weights=(1.0,) * count)
    model = dense_preset(preset, 3, count, cell, {"patch": patch})
    return RunConfig(model=model, preprocessing=PIXELS, classes=classes, details=details)


STARTS: dict[str, tuple[RunConfig, RunConfig, tuple[str, ...]]] = {
    "the same": (segmenting(), segmenting(), ()),
    "other classes": (segmenting(), segmenting(classes=("a", "c")), ("head.",)),
    "more classes": (segmenting(), segmenting(classes=("a", "b", "c")), ("head.",)),
    "other cells": (segmenting(), segmenting(cell=4), ("head.",)),
    "as many outputs": (segmenting(classes=tuple("abcd"), cell=4), segmenting(classes=("a",)), ("head.",)),
    "a classifier": (
        classifying(), segmenting(), ("head.", "encoder.trunk.segments.1.write.", "encoder.trunk.segments.2."),
    ),
    "other channels": (classifying(), classifying(channels=5), ("encoder.embed.stem.",)),
    "another patch": (classifying(), classifying(patch=4), ("encoder.embed.stem.",)),
    "features": (classifying(), classifying(patch=1, channels=64), ("encoder.embed.stem.",)),
    "all of these": (
        segmenting(), classifying(patch=1, channels=64, classes=("c", "d")), ("encoder.embed.stem.", "head."),
    ),
    "a classifier from dense": (segmenting(), classifying(), ("head.",)),
}  # fmt: skip
"""Config of the run to start from, config of the new one, and which weights of it are fresh."""


@pytest.mark.walk(4)
@pytest.mark.parametrize("name", STARTS)
def test_what_a_run_takes_from_another(tmp_path: Path, name: str) -> None:
    before, config, fresh = STARTS[name]
    other, model, untouched = build(before.model, seed=5), build(config.model, seed=6), build(config.model, seed=6)
    for network, seed in ((other, 1), (model, 2), (untouched, 2)):
        # Many fresh parameters are zero or one in every model.
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
    save_weights(tmp_path, other)
    weights.start_from(tmp_path, before, model, config, find_task(config.task).class_weights)
    given, initial, kept = other.state_dict(), untouched.state_dict(), 0
    for key, tensor in model.state_dict().items():
        if key.startswith(fresh or "?"):
            kept += 1
            assert torch.equal(tensor, initial[key]), key
        else:
            assert torch.equal(tensor, given[key]), key
    assert bool(kept) == bool(fresh)


@pytest.mark.parametrize(
    "before",
    [
        *(kind(preset) for preset in ("nano", "mini") for kind in (classifying, segmenting)),
    ],
    ids=lambda config: f"{config.task} {config.model.token_width} {config.model.patch}",
)
@pytest.mark.parametrize("config", [classifying(), segmenting()], ids=["to classify", "to segment"])
def test_another_architecture_is_refused(tmp_path: Path, before: RunConfig, config: RunConfig) -> None:
    save_weights(tmp_path, build(before.model, seed=5))
    model = build(config.model, seed=6)
    with pytest.raises(
        CheckpointError, match=r"is of another architecture .* give the same --preset and the same options of the model"
    ) as caught:
        weights.start_from(tmp_path, before, model, config, find_task(config.task).class_weights)
    assert "\n" not in str(caught.value)


def test_files_of_a_run_folder(run: Path) -> None:
    assert sorted(os.listdir(run)) == ["config.json", "model.safetensors"]


def test_folders_that_are_no_runs(run: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none", "no run folder .*give the --out folder of `fit train`")
    refused(tmp_path, "no run folder")
    refused(run / "config.json", "no run folder")
    (run / "model.safetensors").unlink()
    refused(run, "no such file; the run has not saved its weights yet")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["FIT_TEST_TRAP"],)


def test_a_pickle_is_never_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "sprung"
    monkeypatch.setenv("FIT_TEST_TRAP", str(trap))
    for content in (pickle.dumps(Trap(), 2), pickle.dumps({"model": Trap()}, 2)):
        (run / "model.safetensors").write_bytes(content)
        refused(run, r"model\.safetensors: damaged weights")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap()))
    assert trap.exists(), "the trap works"


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, 0.999])
def test_truncated_weights(run: Path, kept: float) -> None:
    path = run / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    refused(run, r"model\.safetensors: damaged weights")


def test_a_header_that_claims_huge_tensors(run: Path) -> None:
    (run / "model.safetensors").write_bytes((10**15).to_bytes(8, "little") + b"{}")
    refused(run, r"model\.safetensors: damaged weights")


def test_weights_of_another_model(run: Path) -> None:
    name = "head.classify.bias"
    original = (run / "model.safetensors").read_bytes()
    cases: list[tuple[Callable[[dict[str, torch.Tensor]], object], str]] = [
        (lambda w: w.pop(name), f"{name} is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda w: w.update({name: torch.zeros(3)}), rf"{name} is \[3\], the model needs \[2\]"),
        (lambda w: w.update({name: torch.tensor([0.0, float("nan")])}), f"{name} holds NaN or infinity"),
        (lambda w: w.update({name: torch.tensor([0.0, float("inf")])}), f"{name} holds NaN or infinity"),
    ]
    for change, message in cases:
        (run / "model.safetensors").write_bytes(original)
        change_weights(run, change)
        refused(run, message)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "5", '"x"', "{}", '{"format": 1}', "\x00\xff", "[" * 100_000, '{"format": 2}']
)
def test_settings_that_are_junk(run: Path, text: str) -> None:
    (run / "config.json").write_bytes(text.encode("latin-1"))
    refused(run, r"config\.json")


HOSTILE: list[tuple[str, str, object]] = [
    *(("model", "latents", value) for value in (-1, 0, "2", 2.0, None, True, [2], 10**12, 10**30)),
    *(("model", "token_width", value) for value in (-8, 10**9, 10**12)),
    *(("model", "tokens", value) for value in (5, 10**12, 10**18)),
    *(("model", "patch", value) for value in (0, 10**6, 10**12)),
    *(("model", "channels", value) for value in (1, 10**9)),
    *(("model", "mlp_ratio", value) for value in (0, 10**15)),
    *(("model", "pool_heads", value) for value in (0, 3, 10**9)),
    *(
        ("model", "plan", value)
        for value in ("", "(1)", "(1)0(1)1", "(999999999)1", f"({'9' * 5000})1", "(1)1" * 10**5)
    ),
    ("model", "unknown", 1),
    ("model", "stem", "pickle"),
    ("preprocessing", "channels", 4),
    ("preprocessing", "channels", "3"),
    ("preprocessing", "dtype", "banana"),
    ("preprocessing", "dtype", "object"),
    ("preprocessing", "dtype", 7),
    ("preprocessing", "mean", ["1", "2", "3"]),
    ("preprocessing", "mean", [1, 2]),
    ("preprocessing", "mean", None),
    ("preprocessing", "std", [1, 0, 1]),
    ("preprocessing", "std", [1, float("nan"), 1]),
    ("preprocessing", "mpp", "fine"),
    ("preprocessing", "read_mpp", "fine"),
    ("preprocessing", "read_mpp", -1.0),
    ("preprocessing", "read_level", 1.5),
    *(("preprocessing", "trained_sides", value) for value in (5, ["a", "b"], [0, 5], [6, 5], [1, float("nan")])),
    ("preprocessing", "trained_scales", [-1.0, 5.0]),
    *(
        ("preprocessing", "trained_patch", value)
        for value in (512, [512], "512", {}, {"pixels": 0}, {"pixels": 512, "stated": 1}, {"pixels": 512, "mpp": 1})
    ),
    ("preprocessing", "unknown", 1),
]


@pytest.mark.walk(18)
@pytest.mark.parametrize(("part", "name", "value"), HOSTILE, ids=lambda value: str(value)[:20])
def test_hostile_settings_are_refused_without_work(run: Path, part: str, name: str, value: object) -> None:
    change_config(run, lambda document: document[part].update({name: value}))
    tracemalloc.start()
    try:
        refused(run, r"config\.json|model\.safetensors")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(task="steal"),
        lambda d: d.update(classes=["cat"]),
        lambda d: d.update(classes=5),
        lambda d: d.update(model=[]),
        lambda d: d.update(preprocessing="rgb"),
        lambda d: d.pop("model"),
        lambda d: d.pop("preprocessing"),
        lambda d: d.pop("classes"),
    ],
)
def test_settings_with_parts_missing_or_wrong(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    change_config(run, change)
    refused(run, r"config\.json")


def test_another_format_says_so(run: Path) -> None:
    change_config(run, lambda document: document.update(format=99))
    refused(run, rf"config\.json: written by fit {__version__} \(format 99\), this is fit .* \(format 1\); install")


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_a_crash_while_saving_leaves_the_old_weights(run: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    before = load_file(run / "model.safetensors")

    def half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    if moment == "writing":
        monkeypatch.setattr(weights, "save_file", half)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space|Input"):
        save_weights(run, build(MODEL, seed=6))
    with pytest.raises(OSError, match=r"No space|Input") if moment == "renaming" else monkeypatch.context():
        save_config(run, CONFIG)
    assert sorted(os.listdir(run)) == ["config.json", "model.safetensors"], "nothing half-written is left"
    after = load_file(run / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_config(run) == CONFIG


def forged(header: object, size: int = 64) -> bytes:
    """Return a safetensors file with any header, as bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def tensor(begin: int, end: int, *shape: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.walk(5)
@pytest.mark.parametrize(
    "header",
    [
        {"a": tensor(0, 64, 16), "b": tensor(0, 64, 16)},
        {"a": tensor(0, 32, 8), "b": tensor(16, 64, 12)},
        {"a": tensor(0, 16, 4), "b": tensor(48, 64, 4)},
        {"a": tensor(0, 10**15, 10**15 // 4)},
        {"a": tensor(0, 64, 2**62, 4)},
        {"a": tensor(0, 64, 2**32, 2**32)},
        {"a": tensor(64, 0, 16)},
        {"a": tensor(-64, 0, 16)},
        {"a": tensor(0, 64, -16)},
        {"a": tensor(0, 64, 16, dtype="PICKLE")},
        {"a": 5},
        [],
        None,
    ],
    ids=str,
)
def test_forged_headers_of_weights(run: Path, header: object) -> None:
    (run / "model.safetensors").write_bytes(forged(header))
    tracemalloc.start()
    refused(run, r"model\.safetensors: ")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_endless_settings(run: Path) -> None:
    with (run / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    refused(run, r"config\.json: 1,099,511,627,776 bytes of settings")


@pytest.mark.parametrize("text", [None, "", "[1]", "5", "null", "{"])
def test_damaged_settings_of_a_run_are_one_error(run: Path, text: str | None) -> None:
    save_settings(run, train_settings())
    assert load_settings(run) == train_settings()
    path = run / "training/settings.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CheckpointError, match=r"settings\.json: cannot be read"):
        load_settings(run)


def test_every_setting_is_saved(run: Path) -> None:
    settings = train_settings()
    save_settings(run, settings)
    stored = json.loads((run / "training/settings.json").read_text())
    assert stored == {**settings.as_dict(), "fit": __version__}
    names = {field.name for part in (settings, settings.options) for field in dataclasses.fields(part)}
    assert stored.keys() == names - {"options"} | {"fit"}
