"""Scores class maps against label images: numbers of each image first, then the scores over all of them.

The numbers of an image are counts of its pixels, so they can be added up and kept in a journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.tasks.segment.boundary import Strip, count_boundaries, thin
from fitcli.tasks.segment.confusion import count_confusion

BOOTSTRAP_SEED, BOOTSTRAP_SAMPLES = 0, 1000
"""Seed and number of the samples of images from which the interval of the median follows."""

INTERVAL = (2.5, 97.5)
"""Percentiles that bound the interval."""

Floats = NDArray[np.float64]


class ImageScores(NamedTuple):
    """Counts of the labelled pixels of one image or of several.

    Attributes:
        confusion: [k k+1], pixels by true class (row) and found class (column); the last column is "not looked at".
        boundaries: [k 4], see `count_boundaries`.
    """

    confusion: NDArray[np.int64]
    boundaries: NDArray[np.int64]

    @staticmethod
    def of(strips: Iterable[Strip], classes: int, tolerance: int) -> list[float]:
        """Return the counts of an image as a flat list, for `read`.

        Args:
            strips: All rows of the image from top to bottom, as pairs of truth and prediction [height width]. 255 is no
                label in the truth and "not looked at" in the prediction.
            classes: Number of classes k.
            tolerance: Greatest distance of boundary pixels that count as hits, in pixels.

        Returns:
            k (k + 1) + 4 k numbers. All are whole.
        """
        confusion = np.zeros((classes, classes + 1), np.int64)

        def counted() -> Iterator[Strip]:
            for truth, predicted in thin(strips):
                confusion.__iadd__(count_confusion(truth, predicted, classes))
                yield truth, predicted

        boundaries = count_boundaries(counted(), classes, tolerance)
        return [float(count) for count in (*confusion.ravel(), *boundaries.ravel())]

    @classmethod
    def read(cls, row: Sequence[float], classes: int) -> ImageScores:
        """Return the counts from a list that `of` made, or from a sum of such lists."""
        counts = np.array(row, np.float64).round().astype(np.int64)
        split = classes * (classes + 1)
        return cls(counts[:split].reshape(classes, classes + 1), counts[split:].reshape(classes, 4))

    def dice(self) -> float | None:
        """Return the mean Dice over the classes that occur in the truth; None without a labelled pixel."""
        values = _class_scores(self)["dice"]
        occurring = values[self.confusion.any(axis=1)]
        return float(occurring.mean()) if occurring.size else None


def summarize(rows: Sequence[Sequence[float]], names: Sequence[str], resampled: bool = True) -> dict[str, Any]:
    """Compute the scores over images.

    Args:
        rows: Counts of each image, as `ImageScores.of` returns them.
        names: Names of the classes.
        resampled: Whether to compute the bootstrap interval.

    Returns:
        - `mean_iou`, `mean_dice`, `mean_boundary_f`: means over the classes that occur in the truth;
        - `accuracy`: share of the labelled pixels whose class was found;
        - `frequency_weighted_iou`: mean of the IoU weighted by the pixels of the classes;
        - `labelled_pixels`: number of pixels that were compared;
        - `dice_per_image`: median, `low` and `high` end of its 95 % bootstrap interval over the images with labels;
        - `per_class`: scores of each class by name, see `_class_scores`; None where a score is undefined;
        - `classes`, `absent_classes`: names of all classes, and of those without a pixel in the truth;
        - `confusion`: [k k], pixels by true class (row) and found class (column);
        - `not_looked_at`: [k], pixels of each class that the model did not look at. They count as wrong.

        Scores of all images are None if no image has a labelled pixel.
    """
    images = [ImageScores.read(row, len(names)) for row in rows]
    total = ImageScores.read(np.sum(np.array(rows, np.float64), axis=0).tolist(), len(names))
    truth = total.confusion.sum(axis=1)
    occurs, labelled = truth > 0, int(truth.sum())
    scores = _class_scores(total)
    means = {f"mean_{name}": _mean(scores[name][occurs]) for name in ("iou", "dice", "boundary_f")}
    dice = [value for image in images if (value := image.dice()) is not None]
    return {
        **means,
        "accuracy": float(np.trace(total.confusion) / labelled) if labelled else None,
        "frequency_weighted_iou": float(scores["iou"][occurs] @ truth[occurs] / labelled) if labelled else None,
        "labelled_pixels": labelled,
        "dice_per_image": median_with_interval(dice, BOOTSTRAP_SAMPLES if resampled else 0),
        "per_class": {
            name: {"pixels": int(truth[k]), **{score: _known(values[k]) for score, values in scores.items()}}
            for k, name in enumerate(names)
        },
        "classes": list(names),
        "absent_classes": [name for name, found in zip(names, occurs, strict=True) if not found],
        "confusion": total.confusion[:, :-1].tolist(),
        "not_looked_at": total.confusion[:, -1].tolist(),
    }


def median_with_interval(values: Sequence[float], samples: int = BOOTSTRAP_SAMPLES) -> dict[str, Any]:
    """Return the median of values and its bootstrap interval, with the number of values, the seed and the samples."""
    found: dict[str, Any] = {"median": float(np.median(values)) if values else None, "low": None, "high": None}
    if values and samples:
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        medians = [np.median(rng.choice(np.array(values), len(values))) for _ in range(samples)]
        low, high = np.percentile(medians, INTERVAL)
        found |= {"low": float(low), "high": float(high)}
    return {**found, "images": len(values), "seed": BOOTSTRAP_SEED, "samples": samples}


def _class_scores(counts: ImageScores) -> dict[str, Floats]:
    """Return the scores of every class [k], NaN where one is undefined.

    IoU, Dice and recall are those of pixels, undefined without a pixel of the class in the truth. Precision is
    undefined if the class was found nowhere. The boundary F is the harmonic mean of the shares of hits among the
    boundary pixels of truth and prediction: undefined if the truth has no boundary of the class, and 0 if only the
    prediction has none.
    """
    confusion = counts.confusion.astype(np.float64)
    truth, found, hits = confusion.sum(axis=1), confusion[:, :-1].sum(axis=0), np.diag(confusion[:, :-1])
    true_edges, true_hits, found_edges, found_hits = counts.boundaries.T.astype(np.float64)
    recalled, precise = _ratio(true_hits, true_edges), np.nan_to_num(_ratio(found_hits, found_edges))
    harmonic = np.where(recalled + precise == 0, 0, _ratio(2 * recalled * precise, recalled + precise))
    return {
        "iou": np.where(truth > 0, _ratio(hits, truth + found - hits), np.nan),
        "dice": np.where(truth > 0, _ratio(2 * hits, truth + found), np.nan),
        "precision": _ratio(hits, found),
        "recall": _ratio(hits, truth),
        "boundary_f": np.where(np.isnan(recalled), np.nan, harmonic),
    }


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; the result is NaN where the denominator is not positive."""
    out: Floats = np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
    return out


def _mean(values: Floats) -> float | None:
    """Return the mean of the values that are defined; None if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
