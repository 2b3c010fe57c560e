"""`fit embed`: exit code, stdout, stderr and the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from safetensors.numpy import load_file
from support.command_line import Fit
from support.pictures import colored, save

from fitcli.tasks.encoding import embed_files


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    save(folder / "sky.tif", colored((300, 600), (40, 60, 200), 100), mpp=0.25)
    save(folder / "sea.zarr", colored((50, 700), (40, 60, 200), 102))
    return folder


def test_one_image_to_one_file(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sky.safetensors"
    result = fit("embed", images / "sky.tif", "--checkpoint", trained, "--out", out, "--patches")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert str(out) in result.stdout
    arrays = load_file(out)
    assert arrays["latents"].shape == (15, 2, 64)
    assert arrays["patches"].shape == (15, 64, 64)
    assert arrays["windows"].tolist()[-1] == [256, 512, 44, 88]


def test_several_images_to_a_folder(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    paths = (tmp_path / "broken.tif", images / "sky.tif", images / "sea.zarr")
    result = fit("embed", *paths, "--checkpoint", trained, "--out", tmp_path / "out", "--json", "--memory", "2GiB")
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert "sky.tif: memory: 2.00 GiB allowed, about" in result.stderr
    sky, sea = json.loads(result.stdout)
    assert sky == {
        "path": str(images / "sky.tif"), "out": str(tmp_path / "out" / "sky.zarr"), "groups": 15, "latents": 2,
        "width": 64, "memory": {"budget_bytes": 2**31, "store": "host", "handful_groups": 15},
    }  # fmt: skip
    assert sea["groups"] == 6
    group = zarr.open_group(tmp_path / "out" / "sky.zarr", mode="r")
    assert (group.attrs["image"], group.attrs["mpp"]) == ("sky.tif", 0.25)
    assert np.isfinite(group["latents"][...]).all()


def test_background_is_left_out(fit: Fit, trained: Path, tmp_path: Path) -> None:
    pixels = np.full((512, 512, 3), 200, np.uint8)
    pixels[300:360, 300:360] = 20
    save(tmp_path / "a.tif", pixels)
    out = tmp_path / "a.safetensors"
    result = fit("embed", tmp_path / "a.tif", "--checkpoint", trained, "--out", out, "--skip-background")
    assert result.exit_code == 0, result.stderr
    assert load_file(out)["coordinates"].tolist() == [[2, 2]]


def test_background_is_left_out_as_in_training_unless_told_otherwise(fit: Fit, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    config = json.loads((run / "config.json").read_text())
    assert "background" not in config["preprocessing"]
    config["preprocessing"]["background"] = 0.3
    (run / "config.json").write_text(json.dumps(config))
    pixels = np.full((512, 512, 3), 200, np.uint8)
    # Of a range of 255: a strong mark and a faint one.
    pixels[300:360, 300:360], pixels[20:100, 20:100] = 20, 170
    save(tmp_path / "a.tif", pixels)
    found = []
    for number, options in enumerate(([], ["--skip-background"], ["--no-skip-background"])):
        out = tmp_path / f"{number}.safetensors"
        result = fit("embed", tmp_path / "a.tif", "--checkpoint", run, "--out", out, *options)
        assert result.exit_code == 0, result.stderr
        found.append(load_file(out)["coordinates"].tolist())
    assert found == [[[2, 2]], [[0, 0], [2, 2]], [[row, column] for row in range(4) for column in range(4)]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "missing/a.zarr"], 1, "make it first"),
        (["--out", "a.safetensors", "--memory", "lots"], 2, "no size"),
        (["--out", "a.safetensors", "--memory", "1MiB"], 1, "need at least"),
        ([], 2, "--out"),
    ],
)
def test_mistakes_are_one_line(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = fit("embed", images / "sky.tif", "--checkpoint", trained, *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system that takes no file")
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    fit: Fit, trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_files, "embed_image", None)
    result = fit("embed", images / "sky.tif", "--checkpoint", trained, "--out", "/proc/a.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --out /proc/a.safetensors: cannot be written to (")
    assert result.stderr.count("\n") == 1
