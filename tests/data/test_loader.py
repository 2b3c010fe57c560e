"""Batches follow from the seed, the epoch and the position alone, also if files are broken; threads end with them."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.loading import (
    GROUP,
    SIZES,
    assert_same_batch,
    broken_file,
    images,
    labels_of,
    loader,
    pixels,
    reading,
    samples_in,
)
from support.pictures import save

from fitcli.data import loader as module
from fitcli.data.bad_images import BadImages, TooManyBadImages
from fitcli.data.batch import Batch
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader, images_ahead, reader_threads
from fitcli.errors import DataError


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Five images of different sizes. The class of each is its number."""
    return samples_in(tmp_path_factory.mktemp("images"))


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


def test_a_batch_is_the_same_wherever_reading_starts(samples: list[Sample]) -> None:
    many = loader(samples, augment=True, size=8)
    whole = list(many.batches(0, 9))
    assert len(whole) == 9
    for start, stop in ((0, 1), (4, 9), (8, 9), (3, 5)):
        part = list(many.batches(start, stop))
        assert len(part) == stop - start
        for one, other in zip(part, whole[start:stop], strict=True):
            assert_same_batch(one, other)


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_a_batch_does_not_depend_on_the_number_of_threads(samples: list[Sample], threads: int) -> None:
    few, many = loader(samples, augment=True, size=8), loader(samples, threads, augment=True, size=8)
    for one, other in zip(few.batches(0, 6), many.batches(0, 6), strict=True):
        assert_same_batch(one, other)


