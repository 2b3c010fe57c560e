"""Compute golden cases of the published FIT with the public code of this project, and compare the results.

`run_case(path)` reads only `config`, `w/...` and `in/...` of a case. The script prints the largest absolute error of
every case in a folder:  python tests/golden.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# This makes `tests.golden` importable from the root of the repository, too.
sys.path.append(str(Path(__file__).parent))

from support import golden_diffusion, golden_functions, golden_models
from support.golden_case import Case

Arrays = dict[str, NDArray[Any]]
"""Outputs of a case by name, without `out/`."""

Runner = Callable[[Case], Mapping[str, Any]]

RUNNERS: dict[str, Runner] = {
    "FIT": golden_models.run_encoder,
    "FITDenoiser": golden_models.run_denoiser,
    "FITAR": golden_models.run_decoder,
    "generate": golden_diffusion.run_generate,
    "train_loss": golden_diffusion.run_train_loss,
    "ar_model": golden_models.run_image_model,
    "sin_cos position codes": golden_functions.run_positions,
    "attention masks, 1=may attend": golden_functions.run_masks,
    "extract_patches": golden_functions.run_patches,
    "images2subimages2tokens + tokens2subimages2images": golden_functions.run_subimages,
    "image2seqs": golden_functions.run_sequences,
    "time schedules": golden_diffusion.run_schedules,
    "add_noise": golden_diffusion.run_add_noise,
    "get_x0_eps": golden_diffusion.run_interpret,
    "transition_step": golden_diffusion.run_step,
}


def kind_of(config: Mapping[str, Any]) -> str:
    """Return the kind of a case, a key of `RUNNERS`."""
    if "function" in config:
        return str(config["function"])
    if "ar" in config:
        return "ar_model"
    if "denoiser" in config:
        return "train_loss" if "train_schedule" in config else "generate"
    return str(config["cls"])


def run_case(path: str | Path) -> Arrays | list[dict[str, Any]]:
    """Compute the outputs of a golden file.

    Returns:
        All arrays of the file under `out/`, by name without `out/`; for `layer_strings.json` a list of
        `{string, accepted, parsed | error}`.
    """
    path = Path(path)
    if path.name.startswith("layer_strings"):
        return [golden_functions.layer_string(entry["string"]) for entry in json.loads(path.read_text())]
    case = Case(path)
    with torch.inference_mode():
        outputs = RUNNERS[kind_of(case.config)](case)
    return {name: np.asarray(value) for name, value in outputs.items()}


def read_expected(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the configuration of a case and the outputs of the reference."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["config"])), {k[4:]: file[k] for k in file.files if k.startswith("out/")}


def errors(computed: Arrays, expected: Arrays) -> dict[str, float]:
    """Return the largest absolute difference of each output to the reference.

    Raises:
        AssertionError: The outputs have other names or shapes than those of the reference.
    """
    assert set(expected) == set(computed), f"computed {sorted(computed)}, expected {sorted(expected)}"
    return {name: _distance(name, computed[name], value) for name, value in expected.items()}


def tolerance(config: Mapping[str, Any], name: str, expected: Arrays) -> float:
    """Return the allowed difference of an output to the reference: rounding in float32."""
    kind = kind_of(config)
    if kind in ("extract_patches", "images2subimages2tokens + tokens2subimages2images", "image2seqs"):
        return 0.0
    if name in ("input_seq", "target_seq", "tokens_scaled"):
        return 0.0
    if name.startswith("trace/"):
        return 1e-4 * max(float(np.abs(value).max()) for key, value in expected.items() if key.startswith("trace/"))
    if kind in ("attention masks, 1=may attend", "time schedules", "add_noise"):
        return 1e-6
    return 1e-4


def is_imitated(config: Mapping[str, Any]) -> bool:
    """Return False for the known bug of the reference with grids of sub-images that are not square."""
    return bool(config.get("roundtrip_exact", True))


def same_plans(path: Path) -> bool:
    """Return whether the strings of a `layer_strings.json` are accepted and parsed as in the reference."""
    expected, computed = json.loads(path.read_text()), run_case(path)
    assert isinstance(computed, list)
    return [(entry["accepted"], entry.get("parsed")) for entry in expected] == [
        (entry["accepted"], entry.get("parsed")) for entry in computed
    ]


def _distance(name: str, computed: NDArray[Any], expected: NDArray[Any]) -> float:
    assert computed.shape == expected.shape, f"{name}: computed {computed.shape}, expected {expected.shape}"
    return float(np.abs(computed.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def main(folder: str) -> int:
    """Print the table of errors; return the number of cases with an error above its tolerance."""
    torch.set_num_threads(1)
    print(f"{'case':32} {'error':>9} {'allowed':>9}  output nearest to its limit")
    failed = 0
    for path in sorted(Path(folder).glob("layer_strings*.json")):
        agrees = same_plans(path)
        failed += not agrees
        print(f"{path.stem:32} {'agrees' if agrees else 'DIFFERS'}")
    for path in sorted(Path(folder).glob("*.npz")):
        config, expected = read_expected(path)
        if not is_imitated(config):
            print(f"{path.stem:32} a bug of the reference, not imitated")
            continue
        computed = run_case(path)
        assert isinstance(computed, dict)
        rows = [(error, tolerance(config, name, expected), name) for name, error in errors(computed, expected).items()]
        error, allowed, name = max(rows, key=lambda row: row[0] / max(row[1], 1e-12))
        failed += error > allowed
        print(f"{path.stem:32} {error:9.1e} {allowed:9.1e}  {name}{'' if error <= allowed else '  TOO FAR'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) > 0)
