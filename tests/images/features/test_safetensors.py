"""Features that `fit embed --patches` writes as safetensors are images of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.embedded import write_embedded
from support.reader_contract import Case, ReaderContract

from fitcli.errors import ImageError
from fitcli.images.open import open_image


class TestSafetensorsReader(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        return Case(tmp_path / "a.safetensors", [write_embedded(tmp_path / "a.safetensors")])


def test_the_description(tmp_path: Path) -> None:
    write_embedded(tmp_path / "a.safetensors")
    with open_image(tmp_path / "a.safetensors") as image:
        info, grid = image.info, image.info.features
    assert grid is not None
    assert (info.height, info.width, info.channels, info.format, info.mpp) == (7, 10, 6, "fit features", 8.0)
    assert (grid.side, grid.slide, grid.mpp, grid.missing) == (16, (105, 160), 0.5, 4 * 4)


def forged(change: Any) -> Any:
    def write(path: Path) -> None:
        write_embedded(path)
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])

    return write


def truncated(path: Path) -> None:
    write_embedded(path)
    path.write_bytes(path.read_bytes()[:-9])


BAD: dict[str, tuple[Any, str]] = {
    "weights": (forged(lambda header: header.pop("patches")), "no 'patches'.*write them with `fit embed --patches`"),
    "truncated": (truncated, "is incomplete"),
    "long": (forged(lambda header: header["patches"].update(shape=[10**9, 16, 6])), "is incomplete"),
    "no size": (forged(lambda header: header["__metadata__"].update(patch="-3")), "no size"),
    "huge": (
        forged(lambda header: header["__metadata__"].update(height="2000000000")),
        "of 125,000,000 x 10 places",
    ),
    "another group": (forged(lambda header: header["__metadata__"].update(group="5")), "has patches of shape"),
    "outside": (forged(lambda header: header["__metadata__"].update(height="16")), "twice or outside"),
    "no header": (lambda path: path.write_bytes(b"\xff" * 8 + b"{" + bytes(99)), "its header is damaged"),
    "no JSON": (lambda path: path.write_bytes(b"\x09" + bytes(7) + b"{nothing}" + bytes(99)), "holds no features"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, message = BAD[name]
    path = tmp_path / "bad.safetensors"
    write(path)
    with pytest.raises(ImageError, match=message) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_values_are_those_of_the_groups(tmp_path: Path) -> None:
    pixels = write_embedded(tmp_path / "a.safetensors")
    assert np.isnan(pixels[:4, 4:8]).all(), "the group that was left out"
    assert np.isfinite(pixels[:4, :4]).all()
