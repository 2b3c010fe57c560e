"""The command line as a whole: exit codes, stdout and stderr, and the time to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from support.pictures import save
from typer.models import CommandInfo
from typer.testing import CliRunner, Result

import fitcli
from fitcli.app import app, help_text, reports_errors
from fitcli.errors import FitError

Fit = Callable[..., Result]

ROOT = Path(fitcli.__file__).parent.parent
RUN = "from fitcli.app import main; main()"


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, outside the folder of the project."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", env={**os.environ, **environment}, check=False
    )


def test_help_lists_the_commands(fit: Fit) -> None:
    result = fit("--help")
    assert result.exit_code == 0
    for command in ("info", "demo", "train", "classify", "segment", "detect"):
        assert command in result.stdout
    assert result.stderr == ""
    assert fit("-h").stdout == result.stdout


def test_the_terminal_breaks_the_lines_of_a_help_text() -> None:
    def command() -> None:
        """A first paragraph
        of two lines.

        A second
        paragraph.
        """

    assert help_text(command).strip() == "A first paragraph of two lines.\n\nA second paragraph."


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.callback.__name__)
def test_help_shows_each_paragraph_on_a_line_that_is_long_enough(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, command: CommandInfo
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert command.callback is not None
    shown = fit(command.callback.__name__.replace("_", "-"), "--help").stdout.splitlines()
    for paragraph in help_text(command.callback).strip().split("\n\n"):
        assert paragraph in [line.strip() for line in shown]


def test_version(fit: Fit) -> None:
    result = fit("--version")
    assert (result.exit_code, result.stdout) == (0, f"fit {fitcli.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--unknown"], ["clasify"], ["train"], ["classify", "x.tif"], ["train", "d", "--out", "r", "--epochs", "0"],
     ["train", "d", "--out", "r", "--precision", "fp8"], ["classify", "x", "--checkpoint", "r", "--top-k", "0"],
     ["demo", "d", "--seed", "-1"], ["info"]],
)  # fmt: skip
def test_a_wrong_call_is_exit_code_2(fit: Fit, arguments: list[str]) -> None:
    result = fit(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.walk(2)
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["classify", "--help"], ["info", "IMAGE"]])
def test_torch_is_not_imported_unless_it_computes(tmp_path: Path, arguments: list[str]) -> None:
    image = save(tmp_path / "image.tif", np.zeros((8, 8, 3), np.uint8))
    code = f"""
import sys
try:
    {RUN}
finally:
    print("heavy:", sorted({{"torch", "zarr", "tensorboard"}} & set(sys.modules)), file=sys.stderr)
"""
    result = python(code, *(image if argument == "IMAGE" else argument for argument in arguments))
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert "heavy: []" in result.stderr


def tool(error: BaseException) -> typer.Typer:
    """Return an app with one command that raises an error."""
    failing = typer.Typer(pretty_exceptions_enable=False)

    @failing.command()
    @reports_errors
    def fail() -> None:
        raise error

    return failing


def test_what_a_user_can_act_on_is_one_line() -> None:
    result = CliRunner().invoke(tool(FitError("x.tif: is\nbroken; [bold]copy[/] it :smile:")))
    assert result.exit_code == 1
    assert result.stderr == "error: x.tif: is\\nbroken; [bold]copy[/] it :smile:\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/data/run"), "error: /data/run: Permission denied\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
    ],
)
def test_what_the_system_refuses_is_one_line(error: OSError, line: str) -> None:
    result = CliRunner().invoke(tool(error))
    assert (result.exit_code, result.stderr) == (1, line)


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore lines."), "cuda"),
        (torch.AcceleratorError("CUDA error: out of memory\nMore lines."), "cuda"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "cuda"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "mps"),
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to ..."), "cpu"),
        (np._core._exceptions._ArrayMemoryError((1,), np.dtype(np.uint8)), "cpu"),  # type: ignore[attr-defined]
        (MemoryError(), "cpu"),
    ],
)
def test_memory_that_runs_out_anywhere_is_one_line(error: Exception, device: str) -> None:
    result = CliRunner().invoke(tool(error))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: out of memory on {device} (")
    assert "; give --memory " in result.stderr
    assert result.stderr.count("\n") == 1


def test_memory_that_really_runs_out_is_one_line(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the steps of training, which fall back to a smaller execution: here in `fit info`, and from torch."""

    def exhaust(*arguments: object) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    monkeypatch.setattr("fitcli.commands.info.describe", exhaust)
    result = fit("info", save(tmp_path / "image.png", np.zeros((8, 8, 3), np.uint8)))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("error: out of memory on cpu (")


