"""`fit generate`: files and what is in them, bad input."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from support.command_line import Fit
from support.generators import TRAINED, make_run
from support.pictures import save

from fitcli.images.open import open_image
from fitcli.images.tiff import writer
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


def test_an_image_of_the_training_size_by_default(fit: Fit, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    result = fit("generate", "--checkpoint", run, "--out", out, "--steps", 2, "--label", "dog", "--json")
    assert result.exit_code == 0, result.stderr
    (document,) = json.loads(result.stdout)
    assert (document["path"], document["width"], document["height"]) == (str(out), *TRAINED)
    assert document["peak_bytes"] > 0
    assert document["memory"]["canvas"] == "host"
    with open_image(out) as image:
        assert image.info.size == TRAINED
        assert image.info.color


def test_several_images_are_numbered_and_differ(fit: Fit, run: Path, tmp_path: Path) -> None:
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "a.ome.tif", "--steps", 2, "--count", 3)
    assert result.exit_code == 0, result.stderr
    names = [f"a-{number}.ome.tif" for number in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    images = [tifffile.imread(tmp_path / name) for name in names]
    assert not np.array_equal(images[0], images[1])
    # A repetition, one by one and with other memory, gives the same.
    again = fit("generate", "--checkpoint", run, "--out", tmp_path / "b.tif", "--steps", 2, "--memory", "200MiB")
    assert again.exit_code == 0, again.stderr
    assert "canvas in memory" in again.stderr
    with open_image(tmp_path / "b.tif") as one, open_image(tmp_path / names[0]) as other:
        whole = Window(0, 0, *TRAINED)
        assert np.abs(one.read(whole).astype(int) - other.read(whole)).max() <= 1


def description(path: Path) -> str:
    """As other software finds it."""
    if path.suffix == ".zarr":
        return str(zarr.open_group(path, mode="r").attrs["description"])
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            if tiff.is_ome:
                assert tiff.ome_metadata is not None
                return str(tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Description"])
            return str(tiff.pages[0].tags["ImageDescription"].value)  # type: ignore[union-attr]
    with Image.open(path) as image:
        image.load()
        text = image.info["comment"].decode() if path.suffix == ".jpg" else image.info["Description"]
        return str(text)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr", "a.png", "a.jpg"])
def test_files_say_how_they_came_about(fit: Fit, run: Path, tmp_path: Path, name: str) -> None:
    arguments = ["--label", "cat", "--steps", 2, "--seed", 12345678901234567890, "--height", 33, "--width", 20]
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / name, *arguments)
    assert result.exit_code == 0, result.stderr
    said = json.loads(description(tmp_path / name))
    assert said["seed"] == 12345678901234567890
    assert (said["label"], said["steps"], said["size"], said["image"]) == ("cat", 2, [33, 20], 0)
    assert said["software"].startswith("fit ")
    assert len(said["model"]) == 16
    with open_image(tmp_path / name) as image:
        pixels = image.read(Window(0, 0, 33, 20))
    assert pixels.shape == (33, 20, 3)
    assert pixels.std() > 1


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (1, "uint16"), (5, "float32")])
def test_pixels_are_of_the_kind_of_the_training_images(fit: Fit, tmp_path: Path, channels: int, dtype: str) -> None:
    run = make_run(tmp_path / "run", channels, dtype, classes=())
    out = tmp_path / "out.tif"
    result = fit("generate", "--checkpoint", run, "--out", out, "--steps", 2)
    assert result.exit_code == 0, result.stderr
    with open_image(out) as image:
        assert (image.info.channels, image.info.dtype.name) == (channels, dtype)
        pixels = image.read(Window(0, 0, *TRAINED))
    assert np.isfinite(pixels).all()
    least, most = {"uint8": (0, 255), "uint16": (0, 65535), "float32": (-0.5, 2.0)}[dtype]
    assert least <= pixels.min() < least + 0.4 * (most - least)
    assert most - 0.4 * (most - least) < pixels.max() <= most


def test_a_preview_and_a_large_image_with_a_pyramid(fit: Fit, run: Path, tmp_path: Path) -> None:
    out, preview = tmp_path / "large.tif", tmp_path / "small.png"
    result = fit(
        "generate", "--checkpoint", run, "--out", out, "--res", 600, "--steps", 2, "--preview", preview, "--shift-grid"
    )
    assert result.exit_code == 0, result.stderr
    with tifffile.TiffFile(out) as tiff:
        assert [level.shape[:2] for level in tiff.series[0].levels] == [(600, 600), (300, 300)]
    with Image.open(preview) as picture:
        assert picture.size == (300, 300)


def test_repainting_and_enlarging(fit: Fit, run: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.png"
    Image.fromarray(np.full((60, 50, 3), 77, np.uint8)).save(given)
    common = ["generate", "--checkpoint", run, "--steps", 2, "--image", given]
    result = fit(*common, "--out", tmp_path / "in.tif", "--window", "10,20,16,9")
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "in.tif") as image:
        pixels = image.read(Window(0, 0, 60, 50))
    assert (pixels[:10] == 77).all()
    assert (pixels[10:26, 20:29] != 77).mean() > 0.9
    said = json.loads(description(tmp_path / "in.tif"))
    assert (said["size"], said["given"], said["window"]) == ([60, 50], "given.png", [10, 20, 16, 9])
    result = fit(*common, "--out", tmp_path / "up.tif", "--height", 130, "--width", 100, "--strength", "0.1")
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "up.tif") as image:
        assert image.info.size == (130, 100)
    said = json.loads(description(tmp_path / "up.tif"))
    assert (said["size"], said["given"], said["window"]) == ([130, 100], "given.png", None)
    assert "stretched to 130 x 100; --height 120 --width 100 keeps its shape" in result.stderr
    result = fit(*common, "--out", tmp_path / "same.tif", "--height", 91, "--width", 75)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--label", "fox"], "--label fox: no such class; there are cat, dog"),
        (["--guidance", "1"], "--guidance needs a label"),
        (["--guidance-interval", "0,1"], "--guidance-interval limits --guidance; give --guidance X too"),
        (["--res", "64", "--height", "32", "--width", "32"], "give either --res"),
        (["--height", "32"], "belong together"),
        (["--res", "99999999"], "pixels"),
        (["--window", "0,0,4,4"], "give --image FILE too"),
        (["--strength", "0"], "--strength must be above 0 and at most 1, not 0.0"),
        (["--memory", "20MiB"], "give more with --memory"),
        (["--preview", "small.tif"], "give a .png or .jpg"),
        (["--preview", "nowhere/small.png"], "--preview nowhere/small.png: no folder"),
    ],
)
def test_what_makes_no_sense_is_refused(fit: Fit, run: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "out.tif", "--steps", 2, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--res", "40"], "larger than the 40 x 40"),
        ([], "give --res to enlarge it, or --window"),
        (["--window", "40,0,30,10"], "does not lie on its 60 x 50 pixels"),
        (["--window", "0,0,60,50"], "covers all of it"),
        (["--window", "0,0,6,5", "--res", "100"], "leave out --res"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    fit: Fit, run: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    given = tmp_path / "given.png"
    Image.fromarray(np.zeros((60, 50, 3), np.uint8)).save(given)
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "out.tif", "--image", given, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize("window", ["1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5"])
def test_windows_that_are_none_are_wrong_calls(fit: Fit, run: Path, tmp_path: Path, window: str) -> None:
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "out.tif", f"--window={window}")
    assert result.exit_code == 2
    assert "TOP,LEFT,HEIGHT,WIDTH" in result.stderr


def test_what_is_there_is_not_replaced_unless_asked(fit: Fit, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    arguments = ["generate", "--checkpoint", run, "--out", out, "--steps", 2]
    result = fit(*arguments)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert out.read_bytes() == b"precious"
    assert fit(*arguments, "--overwrite").exit_code == 0
    assert out.read_bytes() != b"precious"


def test_formats_that_cannot_hold_it_are_refused_before_the_work(fit: Fit, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 5, "float32", classes=())
    for name, words in (("out.png", "PNG holds"), ("out.bmp", "no image format is written")):
        result = fit("generate", "--checkpoint", run, "--out", tmp_path / name, "--steps", 2)
        assert result.exit_code == 1
        assert words in result.stderr
        assert not (tmp_path / name).exists()


def test_a_full_disk_leaves_nothing_behind(
    fit: Fit, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "write_all", full)
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "out.tif", "--steps", 2)
    assert result.exit_code == 1
    assert "No space left" in result.stderr or "disk is full" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_runs_of_other_tasks_are_refused(fit: Fit, tmp_path: Path) -> None:
    from fitcli.runs.config import RunConfig, save_config
    from fitcli.tasks.classify.config import ClassifyDetails
    from models.presets import classifier_preset

    pixels = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    model = classifier_preset("debug", 3, 2)
    save_config(tmp_path, RunConfig(model=model, preprocessing=pixels, classes=("a", "b"), details=ClassifyDetails()))
    result = fit("generate", "--checkpoint", tmp_path, "--out", tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "trained with --task classify" in result.stderr
    assert "give a run of --task diffusion or autoregressive" in result.stderr


def test_a_state_of_other_settings_is_not_mixed_up(fit: Fit, run: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "job.json").write_text(json.dumps({"job": {"seed": 3}, "plan": {}}))
    arguments = ["--checkpoint", run, "--out", tmp_path / "out.tif", "--steps", 2, "--state", state]
    result = fit("generate", *arguments)
    assert result.exit_code == 1
    assert "was begun with" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
def test_a_killed_process_goes_on_to_the_same_file(run: Path, tmp_path: Path, seconds: float) -> None:
    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        arguments = ["--checkpoint", str(run), "--out", str(tmp_path / name), "--res", "700", "--steps", "12"]
        call = [sys.executable, "-m", "fitcli", "generate", *arguments, "--sampler", "dpm", "--shift-grid", *more]
        return subprocess.Popen(call, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)

    state = tmp_path / "state"
    assert start("whole.zarr").wait() == 0
    killed = start("killed.zarr", "--state", str(state))
    while not (state / "position.pt").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    time.sleep(seconds)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert start("killed.zarr", "--state", str(state)).wait() == 0
    assert not state.exists()
    with open_image(tmp_path / "whole.zarr") as whole, open_image(tmp_path / "killed.zarr") as other:
        everything = Window(0, 0, 700, 700)
        assert np.array_equal(whole.read(everything), other.read(everything))


# Runs of --task autoregressive ----------------------------------------------------------------------------------------


def at_scale(run: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a run that was trained with --mpp or --level."""
    shutil.copytree(run, folder)
    document = json.loads((folder / "config.json").read_text())
    document["preprocessing"] |= changes
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def test_a_given_image_is_read_as_in_training_but_for_enlarging(fit: Fit, run: Path, tmp_path: Path) -> None:
    """The run was trained at 1 micron per pixel, the image has 0.5: 60 x 50 pixels are read as 30 x 25."""
    trained = at_scale(run, tmp_path / "run", read_mpp=1.0, mpp=1.0)
    given = save(tmp_path / "given.tif", np.full((60, 50, 3), 77, np.uint8), 0.5)
    common = ["generate", "--checkpoint", trained, "--steps", 1, "--image", given]
    result = fit(*common, "--out", tmp_path / "in.tif", "--window", "10,10,8,8")
    assert (result.exit_code, result.stderr) == (0, "")
    with open_image(tmp_path / "in.tif") as image:
        assert (image.info.size, image.info.mpp) == ((30, 25), pytest.approx(1.0))
    result = fit(*common, "--out", tmp_path / "up.tif", "--height", 120, "--width", 100)
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "up.tif") as image:
        assert (image.info.size, image.info.mpp) == ((120, 100), pytest.approx(0.25))
    other = at_scale(run, tmp_path / "other", mpp=1.0)
    result = fit("generate", "--checkpoint", other, "--steps", 1, "--image", given, "--out", tmp_path / "as-stored.tif",
                 "--window", "10,10,8,8")  # fmt: skip
    assert result.exit_code == 0
    assert "has 0.5 microns per pixel, the run was trained at 1" in result.stderr
    assert "--mpp 1 reads images at the scale of the run" in result.stderr
    result = fit("generate", "--checkpoint", other, "--steps", 1, "--image", given, "--out", tmp_path / "level.tif",
                 "--window", "4,4,8,8", "--mpp", 1)  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    with open_image(tmp_path / "level.tif") as image:
        assert image.info.size == (30, 25)


