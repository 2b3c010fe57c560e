"""Runs that an earlier version wrote still classify, embed, evaluate, generate and resume, with the numbers that it
gave; and new runs learn as they did then.

`data/runs/expected.json` has the commands and what that version answered, `data/runs/README.md` how it came about.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from safetensors.numpy import load_file

from fitcli.device.runtime import Runtime
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import model_hash
from fitcli.tasks.load import load_run

Fit = Callable[..., Any]

RUNS = Path(__file__).parent / "data" / "runs"
EXPECTED = json.loads((RUNS / "expected.json").read_text())

CLOCK = {"images_per_second", "patches_per_second", "data_wait", "peak_bytes", "seconds", "memory"}
"""What depends on the machine and its load; everything else is compared."""

HASHES = {
    "classify": "415d935c8b9237bf6f47b87be3392d8e98eebdb64ecf4ed96d0c45666838499d",
    "several": "85fc1b1d906402e3d35fd78dbe5facf679e86ba0899ec2e558b6cac17e922c9a",
    "diffusion": "719434b32a233763fe76ea50594b20e93c4b3e21c2b0533904494d5dd298f324",
    "autoregressive": "ee1b3913fc1a3927e3cdd26b582dba3cb4548b6c3b43d95221c371cf51c00eef",
}
"""The hash of each model, without the moving average. Files of features and `--state` folders name the model by it."""

SINCE = {
    "classify": ("--ema", "0"),
    "classify-defaults": ("--ema", "0"),
    "diffusion": ("--plan", "(1)1(1)", "--output-head", "linear", "--attention-start", "reference"),
    "diffusion-eps": ("--plan", "(1)1(1)", "--output-head", "linear", "--attention-start", "reference"),
}
"""Options with the defaults that new runs had then, where they have others since."""

WEIGHTS = ("model.safetensors", "ema.safetensors", "last/model.safetensors", "last/ema.safetensors")


class Replay:
    """Calls `fit` as `expected.json` says, once per command, and collects what it answers and writes.

    Args:
        fit: The command line.
        folder: An empty one, to write to.
    """

    def __init__(self, fit: Fit, folder: Path) -> None:
        self._fit, self._folder = fit, folder
        self.asked, self.begun, self.resumed = cache(self._asked), cache(self._begun), cache(self._resumed)

    def _asked(self, name: str) -> tuple[Any, dict[str, np.ndarray]]:
        """The JSON document that a command prints; and the arrays in the files that it writes, by name."""
        out = self._folder / name
        out.mkdir(exist_ok=True)
        document = json.loads(self._call(EXPECTED["asked"][name]["command"], out).stdout)
        arrays: dict[str, np.ndarray] = {}
        for path in sorted(out.iterdir()):
            if path.suffix == ".safetensors":
                arrays |= {f"{path.name}/{key}": array for key, array in load_file(path).items()}
            else:
                arrays[path.name] = tifffile.imread(path)
        return _steady(document, {str(RUNS): "{runs}", str(out): "{out}"}), arrays

    def _begun(self, name: str) -> Path:
        """A new run."""
        run = self._folder / "begun" / name
        self._call([*EXPECTED["begun"][name]["command"], *SINCE.get(name, ())], run)
        return run

    def _resumed(self, name: str) -> Path:
        """A copy of an old run that has gone on."""
        run = self._folder / "resumed" / name
        shutil.copytree(RUNS / name, run, dirs_exist_ok=True)
        self._call(EXPECTED["resumed"][name]["command"], run)
        return run

    def _call(self, command: list[str], out: Path) -> Any:
        result = self._fit(*(word.replace("{runs}", str(RUNS)).replace("{out}", str(out)) for word in command))
        assert result.exit_code == 0, result.output
        return result


@pytest.fixture(scope="module")
def replay(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return Replay(fit, tmp_path_factory.mktemp("old_runs"))


def _steady(value: Any, names: dict[str, str]) -> Any:
    """JSON data without what depends on the machine, with names in place of folders."""
    if isinstance(value, dict):
        return {key: _steady(part, names) for key, part in value.items() if key not in CLOCK}
    if isinstance(value, list):
        return [_steady(part, names) for part in value]
    if isinstance(value, str):
        for folder, name in names.items():
            value = value.replace(folder, name)
    return value


def metrics(run: Path) -> list[dict[str, Any]]:
    """What a run has logged."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [_steady(json.loads(line), {}) for line in lines]


