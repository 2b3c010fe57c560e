"""Parse a layer plan such as "(2)4(2)4": how local and global layers alternate. Standard library only."""

from __future__ import annotations

import re

from models.checks import ConfigError


def parse_plan(plan: str) -> tuple[tuple[int, int], ...]:
    """Parse a layer plan: one "(local)global" per segment, as in "(2)4(2)4" (FIT, section 3: layer string "(x)l").

    A plan may end with a closing parenthesis: the last segment then has no global layers. Every other segment has at
    least one.

    Returns:
        Numbers of (local layers, global layers) of each segment.

    Raises:
        ConfigError: The plan does not have this form.
    """
    text = plan + "0" if plan.endswith(")") else plan
    if not re.fullmatch(r"(\([0-9]+\)[0-9]+)+\n?", text, flags=re.ASCII):
        raise ConfigError(f"layer plan {plan!r} does not have the form '(2)4(2)4'")
    segments = tuple((int(a), int(b)) for a, b in re.findall(r"\(([0-9]+)\)([0-9]+)", text))
    for index, (_, mixing) in enumerate(segments[:-1]):
        if mixing == 0:
            raise ConfigError(f"layer plan {plan!r}: segment {index} has no global layers; only the last one may")
    return segments
