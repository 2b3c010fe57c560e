"""The options of `fit train` that belong to one start of a run: where it lies, whether it goes on, how it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli.commands.options import COMPUTING
from fitcli.runs.train_settings import IMAGES, STOPPING

DataSet = Annotated[Path, typer.Argument(metavar="DATA", help="Data set: a folder or a CSV file.")]
RunToWrite = Annotated[Path, typer.Option("--out", help="Run folder to write.", metavar="RUN")]
CrossValidate = Annotated[
    int | None,
    typer.Option(
        "--cross-validate",
        help="Train N runs, one per fold.",
        min=2,
        metavar="N",
        rich_help_panel=IMAGES,
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in RUN.")]
AutoResume = Annotated[
    bool, typer.Option("--auto-resume", help="Continue RUN if it is a run.", rich_help_panel=STOPPING)
]
AcceptChangedData = Annotated[
    bool, typer.Option("--accept-changed-data", help="Resume with changed data.", rich_help_panel=STOPPING)
]
MaxMinutes = Annotated[
    float,
    typer.Option(
        "--max-minutes",
        help="Minutes after which to save and stop.",
        min=0,
        metavar="X",
        show_default=False,
        rich_help_panel=STOPPING,
    ),
]
Shard = Annotated[bool, typer.Option("--shard", help="Share weights over processes.", rich_help_panel=COMPUTING)]
GroupParallel = Annotated[
    int,
    typer.Option(
        "--group-parallel",
        min=1,
        metavar="N",
        help="Processes per image.",
        show_default=False,
        rich_help_panel=COMPUTING,
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="Images read at once.", rich_help_panel=COMPUTING)
]
RunReport = Annotated[
    bool, typer.Option("--report/--no-report", help="Write RUN/report.html.", rich_help_panel=STOPPING)
]
