"""`fit info`: what image files are, without decoding a pixel, and what runs are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fitcli import console
from fitcli.commands.options import Images, Json
from fitcli.errors import CheckpointError, FitError, ImageError

if TYPE_CHECKING:
    from fitcli.images.base import ImageInfo
    from fitcli.images.contents import Contents, Series

PLANES = (
    "focal_planes", "time_points", "pages", "channel_names", "channel_colors", "magnification", "series", "read",
    "ignored", "choose", "crs", "bounds",
)  # fmt: skip
"""Properties of files with several planes, of slides and of maps."""


ONLY_IN_JSON = ("tasks", "thresholds", "sharpening")
"""Properties of runs that would be long rows of a table; `classes` names the targets."""


def info(
    images: Images,
    as_json: Json = False,
    show_augmentation: Annotated[
        Path | None,
        typer.Option(
            "--show-augmentation", help="Also write a PNG picture of what --augment does to an image.", metavar="FILE"
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            "--augment", help="What the picture shows: a list as for `fit train`; else all kinds.", metavar="LIST"
        ),
    ] = None,
) -> None:
    """Show size, levels, data type, resolution and planes of images; model, classes and best scores of run folders."""
    from fitcli.images.open import matching_paths
    from fitcli.runs.config import is_run

    described: list[dict[str, Any]] = []
    paths = matching_paths(images)
    if show_augmentation is not None:
        _show_augmentation(paths, show_augmentation, augment)
    elif augment is not None:
        raise FitError("--augment is for --show-augmentation FILE; give both, or leave it out")
    for path in paths:
        try:
            described.append(_describe_run(path) if is_run(path) else describe(path))
        except (ImageError, CheckpointError) as error:
            console.error(str(error))
    if as_json:
        console.json(described)
    else:
        for number, one in enumerate(described):
            if number:
                console.data("")
            columns, *rows = one.items()
            console.table(columns, [(name, show(value)) for name, value in rows if not _is_usual(name, value)])
    if len(described) < len(paths):
        raise typer.Exit(1)


def _show_augmentation(images: list[Path], file: Path, augment: str | None) -> None:
    """Write a picture of what augmentation does to an image."""
    from fitcli.data.augmentation_sheet import write_augmentation_sheet

    if len(images) != 1:
        raise FitError(f"--show-augmentation shows one image, and {len(images)} are given; give one")
    if file.suffix.lower() != ".png":
        raise FitError(f"--show-augmentation {file}: writes PNG files; give a name that ends with .png")
    shown = write_augmentation_sheet(images[0], file, augment)
    console.log(f"{file}: {shown.text()}")


def _is_usual(name: str, value: Any) -> bool:
    """Return whether the table leaves a property out: that of an image of a single plane, or a long one."""
    return name in ONLY_IN_JSON or (
        name in PLANES and (value in (None, [], 0, 1) or (name == "series" and len(value) == 1))
    )


def describe(path: Path) -> dict[str, Any]:
    """Return the properties of an image, as `--json` prints them.

    Raises:
        ImageError: There is no image at the path.
    """
    from fitcli.images.numbers import number_text
    from fitcli.images.open import stored_bytes
    from fitcli.images.read_as import open_as

    with open_as(path, lenient=True) as image:
        found, contents = image.info, image.describe_contents()
    features = {} if found.features is None else {"features": _describe_features(found)}
    return {
        "path": str(path),
        "format": found.format,
        "width": found.width,
        "height": found.height,
        "channels": found.channels,
        "dtype": found.dtype.name,
        "axes": found.axes,
        "levels": [{"width": at.width, "height": at.height, "downsample": at.downsample} for at in found.levels],
        "chunk": None if found.chunk is None else list(found.chunk),
        "mpp": found.mpp,
        # Often NaN, which JSON cannot express.
        "nodata": None if found.nodata is None else number_text(found.nodata),
        "bytes": stored_bytes(path),
        **features,
        **_described_planes(contents),
        **_described_place(found),
    }


def _described_planes(contents: Contents) -> dict[str, Any]:
    """Return the planes of the image that is read, all images of the file, and what a command has to choose."""
    from fitcli.images.contents import Series

    read = contents.series[contents.read] if contents.series else Series()
    ignored = [number for number in range(len(contents.series)) if number != contents.read]
    return {
        "focal_planes": read.focal_planes,
        "time_points": read.time_points,
        "pages": read.pages,
        "channel_names": list(read.channel_names),
        "channel_colors": list(read.channel_colors),
        "magnification": read.magnification,
        "series": [_series(number, each) for number, each in enumerate(contents.series)],
        "read": contents.read,
        "ignored": [f"series {number} {contents.series[number].name}".rstrip() for number in ignored],
        "choose": (["--series"] if contents.undecided else []) + _to_choose(read),
    }


def _series(number: int, series: Series) -> dict[str, Any]:
    return {
        "number": number,
        "name": series.name,
        "width": series.width,
        "height": series.height,
        "axes": series.axes,
        "focal_planes": series.focal_planes,
        "time_points": series.time_points,
        "pages": series.pages,
        "channels": series.channels,
        "levels": series.levels,
        "missing": series.missing,
    }


def _to_choose(read: Series) -> list[str]:
    """Return the options without which a command refuses the image."""
    options = ["--z"] if read.focal_planes > 1 else []
    options += ["--t"] if read.time_points > 1 else []
    return options + (["--z or --t or --channels"] if read.pages > 1 else [])


def _described_place(info: ImageInfo) -> dict[str, Any]:
    """Return the coordinate system and the bounds of an image: left, bottom, right, top in its units."""
    geo = info.geo
    return {
        "crs": None if geo is None or (code := geo.coordinate_system()) is None else f"EPSG:{code}",
        "bounds": None if geo is None or (bounds := geo.bounds(info.height, info.width)) is None else list(bounds),
    }


def _describe_features(found: ImageInfo) -> dict[str, Any]:
    """Return what is known of the places of an image of features."""
    grid = found.features
    assert grid is not None
    known = {
        "rows": found.height,
        "columns": found.width,
        "values": found.channels,
        "missing places": grid.missing,
        "patch": grid.patch,
        "distance of patches": grid.side,
        "first patch": [grid.left, grid.top],
        "slide": None if grid.slide is None else [grid.slide[1], grid.slide[0]],
        "slide mpp": grid.mpp,
        "magnification": grid.magnification,
        "patches off the grid": grid.moved,
        "patches left out": grid.dropped,
    }
    return {name: value for name, value in known.items() if value is not None}


def _describe_run(folder: Path) -> dict[str, Any]:
    from fitcli.training.checkpointing.run_description import describe_run

    return describe_run(folder)


def show(value: Any) -> str | list[str]:
    """Return a value of `describe` or `describe_run` as one line of text, or as several."""
    if isinstance(value, dict):
        return [f"{name}: {_line(one)}" for name, one in value.items()] or "-"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "missing" in value[0]:
        return [_series_line(series) for series in value]
    if isinstance(value, list) and value and isinstance(value[0], dict) and "downsample" in value[0]:
        return [f"{level['width']} x {level['height']} (1 : {level['downsample']:g})" for level in value]
    if isinstance(value, list) and value and all(isinstance(one, int) for one in value):
        return " x ".join(map(str, value))
    return _line(value)


def _series_line(series: dict[str, Any]) -> str:
    """Return an image of a file as one line."""
    name = f"{series['number']} {series['name']}".rstrip()
    if series["missing"]:
        return f"{name}: {series['missing']}"
    kinds = ("channels", "channel"), ("focal_planes", "focal plane"), ("time_points", "time point"), ("pages", "page")
    planes = [f"{count} {word}s" for key, word in kinds if (count := series[key]) > 1]
    return ", ".join((f"{name}: {series['width']} x {series['height']}", *planes))


def _line(value: Any) -> str:
    """Return a value as one line of text."""
    from fitcli.images.plane_choice import quoted_name

    if isinstance(value, list):
        return ", ".join(quoted_name(_line(one)) for one in value) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
