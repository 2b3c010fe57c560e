"""Names the outputs of several inputs in one folder, one file each. One rule holds for every command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fitcli.errors import FitError
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.files.path_choice import output_stem, stored_path


def plan_outputs(option: str, paths: Sequence[Path], out: Path, suffixes: Sequence[str], suffix: str) -> list[Path]:
    """Return the path of the output for each image: a file, or `NAME` in a folder, which is created if missing.

    `output_names` has the rule for images of equal names.

    Args:
        option: Option that gave `out`, for messages.
        paths: The images.
        out: File or folder.
        suffixes: Suffixes of files, in lower case.
        suffix: Suffix of the files in a folder.

    Raises:
        FitError: `out` is one file for several images, two images of one folder have the same name, or `out` cannot be
            written to.
    """
    if out.name.lower().endswith(tuple(suffixes)) and not (out.is_dir() and out.suffix.lower() != ".zarr"):
        if len(paths) != 1:
            raise FitError(f"{option} {out} is one file for {len(paths)} images; give a folder")
        check_output_file(option, out)
        planned = [out]
    else:
        if out.suffix and not out.is_dir():
            raise FitError(f"{option} {out}: name it {' or '.join(suffixes)}, or give a folder, without a suffix")
        planned = output_names(option, out, paths, suffix)
        try:
            for folder in {out, *(path.parent for path in planned)}:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FitError(f"{option} {out}: cannot be created ({error.strerror})") from None
        check_output_folder(option, planned[0].parent)
    check_not_replaced(option, planned, paths)
    return planned


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
    names = [Path(output_stem(path)) for path in paths]
    if _first_duplicates(names) is not None:
        absolute = [Path(os.path.abspath(stored_path(path))) for path in paths]
        common = os.path.commonpath([path.parent for path in absolute])
        names = [path.relative_to(common).with_name(name.name) for path, name in zip(absolute, names, strict=True)]
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
