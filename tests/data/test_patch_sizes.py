"""The usual size of the patches of a data set, and the files that have another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fitcli.data.patch_sizes import usual_patch_size
from fitcli.images.base import ImageInfo
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.patch_size import PatchSize


def file(name: str, patch: float | None, stated: bool = True, power: float | None = None) -> tuple[Path, ImageInfo]:
    grid = FeatureGrid(side=patch or 1, patch=patch, states_patch=stated, magnification=power)
    return Path(name), ImageInfo(height=4, width=4, channels=8, dtype=np.dtype("f4"), features=grid)


def test_files_without_a_size_have_no_usual_one() -> None:
    assert usual_patch_size([]) is None
    assert usual_patch_size([file("a", None), file("b", None)]) is None
    pixels = ImageInfo(height=4, width=4, channels=3, dtype=np.dtype("u1"))
    assert usual_patch_size([(Path("a.png"), pixels)]) is None


def test_the_most_common_stated_size_is_the_usual_one() -> None:
    files = [file("a", 256), file("b", 512), file("c", 512), *(file(f"{n}", 128, False) for n in range(5))]
    usual = usual_patch_size(files)
    assert usual is not None
    assert usual.size == PatchSize(512)
    assert list(usual.misfits) == [Path("a")]
    assert usual.misfits[Path("a")].startswith("a: has features of patches of 256 pixels, b of 512 pixels; extract all")
    (warning,) = usual.warnings
    assert warning.startswith("0 (and 4 more files): has patches at a distance of 128 pixels, b has patches of 512")


def test_slides_of_two_scales_with_patches_of_one_size_agree() -> None:
    files = [file("a", 512, power=40), file("b", 256, power=20), file("c", 256, power=20), file("d", 512, power=40)]
    usual = usual_patch_size([*files, file("e", 256, power=40)])
    assert usual is not None
    assert list(usual.misfits) == [Path("e")] if usual.size.pixels == 512 else not usual.misfits
    usual = usual_patch_size(files)
    assert usual is not None
    assert not usual.misfits
    assert not usual.warnings


def test_files_that_state_no_size_give_a_warning_at_most() -> None:
    usual = usual_patch_size([file("a", 512, False), file("b", 512, False), file("c", 256, False)])
    assert usual is not None
    assert not usual.misfits
    (warning,) = usual.warnings
    assert warning.startswith("c: has patches at a distance of 256 pixels, a has patches at a distance of 512 pixels;")
