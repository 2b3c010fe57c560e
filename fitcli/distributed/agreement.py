"""Compares what the ranks of a job hold: a rank with other settings, data or weights spoils a run without a word."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fitcli.distributed.world import World
from fitcli.errors import FitError

SHOWN = 60
"""Longest text of a value in an error, in characters."""


NAMED = 4
"""Number of ranks that an error names."""


def require_agreement(world: World, facts: Mapping[str, Any], advice: str) -> None:
    """Compare facts over all ranks. Collective.

    Args:
        world: The ranks.
        facts: Values by name, as JSON data.
        advice: Advice for the error message.

    Raises:
        FitError: They differ. The message, which is the same on all ranks, names those that differ from most others, or
            from rank 0 if there is no majority.
    """
    if world.size == 1:
        return
    ranks = [dict(each) for each in world.gather({name: _text(value) for name, value in facts.items()})]
    for name in dict.fromkeys(name for each in ranks for name in each):
        texts = [each.get(name, "none") for each in ranks]
        if len(set(texts)) > 1:
            # `most_common` keeps the order of the ranks among equal counts.
            usual = Counter(texts).most_common(1)[0][0]
            others = [rank for rank, text in enumerate(texts) if text != usual]
            has = "it has" if len(others) == 1 else f"rank {others[0]} has"
            error = FitError(
                f"{_named(others)} in {name}: {has} {_short(texts[others[0]])}, "
                f"rank {texts.index(usual)} has {_short(usual)}; {advice}"
            )
            error.shared = True
            raise error


def digest(value: Any) -> str:
    """Return a short hash of JSON data."""
    return hashlib.sha256(_text(value).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def weights_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return a short hash of named tensors, read from the device one after the other."""
    result = hashlib.sha256()
    for name, tensor in tensors:
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        if values.numel():
            result.update(values.view(torch.uint8).numpy().data)
    return result.hexdigest()[:16]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _named(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]} differs"
    more = f" and {len(ranks) - NAMED} more" if len(ranks) > NAMED else ""
    return f"ranks {', '.join(map(str, ranks[:NAMED]))}{more} differ"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