def test_the_planes_of_a_given_image(fit: Fit, run: Path, tmp_path: Path) -> None:
    stack = np.full((2, 3, 60, 50), 77, np.uint8)
    stack[1] = (np.arange(3) * 50 + 50)[:, None, None]
    tifffile.imwrite(tmp_path / "given.tif", stack, photometric="minisblack", metadata={"axes": "ZCYX"})
    common = ["generate", "--checkpoint", run, "--steps", 1, "--image", tmp_path / "given.tif", "--out"]
    window = ["--window", "10,10,8,8"]
    result = fit(*common, tmp_path / "x.tif", *window)
    assert (result.exit_code, "holds 2 focal planes (axis Z of ZCYX); choose with --z N" in result.stderr) == (1, True)
    result = fit(*common, tmp_path / "x.tif", *window, "--z", 1, "--channels", "2,1,0")
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "x.tif") as image:
        assert (image.read(Window(0, 0, 8, 50)) == [150, 100, 50]).all()
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "y.tif", "--z", 1)
    assert (result.exit_code, "--z says what to read of an image; give the --image" in result.stderr) == (1, True)


def test_the_upper_part_of_an_image_is_read_as_in_training(fit: Fit, decoder_run: Path, tmp_path: Path) -> None:
    trained = at_scale(decoder_run, tmp_path / "run", read_mpp=1.0, mpp=1.0)
    given = save(tmp_path / "upper.tif", np.full((6, 12, 1), 90, np.uint8), 0.5)
    result = fit("generate", "--checkpoint", trained, "--image", given, "--out", tmp_path / "out.tif", "--label", "cat")
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "out.tif") as image:
        assert (image.info.size, image.info.mpp) == ((8, 6), pytest.approx(1.0))
        assert (image.read(Window(0, 0, 3, 6)) == 90).all()


