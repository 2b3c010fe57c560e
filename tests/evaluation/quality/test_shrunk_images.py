"""Smaller versions of held-out images are means of their pixels, and are enlarged as another library does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.pictures import save

from fitcli.data.dataset import Sample
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.evaluation.quality.shrunk_images import add_bicubic, parted_images, write_shrunk
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.encoding.image_opener import ImageOpener

KINDS = [("uint8", 1, 255), ("uint8", 3, 255), ("uint16", 4, 4000)]


def pictures(folder: Path, dtype: str, channels: int, white: int, sides: list[tuple[int, int]]) -> list[Sample]:
    rng, suffix = np.random.default_rng(0), "png" if channels in (1, 3) else "tif"
    return [
        Sample(save(folder / f"{n}.{suffix}", rng.integers(0, white, (*size, channels)).astype(dtype)), 0)
        for n, size in enumerate(sides)
    ]


def real_images(dtype: str, channels: int, white: int) -> RealImages:
    half = (white / 2,) * channels
    pixels = Preprocessing(channels=channels, dtype=dtype, mean=half, std=half, limits=(0, white), rules=2)
    return RealImages(ImageOpener(ImageQueue(), pixels), pixels, seed=0)


@pytest.mark.parametrize(("dtype", "channels", "white"), KINDS)
@pytest.mark.parametrize("factor", [2, 4])
def test_means_of_squares(tmp_path: Path, dtype: str, channels: int, white: int, factor: int) -> None:
    samples = pictures(tmp_path, dtype, channels, white, [(32, 32), (18, 35)])
    written = write_shrunk(samples, real_images(dtype, channels, white), 2, (32, 32), factor, tmp_path)
    assert written.samples == samples
    for path, sample, (height, width) in zip(
        written.paths, samples, [(32, 32), (18 // factor * factor, 32)], strict=True
    ):
        with open_image(path) as small, open_image(sample.path) as image:
            assert small.info.size == (height // factor, width // factor)
            found, pixels = small.read(Window(0, 0, *small.info.size)), image.read(Window(0, 0, *image.info.size))
        assert found.dtype == dtype
        places = [
            (top, left) for top in range(pixels.shape[0] - height + 1) for left in range(pixels.shape[1] - width + 1)
        ]
        shape = height // factor, factor, width // factor, factor, channels
        errors = [
            np.abs(pixels[top : top + height, left : left + width].reshape(shape).mean(axis=(1, 3)) - found).max()
            for top, left in places
        ]
        assert min(errors) <= 0.51, "the window lies somewhere in the image"


def test_more_windows_than_images(tmp_path: Path) -> None:
    samples = pictures(tmp_path, "uint8", 1, 255, [(64, 64)])
    written = write_shrunk(samples, real_images("uint8", 1, 255), 9, (32, 32), 4, tmp_path)
    assert len(written.paths) == 4, "it has four disjoint windows"
    assert len(set(written.paths)) == 4


def test_images_too_small_to_shrink(tmp_path: Path) -> None:
    samples = pictures(tmp_path, "uint8", 1, 255, [(3, 9)])
    with pytest.raises(DataError, match=r"no image has a window of 32 x 32 pixels, .* give a smaller --sample-size"):
        write_shrunk(samples, real_images("uint8", 1, 255), 2, (32, 32), 4, tmp_path)


def test_smaller_images_are_taken_where_larger_ones_do_not_suffice(tmp_path: Path) -> None:
    samples = pictures(tmp_path, "uint8", 1, 255, [(12, 40), (40, 40), (3, 3), (33, 32)])
    real = real_images("uint8", 1, 255)
    assert write_shrunk(samples, real, 2, (32, 32), 4, tmp_path).samples == [samples[1], samples[3]]
    (tmp_path / "more").mkdir()
    assert write_shrunk(samples, real, 4, (32, 32), 4, tmp_path / "more").samples == [samples[n] for n in (1, 3, 0)]


def test_images_with_missing_pixels_are_replaced(tmp_path: Path) -> None:
    samples = []
    for number in range(6):
        pixels = np.full((32, 32, 1), 9, np.uint16)
        pixels[5, 7] *= number % 2  # the even ones, which are taken first, have a missing pixel
        samples.append(Sample(save(tmp_path / f"{number}.tif", pixels, nodata=0), 0))
    written = write_shrunk(samples, real_images("uint16", 1, 4000), 3, (32, 32), 4, tmp_path)
    assert written.samples == [samples[n] for n in (1, 3, 5)]
    with pytest.raises(DataError, match="that has no missing ones; give a smaller --sample-size"):
        write_shrunk(samples[::2], real_images("uint16", 1, 4000), 3, (32, 32), 4, tmp_path)


def test_bicubic_against_torch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(60, 190, (8, 8, 1)).astype(np.uint8)
    path = save(tmp_path / "small.png", small)
    real, crops = real_images("uint8", 1, 255), list[np.ndarray]()

    class Kept(CropSet):
        def add(self, pixels: np.ndarray) -> None:
            crops.append(pixels)

    kept = Kept("bicubic", (16, 16), PixelRange(0, 255, np.dtype(np.uint8)), 1)
    add_bicubic(path, real, 4, kept, [Window(8, 8, 16, 16)])
    # Keys' kernel with -0.5, as torch has it in its antialiasing version.
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(small[None, ..., 0]).double()[None], scale_factor=4, mode="bicubic", antialias=True
    )
    assert np.abs(crops[0][..., 0] - whole[0, 0, 8:24, 8:24].numpy()).max() <= 0.51


@pytest.mark.parametrize("count", [3, 4, 9, 11])
def test_parts_have_no_image_in_common(count: int) -> None:
    samples = [Sample(Path(f"{number}.png"), 0) for number in range(count)]
    shrunk, compared = parted_images(samples)
    assert sorted(shrunk + compared, key=samples.index) == samples
    assert len(shrunk) == count // 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_images(count: int) -> None:
    with pytest.raises(DataError, match="give 3 or more"):
        parted_images([Sample(Path("a.png"), 0)] * count)
