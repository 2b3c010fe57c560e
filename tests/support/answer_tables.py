"""Makes data sets whose targets are of any kind; the images are not read."""

from __future__ import annotations

from pathlib import Path

from fitcli.data.column_kinds import Answer
from fitcli.data.dataset import Dataset, load_dataset
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.kinds import TARGET_KINDS

TARGETS = (
    Target("kind", "single-label", ("cat", "dog", "owl")),
    Target("marks", "multi-label", ("a", "b")),
    Target("size", "value", (), outputs=1, scale=(10.0, 2.0)),
    Target("grade", "order", ("low", "mid", "high"), outputs=2),
    Target("life", "survival", (), outputs=2, scale=(4.0, 9.0)),
)
"""A target of every kind."""

ANSWERS: list[tuple[Answer, ...]] = [
    ((0,), (0, 1), (12.0,), (1,), (3.0, 1.0)),
    ((2,), (), (), (), (8.5, 0.0)),
    ((1,), (1,), (3.0,), (2,), ()),
]
"""Answers of three images to `TARGETS`; of the second and the third, some are not known."""


def answer_table(folder: Path, heading: str, *rows: str) -> Path:
    """Write a CSV file whose rows are "SPLIT,CELLS"; the columns `path,split` come first. Return the file."""
    lines = [f"path,split,{heading}"]
    for number, row in enumerate(rows):
        (folder / f"{number}.png").write_bytes(b"not looked at")
        lines.append(f"{number}.png,{row}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "data.csv"


def answers_of(folder: Path, heading: str, *rows: str, training: bool = True) -> Dataset:
    """Return the data set of an `answer_table`."""
    return load_dataset(answer_table(folder, heading, *rows), training=training, kinds=TARGET_KINDS)
