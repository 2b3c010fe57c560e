"""Figures as JSON data and as tables; sets of equal origin are as far apart as real ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.figures import QualityFigures, compare_sets
from fitcli.evaluation.quality.nearest import Nearness
from fitcli.evaluation.quality.seams import SeamLevel
from fitcli.evaluation.quality.sliced_wasserstein import Compared
from fitcli.patches.value_range import PixelRange

DOCUMENT = Path(__file__).parents[3] / "docs" / "generation.md"

BYTES = PixelRange(0, 255, np.dtype(np.uint8))


def crop_set(name: str, count: int, seed: int, contrast: float = 1) -> CropSet:
    random = np.random.default_rng(seed)
    made = CropSet(name, (32, 32), BYTES, count, vector_of=lambda crop: [float(crop.mean()), float(crop.std())])
    for _ in range(count):
        coarse = np.kron(random.random((8, 8)), np.ones((4, 4)))
        fine = random.random((32, 32))
        made.add((127 + contrast * (100 * (coarse - 0.5) + 50 * (fine - 0.5)))[..., None].astype(np.uint8))
    return made


def test_sets_of_one_origin_and_another() -> None:
    real = crop_set("a", 60, 1), crop_set("b", 50, 2)
    crops, sliced, frechet = compare_sets(crop_set("g", 70, 3), real, 0)
    assert (crops, len(sliced)) == (50, 2)
    assert frechet is not None
    for level in sliced:
        assert level.generated / level.real == pytest.approx(1, abs=0.25)
    assert frechet.generated / frechet.real < 5
    _, dull, far = compare_sets(crop_set("g", 70, 3, contrast=0.5), real, 0)
    assert far is not None
    assert far.generated > 10 * frechet.generated
    assert all(level.generated / level.real > 3 for level in dull)
    assert compare_sets(crop_set("g", 70, 3), real, 0)[1] == sliced, "the same seed gives the same figures"


def test_two_folders_are_compared_as_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.S)
    for seed, name in enumerate(("generated", "real", "other-real")):
        for number in range(3):
            pixels = np.random.default_rng(10 * seed + number).integers(0, 256, (64, 70, 3), np.uint8)
            save(tmp_path / name / f"{number}.png", pixels)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    ratios = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(ratios) == 3
    assert 0.3 < ratios[0] < 3


def test_json_and_tables() -> None:
    figures = QualityFigures(
        crops=9,
        crop=(32, 40),
        sliced=[Compared(0.3, 0.1), Compared(0.2, 0.0)],
        frechet=Compared(6.0, 4.0),
        seams=[SeamLevel(0, 1.5, 1.25), SeamLevel(1, 1.1, None), SeamLevel(2, None, None)],
        real_seams=[SeamLevel(0, 1.0, None), SeamLevel(1, None, None), SeamLevel(2, None, None)],
        nearness=Nearness(0.2, 0.4, 0.06),
        about={"samples": 9},
    )
    document = json.loads(json.dumps(figures.as_dict()))
    assert document["samples"] == document["crops"] == 9
    first, second = document["sliced_wasserstein"]
    assert first == {"size": [32, 40], "generated": 0.3, "real": 0.1, "ratio": pytest.approx(3)}
    assert (second["size"], second["ratio"]) == ([16, 20], None)
    assert document["frechet"]["ratio"] == 1.5
    assert document["seams"][0] == {
        "level": 0, "groups": 1.5, "real_groups": 1.0, "patches": 1.25, "real_patches": None
    }  # fmt: skip
    assert len(document["seams"]) == 2, "levels without borders are left out"
    assert document["memorisation"] == {"generated": 0.2, "real": 0.4, "ratio": 0.5, "nearer": 0.06}
    distances, seams = figures.tables()
    assert distances.rows == [
        ("sliced Wasserstein, 32 x 40", "0.3000", "0.1000", "3.000"),
        ("sliced Wasserstein, 16 x 20", "0.2000", "0.0000", ""),
        ("Fréchet", "6.0000", "4.0000", "1.500"),
        ("nearest training image", "0.2000", "0.4000", "0.500"),
    ]
    assert seams.rows == [("1", "1.500", "1.000", "1.250", ""), ("2", "1.100", "", "", "")]
    assert figures.numbers() == {"nearer to training than 95 % of real": 0.06}
