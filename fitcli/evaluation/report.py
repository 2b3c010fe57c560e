"""Writes the report of an evaluation: scores, what the task shows, and the images with the worst answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fitcli import console
from fitcli.data.dataset import Sample
from fitcli.errors import FitError, ImageError
from fitcli.files.wording import counted
from fitcli.reports.page import page, write_page
from fitcli.reports.parts import Case, ColorKey, DataTable, Facts, Gallery, Lines, Part, Section
from fitcli.runs.finite_output import NonFiniteOutput
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.evaluation_result import Evaluation
from fitcli.tasks.task_report import Scored, TaskReport, ordered

WORST = 20
"""Number of images with the worst answers that are shown."""

MOST_FACTS = 8
"""Most scores that are shown large."""

FRACTION = re.compile(r"-?\d+\.\d")
"""Beginning of a score that is no count."""

MOST_SCORES = 150
"""Most rows of the table of all scores."""


def write_report(
    path: Path, evaluation: Evaluation, report: TaskReport, scored: Scored, opener: ImageOpener, about: Sequence[str]
) -> None:
    """Write the report of an evaluation.

    Args:
        path: The file.
        evaluation: The scores.
        report: Parts of the page that the task adds.
        scored: The images, each with the values of its score.
        opener: Opens the images as they were scored.
        about: Lines on the run and the data set.

    Raises:
        FitError: The file cannot be written.
    """
    sections = [
        Section("Scores", _scores(evaluation)),
        *report.sections(scored),
        Section("Samples", _samples(report)),
        Section("Worst images", _worst(report, scored, opener)),
    ]
    lines = [*about, f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"]
    write_page("--report", path, page(f"Evaluation: {evaluation.task}, split {evaluation.split}", lines, sections))


def _scores(evaluation: Evaluation) -> list[Part]:
    """Return the scores as they stand in the table and in the JSON document."""
    rows = [row for row in evaluation.as_rows() if row[0] not in ("task", "split")]
    # Counts stand in the table alone.
    fractions = [row for row in rows if FRACTION.match(row[1])]
    own = {name.replace("_", " ") for name in evaluation.scores}
    facts = ([row for row in fractions if row[0] in own] if len(evaluation.scores) > 2 else fractions)[:MOST_FACTS]
    parts: list[Part] = [Facts([("images", f"{evaluation.images:,}"), *facts])]
    bounds = evaluation.scores.get("intervals")
    if bounds and bounds["scores"]:
        noun = counted(bounds["units"], bounds["by"])
        parts.append(Lines([f"In brackets: 95 % bootstrap intervals over {noun} ({bounds['samples']:,} samples)."]))
    parts.append(DataTable("All scores", ("score", "value"), rows[:MOST_SCORES]))
    units = [] if evaluation.units is None else [evaluation.units.table]
    parts += [DataTable("", table.columns, table.rows) for table in (*evaluation.tables, *units)]
    return parts


def _samples(report: TaskReport) -> list[Part]:
    pictures = list(report.samples())
    return [Gallery("Generated images", [Case("", "", pictures)])] if pictures else []


def _worst(report: TaskReport, scored: Scored, opener: ImageOpener) -> list[Part]:
    """Return the images with the worst answers, the worst first."""
    badness = {number: report.badness(sample, row) for number, (sample, row) in enumerate(scored)}
    chosen = ordered(badness)[:WORST]
    cases = []
    with console.progress("report") as advance:
        for number in chosen:
            cases.append(_case(report, *scored[number], opener))
            advance(1 / len(chosen))
    caption = f"The {counted(len(cases), 'image')} with the worst answers of {len(scored):,}, the worst first"
    key = [ColorKey(colors)] if (colors := report.colors()) else []
    return [*key, Gallery(caption, cases)]


def _case(report: TaskReport, sample: Sample, row: list[float], opener: ImageOpener) -> Case:
    """Return an image with what was found in it, or why it cannot be shown."""
    try:
        with opener.open(sample.path) as image:
            return report.case(image, sample, row)
    except (ImageError, NonFiniteOutput, FitError) as error:
        return Case(str(sample.path), f"cannot be shown: {error}", ())
