"""Names the outputs of several inputs in one folder, one file each. One rule holds for every command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fitcli.errors import FitError


def output_names(option: str, out: Path, paths: Sequence[Path], suffix: str) -> list[Path]:
    """Return the path of the output of each input: `OUT/NAME.SUFFIX`, with the name of the input.

    If two inputs have the same name, the outputs of all lie in folders like those of the inputs: `OUT/FOLDER/NAME`.

    Args:
        option: Name of the option, for the message.
        out: The folder.
        paths: The inputs.
        suffix: Suffix of an output, with its dot.

    Raises:
        FitError: Two inputs of one folder have the same name.
    """
    names = [Path(path.stem) for path in paths]
    if _first_duplicates(names) is not None:
        absolute = [Path(os.path.abspath(path)) for path in paths]
        common = os.path.commonpath([path.parent for path in absolute])
        names = [path.relative_to(common).with_name(path.stem) for path in absolute]
    if (same := _first_duplicates(names)) is not None:
        raise FitError(
            f"{option} {out}: {paths[same[0]]} and {paths[same[1]]} have the same name; give one of them alone"
        )
    return [out / f"{name}{suffix}" for name in names]


def _first_duplicates(names: Sequence[Path]) -> tuple[int, int] | None:
    """Return the numbers of two equal names, ignoring case as some file systems do; None if all names differ."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if (earlier := first.setdefault(str(name).lower(), number)) != number:
            return earlier, number
    return None
