"""Test that this project computes what the published implementation computes, except for one known bug of that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import errors, is_imitated, main, read_expected, run_case, same_plans, tolerance
from support.golden_case import Case
from support.golden_models import DENOISER_NAMES, build_denoiser, import_weights

from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.schedules import parse_schedule
from models.checks import ConfigError
from models.layer_plan import parse_plan

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "tests" / "data" / "golden"
FOLDER = Path(os.environ.get("FIT_GOLDEN", COMMITTED))
CASES = sorted(path for path in FOLDER.glob("*.npz") if is_imitated(read_expected(path)[0]))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case_agrees_with_the_reference(path: Path) -> None:
    config, expected = read_expected(path)
    computed = run_case(path)
    assert isinstance(computed, dict)
    for name, error in errors(computed, expected).items():
        assert error <= tolerance(config, name, expected), name


def test_folder_is_not_empty() -> None:
    assert len(CASES) > 20


def test_layer_strings_are_accepted_and_parsed_as_in_the_reference() -> None:
    assert same_plans(FOLDER / "layer_strings.json")


def test_layer_string_error_names_the_plan() -> None:
    with pytest.raises(ConfigError, match=r"\(1\)0\(1\)1.*segment 0"):
        parse_plan("(1)0(1)1")


@pytest.mark.parametrize(
    "name", ["fit_encoder_05", "fit_denoiser_02", "fit_ar_03", "generate_ddim_01", "train_loss_02"]
)
def test_outputs_are_never_read(name: str, tmp_path: Path) -> None:
    with np.load(COMMITTED / f"{name}.npz") as file:
        kept = {key: file[key] for key in file.files if not key.startswith(("out/", "aux/", "meta"))}
    stripped = tmp_path / f"{name}.npz"
    np.savez(stripped, **kept)
    whole, bare = run_case(COMMITTED / f"{name}.npz"), run_case(stripped)
    assert isinstance(whole, dict)
    assert isinstance(bare, dict)
    assert whole.keys() == bare.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(bare[key], value)


def test_grids_of_subimages_need_not_be_square() -> None:
    path = COMMITTED / "subimages_quirk_nonsquare_grid.npz"
    _, reference = read_expected(path)
    with np.load(path) as file:
        images = file["in/images"]  # [1 8 16 1]: 2 x 4 sub-images of 4 x 4 pixels
    computed = run_case(path)
    assert isinstance(computed, dict)
    np.testing.assert_array_equal(computed["roundtrip_images"], images)
    assert computed["tokens"].shape == reference["tokens"].shape
    assert not np.array_equal(computed["tokens"], reference["tokens"])
    for row in range(2):
        for column in range(4):
            sub_image = images[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4, 0]
            patches = [sub_image[y : y + 2, x : x + 2].ravel() for y in (0, 2) for x in (0, 2)]
            np.testing.assert_array_equal(computed["tokens"][0, 4 * row + column], patches)


def test_weights_are_imported_exactly() -> None:
    case = Case(COMMITTED / "fit_denoiser_02.npz")
    model = build_denoiser(case.config, case.weights, case.inputs["x"].shape[-1], case.inputs["cond"].shape[-1])
    state = model.state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == sum(tensor.numel() for tensor in case.weights.values())
    parts = ("query", "key", "value")
    reference = [case.weights[f"x_network/0/layers/1/mha/{part}/kernel"] for part in parts]  # [c h e]
    fused = state["trunk.segments.0.local.layers.1.attention.query_key_value.weight"]
    assert torch.equal(fused, torch.cat([kernel.flatten(1).T for kernel in reference]))
    reference = [case.weights[f"l2x_cross_attn/0/cross_mha/{part}/bias"] for part in parts[1:]]  # [h e]
    fused = state["trunk.segments.0.read.attention.key_value.bias"]
    assert torch.equal(fused, torch.cat([bias.flatten() for bias in reference]))
    out = case.weights["x2l_cross_attn/0/cross_mha/output/kernel"]  # [h e c]
    assert torch.equal(state["trunk.segments.0.write.attention.out.weight"], out.flatten(0, 1).T)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(KeyError, match="stranger/kernel"):
        import_weights({"stranger/kernel": torch.zeros(1)}, DENOISER_NAMES)


def test_run_case_can_be_imported_from_the_root_and_beside_the_tests() -> None:
    from tests.golden import run_case as from_root

    path = COMMITTED / "masks.npz"
    assert run_case(path).keys() == from_root(path).keys()
    code = f"from tests.golden import run_case; print(sorted(run_case({str(path)!r})))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("['0', '1'")


def test_the_table_names_every_case_and_its_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("masks.npz", "subimages_01.npz", "subimages_quirk_nonsquare_grid.npz", "layer_strings.json"):
        (tmp_path / name).write_bytes((COMMITTED / name).read_bytes())
    assert main(str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "layer_strings", "masks", "subimages_01", "subimages_quirk_nonsquare_grid",
    ]  # fmt: skip
    assert "0.0e+00" in lines[2]


def test_unknown_sampler_and_schedule_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown_name"):
        find_step("unknown_name")
    with pytest.raises(ConfigError, match="linear"):
        parse_schedule("linear")