@pytest.fixture(scope="module")
def decoder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a decoder of grey images of 8 x 6 pixels that nobody trained."""
    import torch
    from support.decoders import CLASSES, checkpoint

    from fitcli.runs.config import save_config
    from fitcli.runs.weights import save_weights

    run, made = tmp_path_factory.mktemp("decoder"), checkpoint(classes=CLASSES)
    save_config(run, made.config)
    save_weights(run, made.model.to(torch.float32))
    return run


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_autoregressive_run_draws_what_the_library_draws(fit: Fit, decoder_run: Path, tmp_path: Path) -> None:
    from fitcli.device.runtime import choose_runtime
    from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
    from fitcli.tasks.autoregressive.generate_images import Request, generate_images
    from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
    from fitcli.tasks.load import load_run

    arguments = ["--count", 3, "--label", "dog", "--seed", 5, "--temperature", 0.7, "--top-k", 9, "--top-p", 0.9]
    result = fit("generate", "--checkpoint", decoder_run, "--out", tmp_path / "a.png", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    documents = json.loads(result.stdout)
    names = [f"a-{number}.png" for number in range(3)]
    assert [Path(document["path"]).name for document in documents] == names
    draws = Draws(seed=5, temperature=0.7, top_k=9, top_p=0.9)
    checkpoint = load_run(decoder_run, choose_runtime("cpu", "fp32"), AUTOREGRESSIVE)
    expected = list(generate_images(checkpoint, Request(count=3, label="dog", draws=draws)))
    for name, pixels in zip(names, expected, strict=True):
        assert np.array_equal(pixels_of(tmp_path / name), pixels[..., 0])
    said = json.loads(description(tmp_path / "a-2.png"))
    assert (said["label"], said["seed"], said["top_k"], said["size"], said["image"]) == ("dog", 5, 9, [8, 6], 2)
    # Other options, other images.
    others = fit("generate", "--checkpoint", decoder_run, "--out", tmp_path / "b.png", "--label", "dog", "--seed", 6)
    assert others.exit_code == 0, others.stderr
    assert not np.array_equal(pixels_of(tmp_path / "b.png"), expected[0][..., 0])


def test_without_a_label_all_classes_come_in_turn(fit: Fit, decoder_run: Path, tmp_path: Path) -> None:
    arguments = ["--count", 4, "--height", 5, "--width", 3, "--json"]
    result = fit("generate", "--checkpoint", decoder_run, "--out", tmp_path / "a.tif", *arguments)
    assert result.exit_code == 0, result.stderr
    documents = json.loads(result.stdout)
    assert [document["label"] for document in documents] == ["bird", "cat", "dog", "bird"]
    assert {(document["height"], document["width"]) for document in documents} == {(5, 3)}


def test_the_rest_of_an_image_is_drawn(fit: Fit, decoder_run: Path, tmp_path: Path) -> None:
    upper = np.arange(18, dtype=np.uint8).reshape(3, 6) * 14
    Image.fromarray(upper).save(tmp_path / "upper.png")
    arguments = ["--image", tmp_path / "upper.png", "--label", "cat"]
    result = fit("generate", "--checkpoint", decoder_run, "--out", tmp_path / "whole.tif", *arguments)
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "whole.tif") as image:
        assert image.info.size == (8, 6)
        assert np.array_equal(image.read(Window(0, 0, 3, 6))[..., 0], upper)
    assert json.loads(description(tmp_path / "whole.tif"))["given"] == "upper.png"
    too_short = fit(
        "generate", "--checkpoint", decoder_run, "--out", tmp_path / "no.png", "--height", 3, "--width", 6, *arguments
    )
    assert too_short.exit_code == 1
    assert "nothing to draw" in too_short.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "50"], "--steps is for --task diffusion, not for autoregressive; leave it out"),
        (["--one-pass"], "--one-pass is for --task diffusion, not for autoregressive"),
        (["--memory", "1GiB"], "--memory is for --task diffusion, not for autoregressive"),
        (["--cuda-graphs", "--device", "cpu"], "--cuda-graphs is for CUDA devices, not for cpu; leave it out"),
        (["--label", "fox"], "it knows bird, cat, dog"),
        (["--res", "8", "--width", "8"], "give either --res"),
        (["--top-p", "0"], "--top-p must be above 0 and at most 1, not 0.0"),
    ],
)
def test_what_a_decoder_cannot_do_is_refused(
    fit: Fit, decoder_run: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = fit("generate", "--checkpoint", decoder_run, "--out", tmp_path / "out.png", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_denoiser_draws_no_values(fit: Fit, run: Path, tmp_path: Path) -> None:
    result = fit("generate", "--checkpoint", run, "--out", tmp_path / "out.png", "--top-k", 3)
    assert result.exit_code == 1
    assert "--top-k is for --task autoregressive, not for diffusion; leave it out" in result.stderr


def test_drawn_images_do_not_replace_others_unless_asked(fit: Fit, decoder_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a-1.png").write_bytes(b"precious")
    arguments = ["generate", "--checkpoint", decoder_run, "--out", tmp_path / "a.png", "--count", 2]
    result = fit(*arguments)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a-1.png"]
    assert fit(*arguments, "--overwrite").exit_code == 0
    assert pixels_of(tmp_path / "a-1.png").shape == (8, 6)
