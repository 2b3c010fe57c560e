"""Where output goes: a folder that is named for it is made, the folder of a file has to be there, for every option."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from support.command_line import Fit
from support.generators import make_run
from support.pictures import colored, save


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("images") / "image.png", colored((64, 64), (40, 60, 200), 1))


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "denoiser")


FILES = [
    ("classify {image} --checkpoint {trained} --device cpu --csv {new}/lines.csv", "--csv"),
    ("classify {image} --checkpoint {trained} --device cpu --heatmap {new}/heat.tif", "--heatmap"),
    ("evaluate {dataset} --checkpoint {trained} --device cpu --csv {new}/lines.csv", "--csv"),
    ("embed {image} --checkpoint {trained} --device cpu --out {new}/features.zarr", "--out"),
    ("segment {image} --checkpoint {trained} --device cpu --out {new}/map.tif", "--out"),
    ("segment {image} --checkpoint {trained} --device cpu --out map.tif --polygons {new}/a.gpkg", "--polygons"),
    (
        "segment {image} --checkpoint {trained} --device cpu --out map.tif --probabilities {new}/p.tif",
        "--probabilities",
    ),
    ("detect {image} --checkpoint {trained} --device cpu --out {new}/a.geojson", "--out"),
    ("detect {image} --checkpoint {trained} --device cpu --overlay {new}/a.png", "--overlay"),
    ("generate --checkpoint {denoiser} --device cpu --steps 1 --out {new}/image.png", "--out"),
    ("generate --checkpoint {denoiser} --device cpu --steps 1 --out {new}/image.zarr --count 2", "--out"),
    ("generate --checkpoint {denoiser} --device cpu --out image.png --preview {new}/small.png", "--preview"),
    ("profile-memory --preset debug --plot {new}/plot.png", "--plot"),
]
FOLDERS = [
    "classify {image} --checkpoint {trained} --device cpu --heatmap {new}/maps",
    "classify {image} --checkpoint {trained} --device cpu --state {new}/state",
    "embed {image} --checkpoint {trained} --device cpu --out {new}/features",
    "train {dataset} --out {new}/run --preset debug --steps 1 --device cpu",
]


@pytest.mark.parametrize(("line", "option"), FILES)
def test_the_folder_of_a_file_has_to_be_there(
    fit: Fit, tmp_path: Path, dataset: Path, trained: Path, denoiser: Path, image: Path, line: str, option: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if option == "--plot":
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    new = tmp_path / "new"
    places = {"image": image, "dataset": dataset, "trained": trained, "denoiser": denoiser, "new": new}
    result = fit(*line.format(**places).split())
    assert result.exit_code == 1, result.output
    assert f"error: {option} {new}/" in result.stderr
    assert f"no folder {new}; make it first" in result.stderr
    assert (result.stdout, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize("line", FOLDERS)
def test_a_folder_is_made(fit: Fit, tmp_path: Path, dataset: Path, trained: Path, image: Path, line: str) -> None:
    new = tmp_path / "new"
    result = fit(*line.format(image=image, dataset=dataset, trained=trained, new=new).split())
    assert result.exit_code == 0, result.stderr
    assert new.is_dir()


LINKED = [
    "classify {image} --checkpoint {trained} --device cpu --csv {out}.csv",
    "classify {image} --checkpoint {trained} --device cpu --heatmap {out}.png",
    "classify {image} --checkpoint {trained} --device cpu --heatmap {out}.tif",
    "classify {image} --checkpoint {trained} --device cpu --heatmap {out}.zarr",
    "evaluate {dataset} --checkpoint {trained} --device cpu --csv {out}.csv",
    "embed {image} --checkpoint {trained} --device cpu --out {out}.zarr",
    "embed {image} --checkpoint {trained} --device cpu --out {out}.safetensors",
    "generate --checkpoint {denoiser} --device cpu --steps 1 --overwrite --out {out}.png",
    "generate --checkpoint {denoiser} --device cpu --steps 1 --overwrite --out {out}.ome.tif",
    "generate --checkpoint {denoiser} --device cpu --steps 1 --overwrite --out {out}.zarr",
    "generate --checkpoint {denoiser} --device cpu --steps 1 --overwrite --out image.png --preview {out}.png",
    "profile-memory --preset debug --plot {out}.png",
]


@pytest.mark.walk(4)
@pytest.mark.parametrize("line", LINKED, ids=lambda line: f"{line.split()[0]} {' '.join(line.split()[-2:])}")
def test_an_output_goes_to_the_end_of_a_link(
    fit: Fit, tmp_path: Path, dataset: Path, trained: Path, denoiser: Path, image: Path, line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The link stays. Nothing stands at its end at first, and an output of before the second time."""
    if "--plot" in line:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    suffix = line.rpartition("{out}")[2].split()[0]
    link, end = tmp_path / f"out{suffix}", tmp_path / "store" / f"other{suffix}"
    link.symlink_to(Path("store", end.name))
    places = {"image": image, "dataset": dataset, "trained": trained, "denoiser": denoiser, "out": tmp_path / "out"}
    missing = fit(*line.format(**places).split())
    assert missing.exit_code == 1
    assert f"no folder {end.parent}; make it first" in missing.stderr
    end.parent.mkdir()
    found = []
    for _ in range(2):
        result = fit(*line.format(**places).split())
        assert result.exit_code == 0, result.stderr
        assert link.is_symlink()
        found.append(end.lstat().st_ino)
    assert found[0] != found[1], "another one stands there"
    assert [path.name for path in end.parent.iterdir()] == [end.name]


