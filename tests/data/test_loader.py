"""Batches: what is in them follows from the seed, the epoch and the position alone."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.pictures import endless_image, save

from fitcli.data.bad_images import BadImages, TooManyBadImages
from fitcli.data.batch import Batch
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader
from fitcli.data.place import Layout, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.errors import DataError
from fitcli.patches.cutting import to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels

PATCH, GROUP = 4, 2
RGB = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
SIZES = ((20, 30), (9, 8), (33, 12), (16, 16), (7, 40))


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number], 3), np.uint8)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Five images of different sizes. The label of each is its number, so that a batch tells which images it holds."""
    folder = tmp_path_factory.mktemp("images")
    return [Sample(save(folder / f"{number}.png", pixels(number)), number) for number in range(len(SIZES))]


def loader(samples: Sequence[Sample], threads: int = 2, batch_size: int = 2, **rules: Any) -> Loader:
    return Loader(samples, reading(**rules), batch_size, threads)


def reading(**rules: Any) -> Reading:
    """Read whole images as they are, unless the rules change that. The target of an image is its class."""
    layout, targets = Layout(patch=PATCH, group=GROUP), ClassLabelReader()
    return Reading(layout=layout, rules=PlaceRules(**rules), preprocessing=RGB, targets=targets)


def labels_of(batch: Batch) -> list[int]:
    assert isinstance(batch.target, ClassLabels)
    labels: list[int] = batch.target.numbers.tolist()
    return labels