def weights(run: Path) -> dict[str, dict[str, Any]]:
    """Norm and hash of the weights in each file of a run that has them."""
    found = {}
    for file in WEIGHTS:
        if (run / file).exists():
            tensors = load_file(run / file)
            flat = np.concatenate([tensors[name].ravel().astype(np.float64) for name in sorted(tensors)])
            found[file] = {"values": flat.size, "norm": float(np.linalg.norm(flat)), "sha256": sha256(tensors)}
    return found


def sha256(arrays: dict[str, np.ndarray]) -> str:
    """Of arrays, their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def machine() -> list[str]:
    """What the last bits of a result depend on."""
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if "model name" in line] if cpu.exists() else []
    capability = torch.backends.cpu.get_cpu_capability()
    return [f"torch {torch.__version__}", capability, f"threads: {torch.get_num_threads()}", *names[:1]]


def differences(found: Any, expected: Any, share: float, least: float, where: str = "") -> Iterator[str]:
    """Where JSON data are not what they should be; they may say more than is expected.

    Args:
        found, expected: The data.
        share, least: Of a number or absolute, by how much it may differ: the larger of both counts.
        where: In the data this is.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, part in expected.items():
            if key in found:
                yield from differences(found[key], part, share, least, f"{where}.{key}")
            else:
                yield f"{where}.{key} is missing"
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            yield f"{where} has {len(found)} parts, not {len(expected)}"
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            yield from differences(one, other, share, least, f"{where}[{number}]")
    elif isinstance(expected, float) and isinstance(found, float):
        if found != pytest.approx(expected, rel=share, abs=least, nan_ok=True):
            yield f"{where} is {found}, not {expected}"
    elif found != expected or type(found) is not type(expected):
        yield f"{where} is {found!r}, not {expected!r}"


