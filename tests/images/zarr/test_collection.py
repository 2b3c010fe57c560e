"""Collections of zarr images: the layout of bioformats2raw, plates and wells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import zarr
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from tests.images.test_plane_grids import collection, image, plane, plate

CHOSEN: dict[str, Any] = {"z": "1", "t": 0}


def test_the_series_that_bioformats2raw_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    collection(path)
    with pytest.raises(UnreadableAs, match=r"holds 2 images \(0, 1\); choose one with --series N\|NAME"):
        open_image(path)
    with pytest.raises(UnreadableAs, match=r"has no series 2, only 2 \(0, 1\); give another --series"):
        open_image(path, choice=PlaneChoice(series="2"))
    for choice in (PlaneChoice(series="1", **CHOSEN), PlaneChoice(**CHOSEN)):
        with open_image(path if choice.series else path / "1", choice=choice) as reader:
            assert_equal(read_all(reader), plane(0, 1, 0, 1, 2, 3))
    with open_image(path, lenient=True) as reader:
        contents = reader.describe_contents()
    assert [series.name for series in contents.series] == ["0", "1"]
    assert (contents.series[1].focal_planes, contents.series[1].channel_names[1]) == (3, "488")
    assert contents.undecided
    with open_image(path, choice=PlaneChoice(series="1"), lenient=True) as reader:
        assert not reader.describe_contents().undecided


def test_a_single_series_needs_no_choice(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    collection(path)
    shutil.rmtree(path / "0")
    (path / "1").rename(path / "0")
    with open_image(path, choice=PlaneChoice(**CHOSEN)) as reader:
        assert_equal(read_all(reader), plane(0, 1, 0, 1, 2, 3))


def test_the_series_that_the_group_ome_lists(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    collection(path)
    (path / "1").rename(path / "cells")
    zarr.create_group(path / "OME").attrs["ome"] = {"version": "0.5", "series": ["0", "cells"]}
    with open_image(path, choice=PlaneChoice(series="cells", **CHOSEN)) as reader:
        assert_equal(read_all(reader), plane(0, 1, 0, 1, 2, 3))


def test_plates_and_wells_by_path_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "plate.zarr"
    plate(path)
    for where, series in (("", "A/2/1"), ("A/2", "1"), ("A/2/1", None), ("", "3")):
        with open_image(path / where, choice=PlaneChoice(series=series, **CHOSEN)) as reader:
            assert_equal(read_all(reader), plane(0, 1, 0, 1, 2, 3))
    with pytest.raises(UnreadableAs, match=r"holds 5 images \(A/1/0, A/1/1, A/2/0, A/2/1, A/3/0\); choose one"):
        open_image(path)


def test_a_well_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "plate.zarr"
    plate(path)
    with pytest.raises(UnreadableAs, match=r"lists the image A/3/0, but has no such folder; give another --series"):
        open_image(path, choice=PlaneChoice(series="A/3/0"))
    with open_image(path, lenient=True) as reader:
        assert [series.missing for series in reader.describe_contents().series] == [*[""] * 4, "no such folder"]
    for well in ("A/1", "A/2"):
        shutil.rmtree(path / well)
    with pytest.raises(ImageError, match=r"has none of the images that its metadata list \(A/1/0, A/2/0, A/3/0\)"):
        open_image(path)


@pytest.mark.parametrize("well", ["../x", "A/../../x", "", "/A"])
def test_paths_that_lead_out_of_a_plate(tmp_path: Path, well: str) -> None:
    zarr.create_group(tmp_path / "p.zarr").attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": well}]}}
    with pytest.raises(ImageError, match="not inside it; the metadata is forged"):
        open_image(tmp_path / "p.zarr")


def test_links_that_lead_out_of_a_plate(tmp_path: Path) -> None:
    image(tmp_path / "secret.zarr")
    plate(tmp_path / "p.zarr")
    shutil.rmtree(tmp_path / "p.zarr" / "A" / "1" / "0")
    (tmp_path / "p.zarr" / "A" / "1" / "0").symlink_to(tmp_path / "secret.zarr")
    with pytest.raises(ImageError, match="a link that leads out of the zarr store"):
        open_image(tmp_path / "p.zarr", choice=PlaneChoice(series="A/1/0", **CHOSEN))


def test_a_collection_without_images(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr").attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    with pytest.raises(ImageError, match="is a collection without images"):
        open_image(tmp_path / "x.zarr")
    document = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())
    document["attributes"]["ome"] = {"plate": {"wells": "A/1"}}
    (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(ImageError, match="metadata of a collection that cannot be read"):
        open_image(tmp_path / "x.zarr")