def test_other_errors_of_torch_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError) as shapes:
        torch.ones(2) @ torch.ones(3)
    assert CliRunner().invoke(tool(shapes.value)).exception is shapes.value


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    result = CliRunner().invoke(tool(ZeroDivisionError("ours")))
    assert isinstance(result.exception, ZeroDivisionError)
    assert "error: " not in result.stderr


def test_interrupted_is_130() -> None:
    result = CliRunner().invoke(tool(KeyboardInterrupt("run was saved")))
    assert (result.exit_code, result.stderr) == (130, "interrupted: run was saved\n")
    result = CliRunner().invoke(tool(KeyboardInterrupt()))
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
    # What Python's codecs make of an interrupt.
    again = KeyboardInterrupt("decoding with 'cp437' codec failed (KeyboardInterrupt: )")
    again.__cause__ = KeyboardInterrupt()
    assert CliRunner().invoke(tool(again)).stderr == "interrupted\n"


def test_debug_shows_the_traceback(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIT_DEBUG", "0")
    # An error that ends a command, and one bad image among others.
    for command in (("train", tmp_path / "none", "--out", tmp_path / "run"), ("info", tmp_path / "none.tif")):
        for arguments, shown in (((), False), (("--debug",), True)):
            result = fit(*arguments, *command)
            assert result.exit_code == 1
            assert result.stderr.startswith("error: ")
            assert ("Traceback" in result.stderr) == shown
            monkeypatch.setenv("FIT_DEBUG", "0")


def test_another_package_called_models_is_named(tmp_path: Path) -> None:
    other = tmp_path / "models"
    other.mkdir()
    (other / "__init__.py").write_text("")
    # As in a plain installation: an editable one finds the submodules of this project despite the other package.
    code = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
{RUN}
"""
    result = python(code, "info", "x.tif")
    assert result.returncode == 1
    assert result.stderr.startswith("error: fit needs its own package 'models'")
    assert str(other) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_pipe_that_is_closed_early_is_no_error(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png", np.zeros((8, 8, 3), np.uint8)) for number in range(200)]
    for options in ((), ("--json",)):
        command = [sys.executable, "-c", RUN, "info", *options, *map(str, paths)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 0


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_failed_before_a_pipe_was_closed_counts(tmp_path: Path, options: tuple[str, ...]) -> None:
    paths = [save(tmp_path / f"{number}.png", np.zeros((8, 8, 3), np.uint8)) for number in range(20)]
    command = [sys.executable, "-c", RUN, "info", *options, "absent.png", *map(str, paths)]
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr.count("\n"), "absent.png" in result.stderr) == (1, 1, True)


@pytest.mark.parametrize(
    "name", ["a[b].png", "[/red].png", "x:smile:y.png", "two  spaces.png", "ü€.png", "q" * 230 + ".png"]
)
def test_any_name_is_shown_as_it_is(fit: Fit, tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    result = fit("info", path)
    assert result.exit_code == 0, result.output
    assert f"{path}" in result.stdout
    result = fit("info", "--json", path)
    assert json.loads(result.stdout)[0]["path"] == str(path)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", np.zeros((8, 8, 3), np.uint8))
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    os.rename(good, odd)
    for options in ([], ["--json"]):
        result = subprocess.run(
            [sys.executable, "-c", RUN, "info", *options, odd],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert b"png" in result.stdout
        assert result.stderr == b""


def test_without_a_home(tmp_path: Path) -> None:
    image = save(tmp_path / "image.zarr", np.zeros((8, 8, 3), np.uint8))
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME", "TERM")}
    command = [sys.executable, "-c", RUN, "info", str(image)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [("train", "data", "--out", "run"), ("demo", "folder"), ("generate", "--checkpoint", "run", "--out", "out.png")],
)
def test_a_seed_of_more_than_64_bits_is_one_line(fit: Fit, arguments: tuple[str, ...]) -> None:
    result = fit(*arguments, "--seed", 2**64)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr
    assert "--seed" in result.stderr
    assert str(2**64 - 1) in " ".join(result.stderr.split())
