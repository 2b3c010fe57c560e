"""Images that a run is used on: a warning, once, of another scale than in training, and a note of other colours."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from support.pictures import save

from fitcli.distributed.image_queue import IMAGES, ImageQueue
from fitcli.errors import ImageError, OutOfMemory, OverLimit
from fitcli.images.read_as import ReadAs
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.encoding.image_opener import ImageOpener


@pytest.mark.parametrize(
    ("scale", "trained", "warned"),
    [(0.25, 0.5, True), (0.5, 0.25, True), (0.5, 0.54, False), (None, 0.5, False), (0.5, None, False)],
)
def test_another_scale_is_said_once_per_command(
    tmp_path, capsys: pytest.CaptureFixture[str], scale: float | None, trained: float | None, warned: bool
) -> None:
    path = save(tmp_path / "a.tif", np.zeros((16, 16, 1), np.uint8), scale)
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), mpp=trained)
    opener = ImageOpener(ImageQueue(), pixels)
    for _ in range(3):
        with opener.open(path) as image:
            assert image.info.size == (16, 16)
    message = capsys.readouterr().err
    assert message.count("warning") == warned
    if warned:
        assert f"{path}: has {scale} microns per pixel, the run was trained at {trained}" in message
        assert f"--mpp {trained}" in message
    with ImageOpener(ImageQueue(), pixels).open(path):
        assert capsys.readouterr().err.count("warning") == warned, "the next command says it again"


def test_scales_that_augmentation_gave_are_those_of_training(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0,), std=(1,), mpp=0.5, trained_scales=(0.4, 0.62))
    opener = ImageOpener(ImageQueue(0), pixels)
    for number, scale in enumerate((0.41, 0.5, 0.61, 0.66)):
        opener.open(save(tmp_path / f"{number}.tif", np.zeros((8, 8, 1), np.uint8), mpp=scale)).close()
        assert ("microns per pixel" in capsys.readouterr().err) == (scale == 0.66)


@pytest.mark.parametrize(("sides", "warned"), [((8, 15), True), ((8, 16), False), (None, False)])
def test_an_image_far_larger_than_those_of_training_is_said_once_per_command(
    tmp_path, capsys: pytest.CaptureFixture[str], sides: tuple[int, int] | None, warned: bool
) -> None:
    paths = [save(tmp_path / f"{number}.tif", np.zeros((16, 64, 1), np.uint8)) for number in range(3)]
    opener = ImageOpener(
        ImageQueue(), Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), trained_sides=sides)
    )
    for path in paths:
        opener.open(path).close()
    opener.finish()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * warned
    if warned:
        assert f"{paths[0]}: is 4.3 times as long as any training image (64 pixels, the longest had 15)" in lines[0]
        assert lines[1] == "warning: 2 more images are over 4 times as long as any training image"
    ImageOpener(ImageQueue(), opener.preprocessing, answers=False).open(paths[0]).close()
    assert capsys.readouterr().err == "", "a command that repaints the image says nothing of it"


@pytest.mark.parametrize(
    ("scale", "chosen", "side", "warned"),
    [
        (0.25, None, 32, False),
        (0.5, None, 64, False),
        (None, None, 64, True),
        (0.25, ReadAs(level=0), 64, True),
        (0.25, ReadAs(mpp=1.0), 16, True),
    ],
)
def test_images_are_read_as_in_training_unless_the_user_chooses(
    tmp_path, capsys: pytest.CaptureFixture[str], scale: float | None, chosen: ReadAs | None, side: int, warned: bool
) -> None:
    path = save(tmp_path / "a.tif", np.zeros((64, 64, 1), np.uint8), scale)
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), mpp=0.5, read_mpp=0.5)
    opener = ImageOpener(ImageQueue(), pixels, chosen)
    for _ in range(2):
        with opener.open(path) as image:
            assert image.info.size == (side, side)
    assert capsys.readouterr().err.count("warning") == warned


def test_a_user_who_asks_for_a_scale_needs_one(tmp_path) -> None:
    path = save(tmp_path / "a.png", np.zeros((64, 64, 1), np.uint8))
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    with pytest.raises(ImageError, match=r"a\.png: does not say"):
        ImageOpener(ImageQueue(), pixels, ReadAs(mpp=0.5)).open(path)


@pytest.mark.parametrize("how", [ReadAs(mpp=0.001), ReadAs(level=3), ReadAs(mpp=1e6)], ids=str)
def test_a_choice_that_fits_no_image_is_one_error_with_a_count(
    tmp_path, capsys: pytest.CaptureFixture[str], how: ReadAs
) -> None:
    paths = [save(tmp_path / f"{number}.tif", np.zeros((16, 16, 1), np.uint8), 0.5) for number in range(5)]
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    opener = ImageOpener(ImageQueue(), pixels, how)
    for path in (*paths, tmp_path / "missing.tif", tmp_path / "gone.tif"):
        with pytest.raises(ImageError) as caught:
            opener.open(path)
        opener.report(caught.value)
    opener.finish()
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == 4, "every file that is broken by itself is named"
    assert str(paths[0]) in messages[0]
    assert "missing.tif" in messages[1]
    assert messages[3] == "error: 4 more images cannot be read as chosen, like the first"


def test_images_of_another_scale_are_counted(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), mpp=0.5)
    opener = ImageOpener(ImageQueue(), pixels)
    for number in range(4):
        path = save(tmp_path / f"{number}.tif", np.zeros((16, 16, 1), np.uint8), 0.5 if number == 2 else 2.0)
        opener.open(path).close()
    opener.finish()
    first, last = capsys.readouterr().err.splitlines()
    assert "0.tif: has 2 microns per pixel" in first
    assert last == "warning: the scale of 2 more images is another than in training, or unknown"


def test_images_that_share_a_memory_limit_are_counted_with_what_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    opener = ImageOpener(
        ImageQueue(tallies=Counter({IMAGES: 3})), Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    )
    for mebibytes in (70, 90, 80):
        opener.report(OverLimit(f"image of {mebibytes}", mebibytes << 20))
    opener.report(OutOfMemory("ran out"))
    opener.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: image of 70 (further images are not named)")
    assert lines[1] == "error: ran out"
    assert lines[2].startswith("error: 2 more images need more memory than is allowed; 90 MiB are enough")
    assert len(lines) == 3


def test_a_single_image_has_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    opener = ImageOpener(ImageQueue(), Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,)))
    for _ in opener.queue.results(1, lambda index: opener.report(OverLimit("too large", 70 << 20))):
        pass
    assert capsys.readouterr().err.splitlines() == ["error: too large"]


def test_an_image_of_other_colours_is_named_and_the_others_are_counted(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey, color, many = (save(tmp_path / f"{c}.tif", np.zeros((16, 16, c), np.uint8)) for c in (1, 3, 5))
    queue = ImageQueue(tallies=Counter({IMAGES: 5}))
    opener = ImageOpener(queue, Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3))
    for path in (color, many, grey, grey, grey):
        with opener.open(path):
            pass
    opener.finish()
    messages = capsys.readouterr().err.splitlines()
    assert messages == [
        f"{grey}: grey becomes red, green and blue, as in training (further images are not named)",
        "the colours of 2 more images are converted, too",
    ]
