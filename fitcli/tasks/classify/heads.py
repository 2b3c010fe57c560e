"""The output heads of a classifier, with those that other packages add, and what only the attention pool can answer."""

from __future__ import annotations

from torch import Tensor

from fitcli.errors import FitError
from fitcli.plugins.registry import Registry
from models.encoder import FITClassifier
from models.heads import FINDERS, HEADS, AddedHead, HeadFactory, gives_evidence
from models.pooling import AttentionPool

OUTPUT_HEADS: Registry[HeadFactory] = Registry("output head", "fit.heads", HEADS)
"""Output heads by the name that `--output-head` gives and `config.json` keeps."""

# A model that is built from a config may have a head of a package that nobody has imported yet.
FINDERS.append(OUTPUT_HEADS.find)


def attention_pool(model: FITClassifier, what: str) -> AttentionPool:
    """Return the head of a model; refuse one that is no attention pool.

    Args:
        model: The model.
        what: Name of a result that only an attention pool gives, such as "contributions to a class".

    Raises:
        FitError: The head is another one.
    """
    if isinstance(model.head, AttentionPool):
        return model.head
    raise FitError(f"the output head {model.config.output_head!r} gives no {what}; leave that out, or use another run")


def check_evidence(model: FITClassifier) -> None:
    """Raise FitError if the head of a model does not say how much each latent weighs."""
    if not gives_evidence(model.head):
        raise FitError(
            f"the output head {model.config.output_head!r} returns no weights of latents, so there is no heat map; "
            "leave --heatmap out, or use another run"
        )


def check_weights(model: FITClassifier, weights: Tensor) -> None:
    """Refuse weights of an added head that are no shares: a heat map of them would mean nothing.

    They need not sum to 1: heat maps show them relative to their sum.

    Args:
        model: The model.
        weights: Weights of the latents of an image for one target [g m], on the CPU.

    Raises:
        FitError: A weight is NaN, infinite or negative, or all of them are zero.
    """
    if not isinstance(model.head, AddedHead):
        return
    if not bool(weights.isfinite().all()):
        problem = "that are NaN or infinite"
    elif bool((weights < 0).any()):
        problem = "below zero"
    elif not bool(weights.any()):
        problem = "that are all zero"
    else:
        return
    raise FitError(
        f"output head {model.config.output_head!r} returned weights of latents {problem}, so there is no heat map; "
        "return shares of at least 0, leave --heatmap out, or use another run"
    )
