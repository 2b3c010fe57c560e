"""The layer plan, such as "(2)4(2)4": how local and global layers take turns. Standard library only."""

from __future__ import annotations

import re

from models.checks import ConfigError


def parse_plan(plan: str) -> tuple[tuple[int, int], ...]:
    """Read a layer plan: one "(local)global" per segment, as in "(2)4(2)4".

    A plan may end after a closing parenthesis: the last segment then has no global layers. Only the last segment may
    have none. (FIT, section 3: the layer string "(x)l".)

    Returns:
        (local layers, global layers) for each segment.

    Raises:
        ConfigError: The plan is not of this form.
    """
    text = plan + "0" if plan.endswith(")") else plan
    if not re.fullmatch(r"(\([0-9]+\)[0-9]+)+\n?", text, flags=re.ASCII):
        raise ConfigError(f"layer plan {plan!r} is not of the form '(2)4(2)4'")
    segments = tuple((int(a), int(b)) for a, b in re.findall(r"\(([0-9]+)\)([0-9]+)", text))
    for index, (_, mixing) in enumerate(segments[:-1]):
        if mixing == 0:
            raise ConfigError(f"layer plan {plan!r}: segment {index} has no global layers; only the last one may")
    return segments