def images(batch: Batch, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Put the images of a batch together again."""
    parts = batch.patches.split(batch.groups.counts())
    grids = [PatchGrid(size, PATCH, GROUP) for size in sizes]
    return [to_pixels(part, grid) for part, grid in zip(parts, grids, strict=True)]


def real_patches(batch: Batch) -> torch.Tensor:
    """[g n], which patches are no padding."""
    mask = batch.groups.mask
    return torch.ones(batch.patches.shape[:2], dtype=torch.bool) if mask is None else mask


def laid(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """The only image of a batch, its groups where their coordinates say, and which of its pixels are no padding."""
    side = PATCH * GROUP
    places = batch.groups.coordinates - batch.groups.coordinates.amin(0)
    height, width = ((places.amax(0) + 1) * side).tolist()
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for (row, column), patches, real in zip(places.tolist(), batch.patches, real_patches(batch), strict=True):
        for number in range(GROUP**2):
            top, left = row * side + number // GROUP * PATCH, column * side + number % GROUP * PATCH
            image[top : top + PATCH, left : left + PATCH] = patches[number].reshape(PATCH, PATCH, 3)
            mask[top : top + PATCH, left : left + PATCH] = real[number]
    return image, mask


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("patches", "gain", "shift"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert labels_of(one) == labels_of(other)
    for mine, theirs in zip(one.groups, other.groups, strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs


def test_a_batch_holds_whole_images_of_different_sizes(samples: list[Sample]) -> None:
    for batch in loader(samples).batches(0, 5):
        labels = labels_of(batch)
        for label, image in zip(labels, images(batch, [SIZES[label] for label in labels]), strict=True):
            np.testing.assert_array_equal(image, pixels(label))
        assert batch.groups.images == 2
        assert (batch.gain.unique().tolist(), batch.shift.unique().tolist()) == ([1.0], [0.0])
        batch.groups.check_values(batch.patches, GROUP**2)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_every_epoch_sees_every_image_once_in_another_order(samples: list[Sample], size: int) -> None:
    batches = loader(samples, batch_size=size).batches(0, 35 // size + 1)
    seen = [label for batch in batches for label in labels_of(batch)]
    epochs = [tuple(seen[start : start + 5]) for start in range(0, 35, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_a_batch_is_the_same_wherever_the_reading_begins(samples: list[Sample]) -> None:
    many = loader(samples, augment=True, size=8)
    whole = list(many.batches(0, 9))
    assert len(whole) == 9
    for start, stop in ((0, 1), (4, 9), (8, 9), (3, 5)):
        part = list(many.batches(start, stop))
        assert len(part) == stop - start
        for one, other in zip(part, whole[start:stop], strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_a_batch_does_not_depend_on_the_number_of_threads(samples: list[Sample], threads: int) -> None:
    few, many = loader(samples, augment=True, size=8), loader(samples, threads, augment=True, size=8)
    for one, other in zip(few.batches(0, 6), many.batches(0, 6), strict=True):
        assert_same(one, other)


def test_the_seed_matters(samples: list[Sample]) -> None:
    orders = {
        tuple(label for batch in loader(samples, seed=seed).batches(0, 5) for label in labels_of(batch))
        for seed in range(4)
    }
    assert len(orders) == 4


def test_windows_have_their_size_and_lie_in_the_image(samples: list[Sample]) -> None:
    found = set()
    for batch in loader(samples[:1], batch_size=1, size=8).batches(0, 60):
        (window,) = images(batch, [(8, 8)])
        places = [
            (top, left)
            for top in range(20 - 8 + 1)
            for left in range(30 - 8 + 1)
            if np.array_equal(pixels(0)[top : top + 8, left : left + 8], window)
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 40, "the windows are spread over the image"
    assert max(top for top, _ in found) > 8
    assert max(left for _, left in found) > 16


def test_a_window_takes_what_a_small_image_has(samples: list[Sample]) -> None:
    (batch,) = loader(samples[2:3], batch_size=1, size=14).batches(0, 1)
    (window,) = images(batch, [(14, 12)])
    assert any(np.array_equal(pixels(2)[top : top + 14], window) for top in range(20))


def test_augmentation_turns_and_flips_and_nothing_else(samples: list[Sample]) -> None:
    # Only the padding is turned with the image: 20 x 30 pixels fill 3 x 4 groups of 8 x 8 pixels.
    padded = np.pad(pixels(0), ((0, 4), (0, 2), (0, 0)), mode="edge")
    filled = np.zeros((24, 32), bool)
    filled[:20, :32] = True
    eight = [
        [np.rot90(array[:, ::step], turns) for array in (padded, filled)] for step in (1, -1) for turns in range(4)
    ]
    seen, gains, shifts, origins = [0] * 8, [], [], set()
    for batch in loader(samples[:1], batch_size=1, augment=True).batches(0, 80):
        image, mask = laid(batch)
        (match,) = (number for number, (way, _) in enumerate(eight) if np.array_equal(way, image))
        np.testing.assert_array_equal(mask, eight[match][1])
        seen[match] += 1
        gains.append(batch.gain[0].item())
        shifts.append(batch.shift[0].item())
        origins.add(tuple(batch.groups.coordinates.amin(0).tolist()))
        assert len(batch.gain.unique()) == len(batch.shift.unique()) == 1, "one image, one change"
    assert min(seen) > 0
    assert 0.7 < min(gains) < 0.95 < 1.05 < max(gains) < 1.4
    assert -0.5 < min(shifts) < -0.05 < 0.05 < max(shifts) < 0.5
    assert len(origins) > 40


def test_without_augmentation_nothing_is_changed(samples: list[Sample]) -> None:
    for batch in loader(samples[:1], batch_size=1).batches(0, 5):
        np.testing.assert_array_equal(images(batch, [SIZES[0]])[0], pixels(0))
        assert batch.groups.coordinates.amin() == 0


def test_pixels_are_brought_to_what_the_model_expects(samples: list[Sample], tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 2**16, (8, 8, 1), np.uint16)
    mixed = [Sample(save(tmp_path / "grey.tif", grey), 0)]
    (batch,) = loader(mixed, batch_size=1).batches(0, 1)
    (image,) = images(batch, [(8, 8)])
    expected = np.rint(grey / 257).astype(np.uint8)
    assert np.abs(image.astype(int) - np.repeat(expected, 3, -1)).max() <= 1


@pytest.mark.timeout(30)
@pytest.mark.parametrize("threads", [1, 4])
def test_a_broken_file_ends_the_batches_with_its_name(samples: list[Sample], tmp_path: Path, threads: int) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(samples[0].path.read_bytes()[:100])
    before = threading.active_count()
    with pytest.raises(TooManyBadImages, match=r"broken\.png.* --max-bad-images 1$"):
        list(loader([*samples, Sample(broken, 0)], threads).batches(0, 50))
    assert threading.active_count() == before, "no thread is left behind"


def broken_file(folder: Path) -> Path:
    path = save(folder / "broken.png", pixels(1))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def test_in_place_of_a_broken_file_stands_another_of_its_class(tmp_path: Path) -> None:
    good = [Sample(save(tmp_path / f"{number}.png", pixels(number)), number % 2) for number in range(4)]
    samples = [*good, Sample(broken_file(tmp_path), 1)]

    def run(start: int, threads: int) -> tuple[list[Batch], BadImages]:
        bad = BadImages(1)
        many = Loader(samples, reading(augment=True, seed=3), 2, threads, bad)
        return list(many.batches(start, 40)), bad

    (whole, bad), (part, _) = run(0, 1), run(17, 3)
    assert [one.path.name for one in bad.take_pending()] == ["broken.png"]
    assert bad.take_pending() == []
    for one, other in zip(whole[17:], part, strict=True):
        assert_same(one, other)
        assert one.paths == other.paths
    shown = [pair for batch in whole for pair in zip(batch.showings, batch.paths, labels_of(batch), strict=True)]
    instead = [(path, label) for (_, index), path, label in shown if index == 4]
    assert len(instead) == 16, "every epoch has its place"
    assert {label for _, label in instead} == {1}
    assert {path.name for path, _ in instead} == {"1.png", "3.png"}, "drawn anew every time"
    assert all(path == samples[index].path for (_, index), path, _ in shown if index < 4)


def test_one_broken_file_too_many_ends_the_batches(tmp_path: Path) -> None:
    samples = [Sample(save(tmp_path / f"{number}.png", pixels(number)), 0) for number in range(4)]
    for sample in samples[:3]:
        sample.path.write_bytes(b"")
    for most, error in ((2, TooManyBadImages), (3, None)):
        many = Loader(samples, reading(augment=True), 2, bad_images=BadImages(most))
        if error is not None:
            with pytest.raises(error, match=r"\(after 2 others\); or .* --max-bad-images 3$"):
                list(many.batches(0, 10))
        else:
            assert {path for batch in many.batches(0, 10) for path in batch.paths} == {samples[3].path}


def test_a_class_without_one_good_file_ends_the_batches(samples: list[Sample], tmp_path: Path) -> None:
    alone = Sample(broken_file(tmp_path), 99)
    many = Loader([*samples, alone], reading(augment=True), 4, bad_images=BadImages(9))
    with pytest.raises(DataError, match=r"broken\.png.*; no other image of its class can be used"):
        list(many.batches(0, 10))


def test_batches_for_a_cuda_device_are_the_same_and_pinned_early(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread; what went wrong is counted in its turn, and a batch is known by the one before it."""
    mixed = [*samples, Sample(broken_file(tmp_path), 0)]

    def pin(values: torch.Tensor) -> torch.Tensor:
        assert threading.current_thread() is not threading.main_thread()
        return values.clone()

    def run(device: str) -> list[tuple[Batch, list[tuple[str, str]]]]:
        bad = BadImages(1)
        many = Loader(mixed, reading(augment=True), 2, bad_images=bad, device=torch.device(device))
        return [(batch, bad.take_unsent()) for batch in many.batches(3, 12)]

    expected = run("cpu")
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    found = run("cuda")
    assert [bad for _, bad in found] == [bad for _, bad in expected]
    assert sum(map(len, (bad for _, bad in found))) == 1
    for (one, _), (other, _) in zip(found, expected, strict=True):
        assert_same(one, other)
    for (batch, _), (after, _) in itertools.pairwise(found):
        following = batch.following()
        assert following is not None
        assert following.patches is after.patches
    assert found[-1][0].following() is None
    assert all(batch.following() is None for batch, _ in expected)


def test_the_last_batches_for_a_cuda_device_may_be_read_slowly(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Loader._read_one

    def slowly(loader: Loader, epoch: int, index: int) -> Any:
        time.sleep(0.05)
        return read(loader, epoch, index)

    monkeypatch.setattr(Loader, "_read_one", slowly)
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    many = Loader(samples, reading(augment=True), 2, threads=1, device=torch.device("cuda"))
    assert len(list(many.batches(0, 4))) == 4


@pytest.mark.timeout(30)
def test_nobody_waits_for_a_batch_that_is_not_there_yet(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def pin(values: torch.Tensor) -> torch.Tensor:
        go_on.wait()
        return values

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    device, before = torch.device("cuda"), threading.active_count()
    batches = Loader(samples, reading(augment=True), 4, device=device).batches(0, 9)
    go_on.set()
    first = next(batches)
    while first.following() is None:
        time.sleep(0.001)
    go_on.clear()
    second = next(batches)
    assert second.following() is None
    go_on.set()
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_fixed_batches_leave_out_what_cannot_be_read(samples: list[Sample], tmp_path: Path) -> None:
    broken = Sample(broken_file(tmp_path), 1)
    many = Loader(
        [broken, *samples[:1], broken, broken, *samples[1:]],
        reading(), 2, bad_images=BadImages(1),
    )  # fmt: skip
    assert [path for batch in many.fixed() for path in batch.paths] == [sample.path for sample in samples]
    with pytest.raises(DataError, match="no other validation image can be used either"):
        list(Loader([broken], reading(), 4, bad_images=BadImages(1)).fixed())


@pytest.mark.timeout(10)
def test_an_image_that_claims_more_pixels_than_there_is_memory(tmp_path: Path) -> None:
    sample = Sample(endless_image(tmp_path / "endless.zarr"), 0)
    with pytest.raises(
        TooManyBadImages, match=r"endless\.zarr: its .* pixels take .* are free; train on windows with --size"
    ):
        list(loader([sample]).batches(0, 1))
    assert len(list(loader([sample], size=16).batches(0, 1))) == 1


def test_an_image_of_another_kind_ends_the_batches_with_its_name(samples: list[Sample], tmp_path: Path) -> None:
    other = save(tmp_path / "five.tif", np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(DataError, match=r"five\.tif: has 5 channels"):
        list(loader([*samples, Sample(other, 0)]).batches(0, 50))


def test_reading_stops_when_nobody_wants_more(samples: list[Sample]) -> None:
    before = threading.active_count()
    batches = loader(samples).batches(0, 10**9)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_image_that_is_moved_is_whole_wherever_it_lies(samples: list[Sample]) -> None:
    """And what is not of the image is padding, or is not there at all."""
    found = set()
    for batch in loader(samples[:1], batch_size=1, shift_canvas=13).batches(0, 60):
        image, mask = laid(batch)
        height, width = SIZES[0]
        places = [
            (top, left)
            for top in range(image.shape[0] - height + 1)
            for left in range(image.shape[1] - width + 1)
            if np.array_equal(image[top : top + height, left : left + width], pixels(0))
        ]
        assert len(places) == 1
        top, left = places[0]
        expected = np.zeros_like(mask)
        expected[
            top // PATCH * PATCH : -(-(top + height) // PATCH) * PATCH,
            left // PATCH * PATCH : -(-(left + width) // PATCH) * PATCH,
        ] = True
        np.testing.assert_array_equal(mask, expected)
        found.add((top, left))
    side = PATCH * GROUP
    assert {top for top, _ in found} == {left for _, left in found} == set(range(side)), (
        "groups without pixels are gone"
    )


def test_patches_are_hidden_at_random(samples: list[Sample]) -> None:
    hidden, real = [], []
    plain = list(loader(samples, augment=True).batches(0, 40))
    for batch, whole in zip(loader(samples, augment=True, token_dropout=0.4).batches(0, 40), plain, strict=True):
        mask, before = real_patches(batch), real_patches(whole)
        assert mask.any(dim=1).all(), "no group is empty"
        assert not (mask & ~before).any(), "padding stays padding"
        assert torch.equal(batch.patches, whole.patches), "all else is as without"
        many = before.sum(dim=1) == GROUP**2
        real.append(before[many].sum())
        hidden.append((before & ~mask)[many].sum())
    # One of each four always stays: 0.4 but where all four would go.
    share = float(sum(hidden) / sum(real))
    assert share == pytest.approx(0.4 - 0.4**4 / 4, abs=0.04)


@pytest.mark.parametrize("name", ["shift_canvas", "token_dropout"])
def test_what_is_random_about_an_image_follows_from_its_place(samples: list[Sample], name: str) -> None:
    many = loader(samples, augment=True, **{name: 0.5 if name == "token_dropout" else 9})
    whole = list(many.batches(0, 6))
    for one, other in zip(many.batches(3, 6), whole[3:], strict=True):
        assert_same(one, other)
