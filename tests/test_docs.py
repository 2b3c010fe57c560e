"""The Python in docs/library.md runs as it stands there, on runs and on files that `fit embed` wrote."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.halves import half_and_half, trained_on_halves
from support.pictures import colored, save
from typer.testing import Result

DOCUMENT = Path(__file__).parent.parent / "docs" / "library.md"


def test_the_library_is_used_as_described(
    fit: Callable[..., Result], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = save(tmp_path / "image.tif", colored((300, 200), (40, 60, 200), 1))
    for name in ("features.zarr", "features.safetensors"):
        options = ["--checkpoint", trained, "--device", "cpu", "--out", tmp_path / name]
        assert fit("embed", image, *options).exit_code == 0
    monkeypatch.chdir(tmp_path)
    training, explaining, segmenting, reading, safetensors = re.findall(
        r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.S
    )

    learned: dict[str, object] = {}
    exec(training, learned)
    assert list(learned["logits"].shape) == [2, 2]  # type: ignore[attr-defined]
    assert learned["loss"].item() < np.log(2)  # type: ignore[attr-defined]

    (tmp_path / "run").symlink_to(trained)
    explained: dict[str, object] = {}
    exec(explaining.replace('"auto"', '"cpu"'), explained)
    first = explained["result"].probabilities[0]  # type: ignore[attr-defined]
    # Two classes: the logits are that far from their mean.
    assert 1 / (1 + np.exp(-2 * explained["logit"])) == pytest.approx(first, abs=1e-4)  # type: ignore[operator]
    assert explained["looked"].shape == explained["speaks"].shape == (19, 13)  # type: ignore[attr-defined]
    (tmp_path / "run").unlink()

    read: dict[str, object] = {}
    exec(reading, read)
    assert read["where"][0].tolist() == [64, 64], "groups of 128 pixels"  # type: ignore[index]
    assert np.isfinite(read["slide"]).all()  # type: ignore[call-overload]
    exec(safetensors, {})

    trained_on_halves(fit, tmp_path)
    half_and_half(tmp_path / "scene.tif", 9)
    segmented: dict[str, object] = {}
    exec(segmenting.replace('"auto"', '"cpu"'), segmented)
    assert segmented["cells"].shape == (24, 32)  # type: ignore[attr-defined]
