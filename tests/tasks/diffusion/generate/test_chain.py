"""Several runs in a row: the same pixels for every budget and after a kill; what does not go together is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import Fit
from support.generators import make_run
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.generate import generate_files
from fitcli.tasks.diffusion.generate.chain import Chain, check_enlargers, factor_of, first_size
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_config, load_run

RUNTIME = choose_runtime("cpu", "fp32")
TWICE, FOUR = (Enlarging(factor=factor, noise=0.05, deviation=0.1) for factor in (2, 4))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "base")
    make_run(folder / "twice", enlarging=TWICE)
    make_run(folder / "four", classes=(), enlarging=FOUR)
    make_run(folder / "grey", channels=1, enlarging=FOUR)
    make_run(folder / "wide", dtype="uint16", enlarging=FOUR)
    return folder


def chain(runs: Path, out: Path, *names: str, size: int = 128, memory: int | None = None, **more: Any) -> Chain:
    folders = [runs / name for name in names]
    settings = GenerationSettings(size=(size, size), steps=2, label="dog")
    limits = ResourceLimits(memory_bytes=memory, state=more.pop("state", None))
    return Chain(
        folders=folders, configs=[load_config(folder) for folder in folders],
        load=lambda folder: load_run(folder, RUNTIME, DIFFUSION), out=out, settings=settings, limits=limits,
        runtime=RUNTIME, **more,
    )  # fmt: skip


def pixels(path: Path) -> Any:
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


@pytest.mark.more
def test_a_base_and_two_enlargers(runs: Path, tmp_path: Path) -> None:
    (one,) = chain(runs, tmp_path / "a.tif", "base", "twice", "four").run()
    assert one.info.size == (128, 128)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"], "nothing is left of the runs between"
    found = pixels(tmp_path / "a.tif")
    assert found.std() > 5
    for number, memory in enumerate((175 << 20, 2 << 30)):
        list(chain(runs, tmp_path / f"{number}.tif", "base", "twice", "four", memory=memory).run())
        assert np.abs(pixels(tmp_path / f"{number}.tif").astype(int) - found).max() <= 1


class Killed(BaseException):
    """What a process that is killed does not get to handle."""


@pytest.mark.walk(1)
@pytest.mark.parametrize("at", range(6))
def test_a_killed_chain_goes_on_to_the_same_bits(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Killed before any of its six images, two of each run, is written."""
    names = ("base", "twice", "four")
    whole = [one.path for one in chain(runs, tmp_path / "whole.tif", *names, size=64, count=2).run()]
    write, calls = generate_files.write_image, 0

    def fails(*arguments: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise Killed
        write(*arguments, **more)

    state = tmp_path / "state"
    with monkeypatch.context() as patched:
        patched.setattr(generate_files, "write_image", fails)
        with pytest.raises(Killed):
            list(chain(runs, tmp_path / "broken.tif", *names, size=64, count=2, state=state).run())
        calls = 10
        list(chain(runs, tmp_path / "broken.tif", *names, size=64, count=2, state=state).run())
    assert calls == 10 + 6 - at, "no image is written twice"
    assert not state.exists()
    for number, path in enumerate(whole):
        assert np.array_equal(pixels(path), pixels(tmp_path / f"broken-{number}.tif"))
    assert not np.array_equal(pixels(whole[0]), pixels(whole[1]))


def test_a_state_of_another_chain_is_not_mixed_up(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **more: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(generate_files, "write_image", fails)
        with pytest.raises(Killed):
            list(chain(runs, tmp_path / "a.tif", "base", "twice", state=tmp_path / "state").run())
    with pytest.raises(Exception, match="was begun with checkpoints"):
        list(chain(runs, tmp_path / "a.tif", "base", "four", state=tmp_path / "state").run())


def test_factors(runs: Path) -> None:
    assert [factor_of(load_config(runs / name)) for name in ("base", "twice", "four")] == [1, 2, 4]
    configs = [(runs / name, load_config(runs / name)) for name in ("twice", "four")]
    assert check_enlargers(load_config(runs / "base"), configs) == 8
    assert first_size((128, 64), 8) == (16, 8)


REFUSED = {
    "an ordinary run": (["base", "base"], [], "was not trained with --enlarge; give a run of fit train --enlarge"),
    "channels": (["base", "grey"], [], "enlarges images of 1 channel, --checkpoint has 3"),
    "range": (["base", "wide"], [], "enlarges pixels of uint16 in 0 ... 65535, those of --checkpoint are uint8"),
    "a factor that does not divide": (["base", "four"], ["--res", "50"], "give sides that are multiples of 4"),
    "no image": (["twice"], [], "and generates nothing by itself; give it an --image"),
    "a window": (["twice"], ["--image", "small.png", "--window", "0,0,4,4"], "repaints nothing"),
    "a larger image": (["twice"], ["--image", "small.png", "--res", "16"], "larger than the 16 x 16"),
    "another factor": (["twice"], ["--image", "small.png", "--res", "60"], "give --height 48 --width 40"),
    "another factor of two": (["twice", "four"], ["--image", "small.png", "--res", "160"], "--height 192 --width 160"),
    "a window of a chain": (["base", "four"], ["--image", "small.png", "--window", "0,0,4,4"], "leave out"),
    "much noise": (["base", "four"], ["--enlarge-noise", "0.5"], "noise up to 0.05; give less"),
    "a label": (["base", "twice"], ["--label", "fox"], "--label fox: no such class"),
    "a file that exists": (["base", "twice"], ["--out", "small.png"], "exists already"),
    "no memory": (["base", "twice"], ["--memory", "20MiB"], "give more with --memory"),
}


@pytest.mark.walk(5)
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(
    fit: Fit, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    names, arguments, words = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "small.png", np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    more = [part for each in names[1:] for part in ("--enlarge-with", runs / each)]
    result = fit("generate", "--out", "out.tif", "--checkpoint", runs / names[0], "--steps", 2, *more, *arguments)
    assert result.exit_code == 1, result.stdout
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]


@pytest.mark.parametrize("names", [("twice",), ("twice", "four")])
def test_a_file_is_enlarged_to_its_own_size(fit: Fit, runs: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    save(tmp_path / "small.png", np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    more = [part for each in names[1:] for part in ("--enlarge-with", runs / each)]
    common = ["generate", "--checkpoint", runs / names[0], "--image", tmp_path / "small.png", "--steps", 2, *more]
    results = []
    for out, memory in (("a.tif", "175MiB"), ("b.tif", "2GiB")):
        result = fit(*common, "--out", tmp_path / out, "--memory", memory)
        assert result.exit_code == 0, result.stderr
        results.append(pixels(tmp_path / out))
    factor = 2 if len(names) == 1 else 8
    assert results[0].shape == (24 * factor, 20 * factor, 3)
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1
