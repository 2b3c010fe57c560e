"""Bootstrap intervals of scores over patients, or over images where no patients are known.

The images of a patient are alike, so patients are drawn, not images: each sample draws as many patients as there are,
with replacement, and a score counts the images of a patient as often as it was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Sample

SEED, SAMPLES = 0, 1000
"""Seed and number of the samples."""

PERCENTILES = (2.5, 97.5)
"""Percentiles that bound the interval."""

WeightedScores = Callable[[NDArray[np.float64]], Mapping[str, float]]
"""From how often each image counts, [i], to scores by name; NaN for an undefined score."""


def unit_names(samples: Iterable[Sample]) -> list[str]:
    """Return a name of the patient of each image; an image without a patient is one of its own."""
    return [f"patient {s.patient}" if s.patient else f"image {s.path}" for s in samples]


def bootstrap(units: Sequence[str], scores: WeightedScores, noun: str) -> dict[str, Any]:
    """Return the 95 % intervals of scores, and how they were made.

    Args:
        units: Name of the patient of each image.
        scores: Computes the scores.
        noun: "patient" or "image".

    Returns:
        `by`, `units`, `samples`, `seed`, and [low, high] by name of the score under `scores`; undefined samples of a
        score are left out, and a score without any has no interval.
    """
    _, members = np.unique(np.array(units), return_inverse=True)
    count = int(members.max()) + 1
    rng = np.random.default_rng(SEED)
    found: dict[str, list[float]] = {}
    for _ in range(SAMPLES if count > 1 else 0):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        for name, value in scores(drawn[members]).items():
            if not np.isnan(value):
                found.setdefault(name, []).append(value)
    ends = {name: [float(end) for end in np.percentile(values, PERCENTILES)] for name, values in found.items()}
    return {"by": noun, "units": count, "samples": SAMPLES, "seed": SEED, "scores": ends}


def unit_noun(samples: Iterable[Sample]) -> str:
    """Return what is drawn: patients, if the data set names any."""
    return "patient" if any(sample.patient for sample in samples) else "image"
