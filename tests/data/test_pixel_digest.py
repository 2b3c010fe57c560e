"""Hashes of pixels tell images apart that have one name and one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.pictures import save

from fitcli.data import pixel_digest
from fitcli.data.dataset import Dataset, Sample, load_dataset
from fitcli.data.pixel_digest import anchor_digest, pixel_digests


def hashes(folder: Path, seed: int = 0) -> dict[str, str]:
    return pixel_digests(load_dataset(folder), seed)


def test_other_pixels_have_another_hash(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(4):
            save(tmp_path / label / f"{number}.png", np.full((30, 40, 3), number, np.uint8))
    before = hashes(tmp_path)
    assert len(before) == 8
    assert before == hashes(tmp_path), "reading again changes nothing"
    assert before["a/1.png"] == before["b/1.png"] != before["a/2.png"]
    save(tmp_path / "b" / "1.png", np.full((30, 40, 3), 9, np.uint8))
    (tmp_path / "b" / "2.png").write_bytes(b"no image")
    after = hashes(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"b/1.png", "b/2.png"}
    assert after["b/2.png"] == "unreadable"


def test_large_images_are_sampled(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 700, 1), np.uint8)
    for number in range(20):
        for label in ("a", "b"):
            save(tmp_path / label / f"{number}.png", noise)
    sampled = hashes(tmp_path)
    assert len(sampled) == pixel_digest.SAMPLED_IMAGES
    assert len(set(sampled.values())) == len(sampled), "each at another place"
    assert sampled != hashes(tmp_path, seed=1)


def test_other_anchors_have_another_hash() -> None:
    def hashed(*anchors: list[list[tuple[int, int]]]) -> str:
        samples = tuple(Sample(Path("x"), None, tuple(np.array(p, np.int64) for p in each)) for each in anchors)
        return anchor_digest(Dataset(classes=(), train=samples, validation=(), fingerprint=""))

    one, other = (1, 2), (3, 4)
    cases = [[], [[]], [[[one]]], [[[other]]], [[[one, other]]], [[[one], [other]]], [[[one]], [[other]]]]
    assert len({hashed(*case) for case in cases}) == len(cases)
    assert hashed([[one]]) == hashed([[one]])
