"""`fit evaluate DATA --checkpoint RUN`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.commands.image_pass import ScoringOptions
from fitcli.commands.options import CheckpointFolder, ImageFolder, Json, OnePerPlace, answer_choices, given
from fitcli.commands.signature import with_fields, with_options
from fitcli.errors import FitError
from fitcli.runs.option import flag, refuse_foreign_options
from fitcli.runs.train_settings import LARGEST_SEED
from fitcli.tasks.registry import sampling_options

if TYPE_CHECKING:
    from fitcli.evaluation.quality.measure import QualitySettings
    from fitcli.tasks.evaluation_result import Evaluation

PANEL = "Quality of generated images"


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityOptions:
    """Options of generated images that are compared with real ones. `with_fields` declares them."""

    samples: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="After all scores, generate N images and compare them with the split: distances, seams, copies.",
            rich_help_panel=PANEL,
        ),
    ] = None
    sample_size: Annotated[
        int | None,
        typer.Option(
            min=8, metavar="PIXELS", help="Sides of these images; default: as in training.", rich_help_panel=PANEL
        ),
    ] = None
    crop: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="PIXELS",
            help="Sides of the crops that are compared; default: the largest that all images have.",
            rich_help_panel=PANEL,
        ),
    ] = None
    features_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Classifier of `fit train` for the Fréchet distance, of the vectors before its last layer.",
            rich_help_panel=PANEL,
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of these images.", rich_help_panel=PANEL)] = 0


@with_options({}, sampling_options(), "Images of a run of --task {task}", "Images of a run of several tasks")
@with_fields
def evaluate(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set, as for `fit train`.")],
    checkpoint: CheckpointFolder,
    split: Annotated[
        Literal["val", "train", "test", "all"], typer.Option(help="Which images; val are those held out in training.")
    ] = "val",
    images: ImageFolder = None,
    per: Annotated[
        str | None,
        typer.Option(
            "--per",
            metavar="COLUMN",
            help="Also score each value of this column, such as patient: by mean and maximum of its images.",
        ),
    ] = None,
    one_per_place: OnePerPlace = None,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file: a line per image, or per patient.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with scores, curves and the worst answers.")
    ] = None,
    *,
    options: ScoringOptions,
    quality: QualityOptions,
    **sampling: Any,
) -> None:
    """Score a run on a data set, and say how many of its images the run was trained on.

    A classifier: accuracy, balanced accuracy, AUROC, calibration error and confusion of each target, sensitivity and
    specificity at the threshold that validation chose, with 95 % intervals over patients, or images; of values, orders
    and survival: R2, kappa, C-index and errors. A segmentation: IoU, Dice and boundaries. A detection: AP, precision,
    recall and FROC. An autoregressive model: bits per dimension. A diffusion model: the error of its predictions at ten
    levels of noise. Both, with --samples: the quality of the images that they generate.
    """
    from fitcli.evaluation.evaluate import evaluate as run_evaluation
    from fitcli.reports.page import check_page
    from fitcli.tasks.classify.classify_files import check_csv
    from fitcli.tasks.evaluation_result import write_csv

    compared = _quality_settings(checkpoint, quality, sampling, given(context))
    with options.connect() as queue:
        check_csv(csv, [data])
        check_page("--report", report, [data, *([] if csv is None else [csv])])
        runtime = options.runtime()
        choices = answer_choices(one_per_place)
        found = run_evaluation(
            queue,
            data,
            checkpoint,
            split,
            runtime,
            options.settings(),
            csv,
            images,
            per,
            choices=choices,
            quality=compared,
            report=report,
        )
        if csv is not None and found is not None:
            write_csv(csv, found)
    if found is None:
        return
    _show(found, json)
    if found.failed or not found.complete:
        raise typer.Exit(1)


def _show(found: Evaluation, json: bool) -> None:
    if json:
        console.json(found.as_dict())
        return
    console.table(("score", "value"), found.as_rows())
    confusion = found.confusion()
    units = found.units and found.units.table
    for table in filter(None, (*found.tables, confusion, units)):
        console.table(*table)


def _quality_settings(
    checkpoint: Path, quality: QualityOptions, sampling: dict[str, Any], names: frozenset[str]
) -> QualitySettings | None:
    """Return how generated images are compared; None if they are not.

    Raises:
        FitError: An option would have no effect on this run.
    """
    own = [each.name for each in fields(QualityOptions)]
    if quality.samples is None:
        if useless := [name for name in (*own, *sampling) if name in names]:
            raise FitError(f"{flag(useless[0])} is for --samples; give that too, or leave it out")
        return None
    from fitcli.evaluation.quality.measure import QualitySettings
    from fitcli.tasks.load import load_config

    task = load_config(checkpoint).task
    if task not in sampling_options():
        raise FitError(f"--samples is for runs that generate images, not for those of --task {task}; leave it out")
    refuse_foreign_options(task, sampling_options(), names)
    settings = sampling_options()[task]
    return QualitySettings(
        samples=quality.samples,
        side=quality.sample_size,
        crop=quality.crop,
        features_from=quality.features_from,
        seed=quality.seed,
        options=settings(**{each.name: sampling[each.name] for each in fields(settings)}),
    )
