"""The losses of a classifier with one class per image, with those that other packages add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor

from fitcli.errors import FitError, is_out_of_memory
from fitcli.plugins.registry import PluginError, Registry
from fitcli.tasks.classify.options import USUAL_LOSS

ClassLoss = Callable[[Tensor, Tensor, Tensor | None, float], Tensor]
"""Maps logits, labels, weights and smoothing, as those of `mean_cross_entropy`, to the mean over the images."""


def mean_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the weighted sum of the cross-entropies over the number of images, in nats.

    The divisor is the number of images, not the sum of their weights, which would cancel the weights in a batch of one
    image and shift them in every small batch. With class weights of mean 1 over the data set, the mean is the same.

    Args:
        logits: [b k].
        labels: [b] int64.
        weights: Class weights [k]; None for equal weights.
        smoothing: Share of the label that is spread over the classes.
    """
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing) / len(labels)


LOSSES: Registry[ClassLoss] = Registry("loss", "fit.losses", {USUAL_LOSS: mean_cross_entropy}, wanted="a function")
"""Losses by the name that `--loss` gives."""


@contextmanager
def foreign_errors(name: str) -> Iterator[None]:
    """Turn what a loss of another package raises into an error that names it; it may raise anything."""
    try:
        yield
    except Exception as error:
        if name not in LOSSES.added() or isinstance(error, FitError) or is_out_of_memory(error):
            raise
        raise PluginError(
            f"loss {name!r} failed ({type(error).__name__}: {error}); correct it, or take another"
        ) from error


def one_number(loss: object, name: str, logits: Tensor) -> Tensor:
    """Return what a loss returned; refuse what is no mean over the images.

    Args:
        loss: Value that it returned.
        name: Its name.
        logits: The logits that it was given.

    Raises:
        PluginError: It is no number, or does not depend on the logits.
    """
    if not isinstance(loss, Tensor) or loss.dim() > 0:
        shape = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise PluginError(f"loss {name!r} must return one number, the mean over the images, not {shape:.80}")
    if logits.requires_grad and not loss.requires_grad:
        raise PluginError(f"loss {name!r} returns a number that does not depend on the logits; nothing can be learned")
    return loss
