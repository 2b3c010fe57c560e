"""Weights that are finite, but overflow on the way through a model: every command says so, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import decoders
from support.command_line import Fit
from support.generators import make_run
from support.pictures import colored, save
from torch import Tensor

from fitcli.runs.config import save_config
from fitcli.runs.weights import EMA_WEIGHTS, WEIGHTS, Checkpoint, read_tensors, save_tensors, save_weights
from fitcli.tasks.encoding import encode


def made_huge(run: Path) -> Path:
    """Set the weights of a run to 1e19, and -1e19 in turn."""
    for name in (WEIGHTS, EMA_WEIGHTS):
        if (run / name).exists():
            tensors = {key: torch.full_like(value, 1e19) for key, value in read_tensors(run / name).items()}
            for value in tensors.values():
                value.view(-1)[::2] *= -1
            save_tensors(run / name, tensors)
    return run


@pytest.fixture(scope="module")
def runs(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with such weights of every task."""
    folder = tmp_path_factory.mktemp("runs")
    drawer, checkpoint = folder / "drawer", decoders.checkpoint(levels=8)
    drawer.mkdir()
    save_config(drawer, checkpoint.config)
    save_weights(drawer, checkpoint.model.float())
    made = {"classifier": shutil.copytree(trained, folder / "classifier"), "drawer": drawer}
    made["denoiser"] = make_run(folder / "denoiser", classes=())
    return {name: made_huge(run) for name, run in made.items()}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes, in colour and in grey."""
    folder = tmp_path_factory.mktemp("images")
    for label in ("blue", "red"):
        save(folder / "colour" / label / "1.png", colored((64, 96), (40, 60, 200), 1))
        save(folder / "grey" / label / "1.png", np.full((64, 96, 1), 90, np.uint8))
    return folder


LINES = [
    ("classifier", "classify {image} --checkpoint {run} --csv {out}/a.csv --heatmap {out}/a.png", "latents of"),
    ("classifier", "classify {image} --checkpoint {run} --json --precision bf16", "latents of"),
    ("classifier", "embed {image} --checkpoint {run} --out {out}/a.zarr", "latents of"),
    ("classifier", "embed {image} --checkpoint {run} --out {out}/a.safetensors --patches", "features of patches of"),
    ("classifier", "evaluate {colour} --checkpoint {run} --split all --csv {out}/a.csv --json", "latents of"),
    ("denoiser", "evaluate {colour} --checkpoint {run} --split all --json", "scores"),
    ("drawer", "evaluate {grey} --checkpoint {run} --split all --json", "scores"),
    (
        "denoiser",
        "generate --checkpoint {run} --out {out}/a.png --steps 2 --state {out}/state",
        "predictions in step 1",
    ),
    ("drawer", "generate --checkpoint {run} --out {out}/a.png", "predictions"),
]


@pytest.mark.walk(3)
@pytest.mark.parametrize(("name", "line", "what"), LINES, ids=[line.split(" {")[0] for _, line, _ in LINES])
def test_every_command_names_the_run(
    fit: Fit, runs: dict[str, Path], images: Path, tmp_path: Path, name: str, line: str, what: str
) -> None:
    places = {
        "image": images / "colour" / "red" / "1.png", "run": runs[name], "out": tmp_path, "colour": images / "colour",
        "grey": images / "grey",
    }  # fmt: skip
    result = fit(*line.format(**places).split(), "--device", "cpu")
    assert result.exit_code == 1
    errors = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    assert errors[0].startswith(f"error: {runs[name]}: {what}")
    assert "are NaN or infinite" in errors[0]
    assert ("1.png" in errors[0]) == (not line.startswith("generate"))
    assert len(errors) == (3 if "evaluate" in line else 1), "one for each image, and that none is left"
    assert "nan" not in result.stdout
    written = [path.name for path in tmp_path.iterdir() if path.name != "state"]
    assert not set(written) - {"a.csv"}, "a table without rows at most"


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_the_other_images_are_done(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image may overflow in a model that works for all others."""
    check = encode.check_finite_groups

    def overflow(checkpoint: Checkpoint[Any], values: Tensor, what: str, image: Path) -> None:
        check(checkpoint, values * (np.inf if image.parent.name == "blue" else 1), what, image)

    monkeypatch.setattr(encode, "check_finite_groups", overflow)
    paths = [images / "colour" / label / "1.png" for label in ("blue", "red")]
    outputs = ["--out", tmp_path / "out"] if command == "embed" else []
    result = fit(command, *paths, "--checkpoint", trained, "--device", "cpu", "--json", *outputs)
    assert result.exit_code == 1
    assert [entry["path"] for entry in json.loads(result.stdout)] == [str(paths[1])]
    assert f"are NaN or infinite for {paths[0]}" in result.stderr
