"""A tiny data set and a run trained on it, shared by the tests that need real files and real weights."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from support.command_line import Fit
from support.pictures import colored, save
from support.walks import mark_more

from fitcli.memory import table_store
from fitcli.training import execution_choice

torch.set_num_threads(1)

# A busy machine takes any time for an example; `timeout` in pyproject.toml ends what hangs.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that runs the tests in the background ignores Ctrl-C for them, and nohup a hangup. Then training would, too.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests read and write no cache of the user. All processes of a run share one.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="fit-test-cache-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
    # Where Python leaves no compiled modules in the source folders, each of hundreds of processes would compile them.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = os.environ["XDG_CACHE_HOME"] + "/pyc"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what walks leave out before pytest chooses by marks."""
    mark_more(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector, which some tests and `fit` call, away from thousands of collected tests."""
    gc.collect()
    gc.freeze()


COLORS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
SHAPES = ((70, 90), (64, 64), (33, 130), (100, 40), (64, 96), (50, 50))


@pytest.fixture(scope="session", autouse=True)
def _memory_of_the_tests() -> Iterator[None]:
    """The process of the tests holds more than `fit` would, so a budget counts what is usual; and it makes tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution_choice, "bytes_beyond_torch", lambda: None)
        patch.setattr(table_store, "table_apart", lambda run: run.table())
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six small images each, as TIFF, OME-Zarr and PNG files."""
    folder = tmp_path_factory.mktemp("dataset")
    for label, color in COLORS.items():
        (folder / label).mkdir()
        for number, shape in enumerate(SHAPES):
            suffix = (".tif", ".zarr", ".png")[number % 3]
            save(folder / label / f"{number}{suffix}", colored(shape, color, number))
    return folder


@pytest.fixture(scope="session")
def fit() -> Fit:
    return Fit()


@pytest.fixture(scope="session")
def trained(dataset: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a model that tells the two classes apart, without an average of its weights."""
    run = tmp_path_factory.mktemp("runs") / "run"
    options = ("--preset", "debug", "--epochs", "20", "--learning-rate", "0.003", "--ema", "0", "--report")
    result = fit("train", dataset, "--out", run, *options)
    assert result.exit_code == 0, result.stderr
    # Like a run of an earlier version, it does not know the sizes of its images: tests use it on larger ones.
    for file in (run / "config.json", run / "training/config.json", run / "last/config.json"):
        config = json.loads(file.read_text())
        del config["preprocessing"]["trained_sides"]
        file.write_text(json.dumps(config, indent=2) + "\n")
    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True)
    if mount.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