@pytest.mark.parametrize(("cores", "processes", "threads"), [(1, 1, 2), (8, 1, 8), (8, 2, 4), (8, 8, 2), (64, 2, 16)])
def test_a_process_reads_as_many_images_as_it_has_cores(
    cores: int, processes: int, threads: int, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    assert reader_threads(processes) == threads
    if processes == 1:
        assert Loader(samples, reading(), 2).threads == threads


def test_images_ahead_are_a_batch_and_one_per_thread_as_far_as_memory_allows() -> None:
    assert images_ahead(batch=4, threads=16) == 20
    assert images_ahead(batch=4, threads=16, image_bytes=100, most_bytes=799) == 7
    assert images_ahead(batch=4, threads=16, image_bytes=100, most_bytes=100) == 4, "the next batch in any case"


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "threads", "ahead"), [(1, 4, None), (3, 2, None), (2, 1, 2), (2, 4, 3)])
def test_how_many_images_are_read_ahead(
    size: int, threads: int, ahead: int | None, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are said, and no more, however slow the steps are."""
    begun, read = list[int](), Loader._read_one

    def noted(many: Loader, epoch: int, index: int) -> Any:
        begun.append(index)
        return read(many, epoch, index)

    monkeypatch.setattr(Loader, "_read_one", noted)
    many = Loader(samples, reading(), size, threads, ahead=ahead)
    expected = images_ahead(size, threads) if ahead is None else ahead
    with closing(many.batches(0, 50)) as batches:
        for number in range(1, 5):
            next(batches)
            while len(begun) < number * size + expected:
                time.sleep(0.001)
            time.sleep(0.02)
            assert len(begun) == number * size + expected


@pytest.mark.timeout(240)
def test_all_threads_read_at_the_same_time(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one image leave no thread idle: each read waits for the others to begin."""
    all_begun, read = threading.Barrier(4, timeout=200), Loader._read_one

    def waiting(many: Loader, epoch: int, index: int) -> Any:
        all_begun.wait()
        return read(many, epoch, index)

    monkeypatch.setattr(Loader, "_read_one", waiting)
    assert len(list(Loader(samples, reading(), 1, 4).batches(0, 8))) == 8


def test_the_order_of_an_epoch_is_drawn_once(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, order = list[int](), Loader._order

    def counted(self: Loader, epoch: int) -> np.ndarray:
        drawn.append(epoch)
        return order(self, epoch)

    monkeypatch.setattr(Loader, "_order", counted)
    assert len(list(loader(samples, batch_size=2).batches(0, 10))) == 10
    assert drawn == [0, 1, 2, 3]  # five images; the last one or two orders for what is read ahead
    list(loader(samples, batch_size=12).batches(0, 1))  # a batch of three epochs
    assert drawn == [0, 1, 2, 3, 0, 1, 2]


def test_other_seeds_give_other_orders(samples: list[Sample]) -> None:
    orders = {
        tuple(label for batch in loader(samples, seed=seed).batches(0, 5) for label in labels_of(batch))
        for seed in range(4)
    }
    assert len(orders) == 4


def test_windows_have_their_size_and_lie_in_the_image(samples: list[Sample]) -> None:
    corners = set()
    for batch in loader(samples[:1], batch_size=1, size=8).batches(0, 60):
        (window,) = images(batch, [(8, 8)])
        matches = [
            (top, left)
            for top in range(20 - 8 + 1)
            for left in range(30 - 8 + 1)
            if np.array_equal(pixels(0)[top : top + 8, left : left + 8], window)
        ]
        assert len(matches) == 1
        corners.add(matches[0])
    assert len(corners) > 40, "the windows are spread over the image"
    assert max(top for top, _ in corners) > 8
    assert max(left for _, left in corners) > 16


def test_a_window_is_cropped_to_a_small_image(samples: list[Sample]) -> None:
    (batch,) = loader(samples[2:3], batch_size=1, size=14).batches(0, 1)
    (window,) = images(batch, [(14, 12)])
    assert any(np.array_equal(pixels(2)[top : top + 14], window) for top in range(20))


@pytest.mark.parametrize("threads", [1, 4])
def test_a_broken_file_ends_the_batches_with_its_name(samples: list[Sample], tmp_path: Path, threads: int) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(samples[0].path.read_bytes()[:100])
    before = threading.active_count()
    with pytest.raises(TooManyBadImages, match=r"broken\.png.* --max-bad-images 1$"):
        list(loader([*samples, Sample(broken, 0)], threads).batches(0, 50))
    assert threading.active_count() == before, "no thread is left behind"


def test_another_image_of_its_class_replaces_a_broken_file(tmp_path: Path) -> None:
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
        assert_same_batch(one, other)
        assert one.paths == other.paths
    shown = [pair for batch in whole for pair in zip(batch.showings, batch.paths, labels_of(batch), strict=True)]
    replacements = [(path, label) for (_, index), path, label in shown if index == 4]
    assert len(replacements) == 16, "one per epoch"
    assert {label for _, label in replacements} == {1}
    assert {path.name for path, _ in replacements} == {"1.png", "3.png"}, "drawn anew every time"
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


def test_a_class_without_a_usable_file_ends_the_batches(samples: list[Sample], tmp_path: Path) -> None:
    alone = Sample(broken_file(tmp_path), 99)
    many = Loader([*samples, alone], reading(augment=True), 4, bad_images=BadImages(9))
    with pytest.raises(DataError, match=r"broken\.png.*; no other image of its class can be used"):
        list(many.batches(0, 10))


def test_batches_for_a_cuda_device_are_the_same_and_pinned_ahead(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread pins them. Bad images are counted when it is their turn, and each batch gives access to the next."""
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
    results = run("cuda")
    assert [bad for _, bad in results] == [bad for _, bad in expected]
    assert sum(map(len, (bad for _, bad in results))) == 1
    for (one, _), (other, _) in zip(results, expected, strict=True):
        assert_same_batch(one, other)
    for (batch, _), (after, _) in itertools.pairwise(results):
        following = batch.following()
        assert following is not None
        assert following.patches is after.patches
    assert results[-1][0].following() is None
    assert all(batch.following() is None for batch, _ in expected)


def test_slow_last_batches_for_a_cuda_device_are_read_to_the_end(
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


def test_a_batch_that_is_not_ready_is_not_waited_for(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_fixed_batches_leave_out_unreadable_images(samples: list[Sample], tmp_path: Path) -> None:
    broken = Sample(broken_file(tmp_path), 1)
    many = Loader(
        [broken, *samples[:1], broken, broken, *samples[1:]],
        reading(), 2, bad_images=BadImages(1),
    )  # fmt: skip
    assert [path for batch in many.fixed() for path in batch.paths] == [sample.path for sample in samples]
    with pytest.raises(DataError, match="no other validation image can be used either"):
        list(Loader([broken], reading(), 4, bad_images=BadImages(1)).fixed())


def test_closing_the_batches_ends_the_threads(samples: list[Sample]) -> None:
    before = threading.active_count()
    batches = loader(samples).batches(0, 10**9)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