TABLES = [
    "classify {listed} --checkpoint {trained} --device cpu --csv {out}",
    "evaluate {listing} --checkpoint {trained} --device cpu --split all --csv {out}",
]


@pytest.mark.parametrize("line", TABLES)
def test_a_name_is_no_formula_in_a_table(
    fit: Fit, tmp_path: Path, dataset: Path, trained: Path, image: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fit reads the same image from the table that it wrote."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(image, "=1+1.png")
    label, *_ = sorted(path.name for path in dataset.iterdir() if path.is_dir())
    listing, out = Path("list.csv"), Path("out.csv")
    listing.write_text(f"path,label\n=1+1.png,{label}\n")
    places = {"listed": "=1+1.png", "listing": listing, "trained": trained, "out": out}
    assert fit(*line.format(**places).split()).exit_code == 0
    _, row = csv.reader(out.open(newline=""))
    assert row[0] == "'=1+1.png"
    again = fit("evaluate", out, "--checkpoint", trained, "--device", "cpu", "--split", "all", "--json")
    assert json.loads(again.stdout)["images"] == 1


OVER = [
    ("classify {image} --checkpoint {trained} --device cpu --csv {image}", "--csv"),
    ("evaluate {listing} --checkpoint {trained} --device cpu --csv {listing}", "--csv"),
    (
        "generate --checkpoint {denoiser} --device cpu --image {image} --res 96 --out a.png --preview {image}",
        "--preview",
    ),
    ("generate --checkpoint {denoiser} --device cpu --out {out} --preview {out}", "--preview"),
]


@pytest.mark.parametrize(("line", "option"), OVER)
def test_nothing_that_is_read_or_written_is_written_over(
    fit: Fit, tmp_path: Path, dataset: Path, trained: Path, denoiser: Path, line: str, option: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    image = save(tmp_path / "image.png", colored((64, 64), (40, 60, 200), 1))
    listing = tmp_path / "list.csv"
    label, *_ = sorted(path for path in dataset.iterdir() if path.is_dir())
    listing.write_text("path,label\n" + "".join(f"{path},{label.name}\n" for path in sorted(label.iterdir())))
    before = image.read_bytes(), listing.read_bytes()
    places = {"image": image, "listing": listing, "trained": trained, "denoiser": denoiser, "out": tmp_path / "out.png"}
    result = fit(*line.format(**places).split())
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith(f"error: {option} {tmp_path}/")
    assert "would replace what this command reads or writes" in result.stderr
    assert (image.read_bytes(), listing.read_bytes()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"image.png", "list.csv"}
