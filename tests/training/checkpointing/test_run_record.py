"""A resumed run is refused if its record or config was changed, or written by another version of fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import quietly, run_of, two_classes

from fitcli import __version__
from fitcli.errors import CheckpointError, FitError
from fitcli.training.loop import train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "data", (24, 16))


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Path:
    """A run of four steps, one epoch."""
    train(run_of(data, tmp_path / "run", epochs=1), quietly)
    return tmp_path / "run"


def assert_refused(data: Path, run: Path, match: str, **settings: Any) -> None:
    """Assert that resuming fails with one line, and changes nothing."""
    before = sorted(run.rglob("*"))
    with pytest.raises(FitError, match=match) as caught:
        run_of(data, run, resume=True, **settings)
    assert "\n" not in str(caught.value)
    assert sorted(run.rglob("*")) == before


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_an_edited_config_is_refused_by_name(data: Path, begun: Path) -> None:
    original = (begun / "config.json").read_text()
    rewrite(begun / "config.json", lambda document: document["model"].update(latents=3, pool_heads=2))
    message = r"config\.json: was changed .* \(model.latents is 3, was 2, model.pool_heads is 2, was 1\); "
    message += r"put it back as it is in .*training/config\.json, or start a new run$"
    assert_refused(data, begun, message)
    (begun / "config.json").write_text(original)
    rewrite(begun / "config.json", lambda document: document["preprocessing"].update(mean=[1, 2, 3]))
    assert_refused(data, begun, r"preprocessing\.mean is \(1, 2, 3\), was ")
    # Without a copy to compare it with, the tensors of the state do not fit.
    rewrite(begun / "config.json", lambda document: document["model"].update(token_width=128))
    (begun / "training/config.json").unlink()
    with pytest.raises(CheckpointError, match=r"damaged \(Error.*size mismatch for "):
        train(run_of(data, begun, resume=True), quietly, resume=True)


def test_files_of_a_newer_fit_are_refused_with_both_versions(data: Path, begun: Path) -> None:
    versions = rf"fit 9\.1.*, this is fit {__version__}"
    settings, config = (begun / name for name in ("training/settings.json", "config.json"))
    rewrite(settings, lambda document: document.update(fit="9.1", moon=1))
    assert_refused(data, begun, rf"settings\.json: was written by {versions} \(.*'moon'\); install fit 9\.1")
    rewrite(settings, lambda document: document.pop("moon"))
    run_of(data, begun, resume=True)
    config.write_text(config.read_text().replace('"format": 1', '"format": 2').replace(__version__, "9.1"))
    assert_refused(data, begun, rf"config\.json: written by {versions} \(format 1\); install fit 9\.1")
    (begun / "training/state.pt").touch()
    assert_refused(
        data, begun, "begun with an older fit, whose saved states are not readable any more; start a new run"
    )
