"""Makes data sets whose images are never decoded: files in folders, and CSV files that list them."""

from __future__ import annotations

from pathlib import Path

from fitcli.data.dataset import Dataset


def touch(folder: Path, *names: str) -> Path:
    """Make files that are no images, and return their folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"never read")
    return folder


def table(folder: Path, *lines: str, name: str = "data.csv") -> Path:
    """Write a CSV file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def labelled(data: Dataset) -> dict[str, str]:
    """Return the class of each image for training or validation, by the name of its file."""
    return {sample.path.name: data.classes[sample.target] for sample in data.train + data.validation}
