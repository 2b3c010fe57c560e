"""The usual size of a handful: enough groups to keep a device busy, few enough for its caches and its memory."""

from __future__ import annotations

from typing import Literal

from models.config import TrunkConfig

Use = Literal["step", "pass"]
"""A training step, or a forward pass."""

TOKENS: dict[tuple[Use, str], int] = {
    ("step", "cpu"): 2048, ("step", "cuda"): 8192, ("step", "mps"): 8192,
    ("pass", "cpu"): 2048, ("pass", "cuda"): 65536, ("pass", "mps"): 16384,
}  # fmt: skip
"""Tokens of a handful, by use and kind of device."""


def usual_handful(config: TrunkConfig, use: Use, device: str) -> int:
    """Return the usual number of groups of a handful on a kind of device: "cpu", "cuda" or "mps"."""
    return max(1, TOKENS[use, device] // config.tokens)
