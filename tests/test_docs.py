"""The Python in docs/library.md runs as it stands there, on runs and on files that `fit embed` wrote."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.halves import half_and_half, trained_on_halves
from support.packages import install, restored
from support.pictures import colored, save
from typer.testing import Result

from fitcli.images.formats import FORMATS
from fitcli.tasks.classify.heads import OUTPUT_HEADS
from fitcli.tasks.classify.losses import LOSSES
from fitcli.tasks.presets import ENCODER_PRESETS

DOCUMENT = Path(__file__).parent.parent / "docs" / "library.md"


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), flags=re.S)


def test_the_library_is_used_as_described(
    fit: Callable[..., Result], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = save(tmp_path / "image.tif", colored((300, 200), (40, 60, 200), 1))
    for name in ("features.zarr", "features.safetensors"):
        options = ["--checkpoint", trained, "--device", "cpu", "--out", tmp_path / name]
        assert fit("embed", image, *options).exit_code == 0
    monkeypatch.chdir(tmp_path)
    training, explaining, segmenting, reading, safetensors, *_ = blocks("python")

    learned: dict[str, object] = {}
    exec(training, learned)
    assert list(learned["logits"].shape) == [2, 2]  # type: ignore[attr-defined]
    assert learned["loss"].item() < np.log(2)  # type: ignore[attr-defined]

    (tmp_path / "run").symlink_to(trained)
    explained: dict[str, object] = {}
    exec(explaining.replace('"auto"', '"cpu"'), explained)
    first = explained["result"].probabilities[0]  # type: ignore[attr-defined]
    # Two classes: the logits are that far from their mean.
    assert 1 / (1 + np.exp(-2 * explained["logit"])) == pytest.approx(first, abs=1e-4)  # type: ignore[operator]
    assert explained["looked"].shape == explained["speaks"].shape == (19, 13)  # type: ignore[attr-defined]
    (tmp_path / "run").unlink()

    read: dict[str, object] = {}
    exec(reading, read)
    assert read["where"][0].tolist() == [64, 64], "groups of 128 pixels"  # type: ignore[index]
    assert np.isfinite(read["slide"]).all()  # type: ignore[call-overload]
    exec(safetensors, {})

    trained_on_halves(fit, tmp_path)
    half_and_half(tmp_path / "scene.tif", 9)
    segmented: dict[str, object] = {}
    exec(segmenting.replace('"auto"', '"cpu"'), segmented)
    assert segmented["cells"].shape == (24, 32)  # type: ignore[attr-defined]


def test_parts_of_a_package_are_used_by_their_names(
    fit: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of the page, installed as it stands there, learns and classifies files of its own format."""
    parts = blocks("python")[-4:]
    assert all(len(part.splitlines()) <= 25 for part in parts)
    (declared,) = blocks("toml")
    install(tmp_path / "site", "my-parts", tomllib.loads(declared)["project"]["entry-points"], "\n\n".join(parts))
    monkeypatch.syspath_prepend(tmp_path / "site")
    for label, bright in (("dark", 300), ("light", 3000)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            pixels = np.random.default_rng(number).integers(bright, 2 * bright, (40, 50)).astype("<u2")
            header = np.array(pixels.shape, "<u4").tobytes()
            (tmp_path / f"data/{label}/{number}.gray16").write_bytes(header + pixels.tobytes())
    data, run, scan = tmp_path / "data", tmp_path / "run", tmp_path / "data/light/0.gray16"
    with restored(LOSSES, FORMATS, ENCODER_PRESETS, OUTPUT_HEADS):
        options = ["--preset", "wide", "--loss", "focal", "--output-head", "mlp", "--epochs", "5", "--batch-size", "2"]
        learned = fit("train", data, "--out", run, *options, "--ema", "0", "--device", "cpu")
        assert learned.exit_code == 0, learned.stderr
        answer = json.loads(fit("classify", scan, "--checkpoint", run, "--device", "cpu", "--json").stdout)
        assert answer[0]["predictions"][0]["label"] == "light"
        model = json.loads((run / "config.json").read_text())["model"]
        assert (model["latent_width"], model["output_head"]) == (128, "mlp")
        drawn = ["--heatmap", tmp_path / "heat.tif", "--device", "cpu"]
        assert fit("classify", scan, "--checkpoint", run, *drawn).exit_code == 0
        OUTPUT_HEADS._parts.pop("mlp")
        assert fit("evaluate", data, "--checkpoint", run, "--device", "cpu").exit_code == 0, "it is imported again"
        assert json.loads((run / "training/settings.json").read_text())["loss"] == "focal"
        described = json.loads(fit("info", scan, "--json").stdout)
        assert (described[0]["format"], described[0]["width"]) == ("Gray16", 50)
        scan.write_bytes(scan.read_bytes()[:-1])
        cut = fit("info", scan)
        assert (cut.exit_code, cut.stderr) == (1, f"error: {scan}: is cut off; copy it again\n")
    sys.modules.pop("my_parts")