def check_metrics(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare logs: losses to 1e-5, norms of gradients and scores to 1e-4 of their values."""
    assert [(entry["kind"], entry["step"]) for entry in found] == [(one["kind"], one["step"]) for one in expected]
    losses, wanted = ([entry.get("loss") for entry in entries] for entries in (found, expected))
    assert losses == pytest.approx(wanted, rel=1e-5)
    assert list(differences(found, expected, 1e-4, 1e-6)) == []


def check_weights(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    """Compare which files of weights there are, and how long the vector of all weights is."""
    assert found.keys() == expected.keys()
    for file, of in expected.items():
        assert found[file]["values"] == of["values"], file
        assert found[file]["norm"] == pytest.approx(of["norm"], rel=1e-4), file


def rounded(value: Any) -> Any:
    """JSON data with floats of nine digits: sums of pixels may be rounded otherwise elsewhere."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


HEAT_MAP, HEAT_MAPS = "classify-heatmap", ("classify-heatmap", "heatmap-several")
"""A heat map with other values since: a patch of a group with few patches had the weight of many. All heat maps were
relative to the strongest patch, from 0 to 255."""


def as_bytes(layer: np.ndarray) -> np.ndarray:
    """The values of a heat map as they were written: from 0 to 255, and 0 where nothing was looked at."""
    return np.asarray(np.rint(np.nan_to_num(layer) * 255 / np.nanmax(layer)), np.uint8)


def by_patches(layer: np.ndarray) -> np.ndarray:
    """The old values of `HEAT_MAP` as they are since: times the number of patches of the group, 255 for the largest."""
    grid = PatchGrid((layer.shape[0], layer.shape[1]), 4, 4)
    values = layer.astype(np.float64)
    for place in grid.coordinates():
        values[grid.window(*place).slices()] *= math.prod(grid.filled(*place))
    return values * 255 / values.max()


OTHER_PIXELS = ("generate-ddpm",)
"""Images with other pixels since: with --shift-grid, each step is blended with the one before."""


@pytest.mark.parametrize("name", EXPECTED["asked"])
def test_an_old_run_answers_as_it_did(replay: Replay, name: str) -> None:
    expected, (document, arrays) = EXPECTED["asked"][name], replay.asked(name)
    if name in HEAT_MAPS:
        assert [each["heatmaps"][0]["shows"] for each in document] == ["evidence"]
        document = [{key: value for key, value in each.items() if key != "heatmaps"} for each in document]
        arrays = {key: as_bytes(array) for key, array in arrays.items()}
    assert list(differences(document, expected["document"], 1e-4, 1e-4)) == []
    before = {
        key.removeprefix(f"{name}/"): array
        for key, array in load_file(RUNS / "expected.safetensors").items()
        if key.startswith(f"{name}/")
    }
    assert arrays.keys() == before.keys()
    for key, array in before.items():
        assert (arrays[key].dtype, arrays[key].shape) == (array.dtype, array.shape), key
        # Levels of grey may be rounded the other way.
        tolerance = 1 if array.dtype == np.uint8 else 1e-4
        if name in OTHER_PIXELS:
            continue
        if name == HEAT_MAP:
            array, tolerance = by_patches(array), 3
        assert np.abs(arrays[key].astype(np.float64) - array).max() <= tolerance, key


@pytest.mark.walk(2)
@pytest.mark.parametrize("name", EXPECTED["resumed"])
def test_an_old_run_goes_on_as_it_would_have(replay: Replay, name: str) -> None:
    expected, run = EXPECTED["resumed"][name], replay.resumed(name)
    before, written = (json.loads((run / file).read_text()) for file in ("config.json", "last/config.json"))
    # Thresholds belong to the best weights.
    assert written | {"fit": "", "thresholds": {}} == before | {"fit": "", "thresholds": {}}
    check_metrics(metrics(run), expected["metrics"])
    check_weights(weights(run), expected["weights"])


OTHER_NOW = ("several", "classify", "classify-defaults")
"""New runs that learn other numbers: with --token-dropout, groups with equally many patches lose equally many since.

Some of the first filters of a convolutional stem see plain colours from the start since.
"""


@pytest.mark.walk(4)
@pytest.mark.parametrize("name", EXPECTED["begun"])
def test_a_new_run_learns_as_it_did(replay: Replay, name: str) -> None:
    expected, run = EXPECTED["begun"][name], replay.begun(name)
    text = (run / "config.json").read_text()
    config = json.loads(text)
    # Thresholds, the range of 8-bit pixels, the version of the rules and the sizes of the images are recorded since.
    for chosen in config.pop("thresholds", {}).values():
        assert all(0 <= threshold <= 1 for threshold in chosen.values())
    pixels = config["preprocessing"]
    assert 0 < pixels["trained_sides"][0] <= pixels.pop("trained_sides")[1] <= 256
    pixels.pop("trained_scales", None)
    assert (pixels.pop("rules"), 0 <= pixels["limits"][0] < pixels["limits"][1] <= 255) == (2, True)
    pixels["limits"] = None
    # The same names and values in the same order; only the version is another one.
    assert json.dumps(rounded(config | {"fit": ""})) == json.dumps(rounded(expected["config"] | {"fit": ""}))
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
    if name not in OTHER_NOW:
        check_metrics(metrics(run), expected["metrics"])
        check_weights(weights(run), expected["weights"])


@pytest.mark.skipif(machine() != EXPECTED["machine"], reason="elsewhere last bits may differ")
def test_where_the_old_runs_were_made_bits_are_equal(replay: Replay) -> None:
    """Those of passes: a training has another order of additions in its optimizer and at edges since."""
    for name, expected in EXPECTED["asked"].items():
        if name in (*HEAT_MAPS, *OTHER_PIXELS):
            continue
        assert {key: sha256({"": a}) for key, a in replay.asked(name)[1].items()} == expected["arrays"], name


@pytest.mark.parametrize("name", HASHES)
def test_hash_of_a_model_stays(name: str) -> None:
    checkpoint = load_run(RUNS / name, Runtime(torch.device("cpu"), "fp32"), ema=False)
    assert model_hash(checkpoint) == HASHES[name]
