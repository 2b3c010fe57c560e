"""Images are published at the end of a link, replace only images, and their errors name the path that was given."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fitcli.errors import ImageError
from fitcli.images.publishing import ImagePublication, cannot_write

MARKERS = ("zarr.json", ".zarray")


@pytest.mark.parametrize(
    ("code", "needed", "message"),
    [
        (errno.ENOSPC, None, "image.tif: cannot be written: the disk is full; free some space or write elsewhere"),
        (errno.EDQUOT, 2_500_000, r"the disk is full \(about 2.5 MB more are needed there\); free some space"),
        (errno.EACCES, 2_500_000, "cannot be written: Permission denied; check the folder and its permissions"),
    ],
)
def test_messages(code: int, needed: int | None, message: str) -> None:
    error = cannot_write(Path("image.tif"), OSError(code, os.strerror(code)), needed)
    with pytest.raises(ImageError, match=message):
        raise error


def test_errors_of_images_stay_as_they_are() -> None:
    error = ImageError("other.tif", "is closed")
    assert cannot_write(Path("image.tif"), error) is error


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "image").write_text("old")
    (tmp_path / "link").symlink_to("image")
    with ImagePublication(tmp_path / "link") as publication:
        publication.path.write_text("new")
        assert (tmp_path / "image").read_text() == "old"
    assert (tmp_path / "image").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("marker", MARKERS)
def test_only_folders_with_a_marker_are_replaced(tmp_path: Path, marker: str) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / marker).touch()
    with ImagePublication(tmp_path / "image", MARKERS) as publication:
        (publication.path / "new").touch()
        (publication.path / marker).touch()
    assert sorted(os.listdir(tmp_path / "image")) == sorted(["new", marker])
    (tmp_path / "image" / marker).unlink()
    with pytest.raises(ImageError, match="not a zarr folder"):
        ImagePublication(tmp_path / "image", MARKERS)
    assert os.listdir(tmp_path) == ["image"]


@pytest.mark.parametrize("markers", [None, MARKERS])
def test_something_else_that_appears_meanwhile_is_not_replaced(tmp_path: Path, markers: tuple[str, ...] | None) -> None:
    def publish() -> None:
        with ImagePublication(tmp_path / "image", markers) as publication:
            if markers is None:
                publication.path.touch()
            (tmp_path / "image").mkdir()
            (tmp_path / "image" / "thesis.txt").touch()

    with pytest.raises(ImageError, match="choose another name"):
        publish()
    assert os.listdir(tmp_path / "image") == ["thesis.txt"]
    assert os.listdir(tmp_path) == ["image"]


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nowhere does not exist; create it first"):
        ImagePublication(tmp_path / "nowhere" / "image")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="is not a folder"):
        ImagePublication(tmp_path / "file" / "image")
