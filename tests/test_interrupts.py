"""Signals that ask to stop end a process in the middle of any work with one word and code 130, and no file stays.

Training saves first.

The tests send real signals to real processes.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pictures import colored, save
from typer.testing import Result

from fitcli.interrupts import NAMES, interrupt
from fitcli.training.checkpointing.saved_states import saved_step

Fit = Callable[..., Result]
ROOT = Path(__file__).parent.parent

# The process sends the signal to itself, so that it comes at the same moment every time.
INTERRUPTED = """
import functools, importlib, os, signal
from fitcli.__main__ import main
place, name = {where!r}.split(":")
module = importlib.import_module(place)
function, calls = getattr(module, name), []
@functools.wraps(function)
def interrupted(*arguments, **settings):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.{number})
    return function(*arguments, **settings)
setattr(module, name, interrupted)
main()
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("images") / "image.tif", colored((700, 900), (40, 60, 200), 1))


@pytest.fixture(scope="module")
def denoiser(dataset: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "denoiser"
    options = ["--task", "diffusion", "--preset", "debug", "--size", "32", "--steps", "1", "--device", "cpu"]
    result = fit("train", dataset, "--out", run, *options)
    assert result.exit_code == 0, result.stderr
    return run


def start(folder: Path, code: str, *arguments: object, ignored: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start Python in a folder that also holds its temporary files, with some signals ignored."""

    def set_signals() -> None:
        # A shell that runs the tests in the background ignores SIGINT, and children inherit that.
        for name in NAMES:
            signal.signal(getattr(signal, name), signal.SIG_IGN if name in ignored else signal.SIG_DFL)

    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=folder, env=environment,
        preexec_fn=set_signals,
    )  # fmt: skip


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def slow(*values: object) -> Any:
    """Mark a case as slow: each takes about six seconds."""
    return pytest.param(*values, marks=pytest.mark.slow)


MODEL = ["--checkpoint", "{trained}", "--device", "cpu"]
COMMANDS = {
    "classify": ["classify", "{image}", *MODEL, "--heatmap", "heat.tif", "--csv", "csv"],
    "embed": ["embed", "{image}", *MODEL, "--patches", "--out", "features.zarr"],
    "info": ["info", "{image}", "{image}", "{image}", "--json"],
    "evaluate": ["evaluate", "{dataset}", *MODEL, "--split", "all", "--csv", "csv"],
    "generate": ["generate", "--checkpoint", "{denoiser}", "--out", "image.tif", "--res", "600", "--steps", "2"],
    "demo": ["demo", "demo"],
}


@pytest.mark.walk(1)
@pytest.mark.parametrize(
    ("command", "where", "call", "number"),
    [
        ("info", "fitcli.commands.info:describe", 2, "SIGINT"),
        slow("info", "fitcli.commands.info:describe", 2, "SIGHUP"),
        slow("info", "fitcli.commands.info:describe", 2, "SIGUSR1"),
        slow("info", "fitcli.commands.info:describe", 2, "SIGUSR2"),
        slow("info", "fitcli.commands.info:describe", 2, "SIGXCPU"),
        slow("info", "fitcli.commands.info:describe", 2, "SIGTERM"),
        ("classify", "fitcli.images.pyramid_writer:check_write_arguments", 1, "SIGINT"),
        ("embed", "fitcli.tasks.encoding.group_encoder:read_patches", 2, "SIGTERM"),
        ("generate", "fitcli.tasks.diffusion.stream:stream_trunk", 2, "SIGINT"),
        slow("classify", "fitcli.tasks.encoding.group_encoder:read_patches", 1, "SIGINT"),
        slow("classify", "fitcli.streaming.sweeps:key_mask", 3, "SIGINT"),
        slow("classify", "fitcli.tasks.classify.classify_files:write_heatmap", 1, "SIGINT"),
        slow("embed", "fitcli.tasks.encoding.embed_files:create_embeddings", 1, "SIGINT"),
        slow("embed", "fitcli.tasks.encoding.embed_files:_write_groups", 1, "SIGINT"),
        slow("evaluate", "fitcli.runs.weights:load_weights", 1, "SIGINT"),
        slow("evaluate", "fitcli.tasks.evaluation_result:publish_csv", 1, "SIGINT"),
        slow("generate", "fitcli.runs.weights:load_weights", 1, "SIGINT"),
        slow("generate", "fitcli.tasks.diffusion.generate.pixels:canvas_values", 2, "SIGINT"),
        slow("demo", "fitcli.images.pyramid_writer:check_write_arguments", 2, "SIGINT"),
    ],
)
def test_in_the_middle(
    tmp_path: Path,
    image: Path,
    trained: Path,
    denoiser: Path,
    dataset: Path,
    command: str,
    where: str,
    call: int,
    number: str,
) -> None:
    places = {"image": image, "trained": trained, "denoiser": denoiser, "dataset": dataset}
    code = INTERRUPTED.format(where=where, call=call, number=number)
    process = start(tmp_path, code, *(word.format(**places) for word in COMMANDS[command]))
    try:
        output, messages = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130, messages
    assert output == ""
    assert messages == "interrupted\n"
    assert left(tmp_path) == []


TRAIN = ["--preset", "debug", "--steps", "5", "--batch-size", "2", "--device", "cpu"]
STEP = "fitcli.training.loop:learning_rate"
"""Called once per step."""


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the messages of a process."""
    try:
        _, messages = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, messages


def logged_steps(run: Path) -> list[int]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [entry["step"] for entry in entries if entry["kind"] == "train"]


@pytest.mark.walk(1)
@pytest.mark.parametrize(
    "number", ["SIGHUP", "SIGUSR1", slow("SIGINT"), slow("SIGTERM"), slow("SIGUSR2"), slow("SIGXCPU")]
)
def test_training_saves(tmp_path: Path, dataset: Path, number: str) -> None:
    run = tmp_path / "run"
    code, messages = finished(
        start(tmp_path, INTERRUPTED.format(where=STEP, call=3, number=number), "train", dataset, "--out", run, *TRAIN)
    )
    assert code == 130, messages
    assert messages.splitlines()[-1] == f"interrupted: {run} was saved, continue with --resume"
    assert logged_steps(run) == [1, 2, 3]
    assert saved_step(run) == 3


@pytest.mark.more
@pytest.mark.parametrize("number", ["SIGINT", slow("SIGHUP"), slow("SIGUSR1")])
def test_what_was_ignored_at_the_start_stays_ignored(tmp_path: Path, dataset: Path, image: Path, number: str) -> None:
    """As by `nohup fit ...` and `sh -c "fit ... &"`."""
    run = tmp_path / "run"
    script = INTERRUPTED.format(where=STEP, call=3, number=number)
    code, messages = finished(start(tmp_path, script, "train", dataset, "--out", run, *TRAIN, ignored=(number,)))
    assert (code, logged_steps(run)) == (0, [1, 2, 3, 4, 5]), messages
    other = tmp_path / "other"
    other.mkdir()
    script = INTERRUPTED.format(where="fitcli.commands.info:describe", call=1, number=number)
    code, messages = finished(start(other, script, "info", image, ignored=(number,)))
    assert (code, messages) == (0, "")


@pytest.mark.parametrize("delay", [slow(0.1), 0.3, slow(0.6), slow(1.0)])
def test_while_it_starts(tmp_path: Path, image: Path, trained: Path, delay: float) -> None:
    code = "import sys; from fitcli.__main__ import main; print('on', file=sys.stderr, flush=True); main()"
    process = start(tmp_path, code, "classify", image, "--checkpoint", trained, "--csv", "csv", "--device", "cpu")
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "on\n"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=240)
    finally:
        process.kill()
    # If the signal comes while a class is created, Python ends by the signal itself; shells report that as 130 too.
    assert process.returncode in (130, -signal.SIGINT), messages
    assert messages in ("", "interrupted\n")
    assert left(tmp_path) == []


IMPORTING = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, Interrupting())
from fitcli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("fitcli.commands.info", "SIGINT"),
        ("torch._C", "SIGINT"),
        ("torch._C", "SIGTERM"),
        slow("typer.core", "SIGINT"),
        slow("numpy._core", "SIGINT"),
        slow("torch.nn.functional", "SIGINT"),
        slow("safetensors", "SIGHUP"),
    ],
)
def test_while_it_imports(tmp_path: Path, image: Path, name: str, number: str) -> None:
    code = IMPORTING.format(name=name, number=number)
    process = start(tmp_path, code, "classify", image, "--checkpoint", "none", "--csv", "csv", "--device", "cpu")
    assert process.communicate(timeout=240) == ("", "")
    assert (process.returncode, left(tmp_path)) == (130, [])


def test_an_import_in_the_middle_of_work_is_interrupted_as_work_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needed_later.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            importlib.import_module("needed_later")
    finally:
        signal.signal(signal.SIGINT, before)
