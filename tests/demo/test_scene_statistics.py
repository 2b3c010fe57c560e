"""Neither a thumbnail nor the colours of the whole image reveal the class of a demo image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fitcli.demo.scenes import CLASSES, Scene
from fitcli.images.window import Window

TRAINED, HELD_OUT, SIDE = 90, 60, 512


@pytest.fixture(scope="module")
def pictures() -> list[NDArray[np.uint8]]:
    window = Window(0, 0, SIDE, SIDE)
    return [Scene(n, SIDE, SIDE, CLASSES[n % 3], 5).render(window) for n in range(TRAINED + HELD_OUT)]


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute 32 x 32 brightness values: means of 16 x 16 pixels, less the mean of the image."""
    grey = pixels.astype(np.float64).mean(-1)
    small = grey.reshape(SIDE // 16, 16, SIDE // 16, 16).mean((1, 3))
    return (small - small.mean()).ravel()


def colors(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the mean, the standard deviation and nine quantiles of each channel."""
    values = pixels.reshape(-1, 3).astype(np.float64)
    return np.concatenate(
        [values.mean(0), values.std(0), np.quantile(values, np.linspace(0.1, 0.9, 9), axis=0).ravel()]
    )


def held_out_accuracy(features: NDArray[np.float64]) -> float:
    """Fit ridge regression on the first images and return its accuracy on the rest."""
    labels = np.arange(len(features)) % 3
    features = (features - features[:TRAINED].mean(0)) / (features[:TRAINED].std(0) + 1e-9)
    train, targets = features[:TRAINED], np.eye(3)[labels[:TRAINED]] - 1 / 3
    # The dual form is smaller, because there are fewer images than features.
    weights = np.linalg.solve(train @ train.T + len(train.T) * np.eye(TRAINED), targets)
    predicted = (features[TRAINED:] @ train.T @ weights).argmax(1)
    return float((predicted == labels[TRAINED:]).mean())


@pytest.mark.walk(1)
@pytest.mark.parametrize("look", [thumbnail, colors])
def test_a_glance_does_not_help(look: object, pictures: list[NDArray[np.uint8]]) -> None:
    accuracy = held_out_accuracy(np.stack([look(picture) for picture in pictures]))  # type: ignore[operator]
    # Chance is 1/3; guesses at 60 images reach 1/2 once in 200 times.
    assert accuracy < 0.5


def test_the_same_probe_sees_the_marks_themselves(pictures: list[NDArray[np.uint8]]) -> None:
    """The same regression recognises the classes from the variation of the pixels in the marks at three distances."""

    def texture(n: int, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        grey = pixels.astype(np.float64).mean(-1)
        cuts = [grey[int(m.y) - 16 : int(m.y) + 16, int(m.x) - 16 : int(m.x) + 16] for m in scene(n).placed]
        return np.mean([[np.abs(c[:, d:] - c[:, :-d]).mean() for d in (2, 4, 6)] for c in cuts], 0)

    def scene(n: int) -> Scene:
        return Scene(n, SIDE, SIDE, CLASSES[n % 3], 5)

    assert held_out_accuracy(np.stack([texture(n, picture) for n, picture in enumerate(pictures)])) > 0.9
