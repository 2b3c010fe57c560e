"""Colours of the files that this task writes, for pages that show them; imports no torch."""

from __future__ import annotations

from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE, ColorScale

VALUE_SCALES: dict[str, ColorScale] = {"Evidence": EVIDENCE, "Contribution": CONTRIBUTION}
"""Colours by the first word of the description of a file."""
