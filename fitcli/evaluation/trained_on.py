"""Says how many of the images that are scored a run was trained on, and which patient each is of.

An image is known again by a digest of its file, under any name; by its name within the data set if a digest is missing,
as for a folder (OME-Zarr) or a run of an earlier version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fitcli import console
from fitcli.data.csv_listing import Labels, read_csv
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.file_digest import file_digests
from fitcli.errors import DataError, FitError
from fitcli.files.wording import counted
from fitcli.tasks.bootstrap import unit_names
from fitcli.tasks.evaluation_result import Evaluation, Split, TrainedOn
from fitcli.training.checkpointing.run_record import TrainedImage, load_fingerprint, load_trained_images

SEEN = {"": "no", "val": "validation", "train": "yes"}
"""Cell of the column `trained_on` by the split of the training, in ascending order."""


def compare_with_training(folder: Path, dataset: Dataset, samples: Sequence[Sample], split: Split) -> TrainedOn | None:
    """Return how many images the run was trained on, and warn of them; None without a record of the training.

    Args:
        folder: Run folder.
        dataset: The data set.
        samples: The images that are scored.
        split: Their split.
    """
    try:
        fingerprint = load_fingerprint(folder)
    except FitError:
        return None
    try:
        found = find_trained(load_trained_images(folder), samples)
    except FitError:
        found = None
    changed = split == "val" and fingerprint != dataset.fingerprint
    if found is None:
        if changed:
            console.warning(
                f"{folder}: was trained on another data set or another split of it; it may have seen images that are "
                "scored"
            )
        return None
    known = describe(found)
    if changed or (split in ("val", "test") and _is_seen(found)):
        other = "was trained on another data set or another split of it, and on" if changed else "was trained on"
        good = "; their scores are too good" if _is_seen(found) else ""
        console.warning(f"{folder}: {other} {known} that are scored{good}")
    return found


def find_trained(record: Sequence[TrainedImage], samples: Sequence[Sample]) -> TrainedOn:
    """Return how many of some images, and of their patients, are in the record of a training."""
    by_digest = {each.digest: each.split for each in record if each.digest}
    by_name = {each.name: each for each in record}
    digests = file_digests(samples) if by_digest else {}

    def seen(sample: Sample) -> str:
        own, named = digests.get(sample.key, ""), by_name.get(sample.key)
        if own and own in by_digest:
            return by_digest[own]
        # Under the same name with another content, it is another image.
        return named.split if named is not None and not (own and named.digest) else ""

    splits = tuple(map(seen, samples))
    document = {"images": splits.count("train"), "validated_on": splits.count("val"), "of": len(samples)}
    patients = {sample.patient for sample in samples if sample.patient}
    if patients:
        trained = {each.patient for each in record if each.split == "train"}
        trained |= {sample.patient for sample, each in zip(samples, splits, strict=True) if each == "train"}
        document |= {"patients": len(patients & trained), "of_patients": len(patients)}
    found = TrainedOn(document, (), splits)
    return found._replace(
        rows=(("trained on", describe(found)), ("validated on", counted(splits.count("val"), "image")))
    )


def trained_images(folder: Path, dataset: Dataset) -> list[Sample]:
    """Return the images of a data set that a run was trained on; without a record, those of its split for training."""
    try:
        if load_fingerprint(folder) == dataset.fingerprint:
            return list(dataset.train)
        every = [*dataset.train, *dataset.validation, *dataset.test]
        seen = find_trained(load_trained_images(folder), every).seen
    except FitError:
        return list(dataset.train)
    return [sample for sample, split in zip(every, seen, strict=True) if split == "train"]


def describe(found: TrainedOn) -> str:
    """Return the numbers as text, such as "3 of 12 images (2 of 6 patients)"."""
    numbers = found.document
    patients = f" ({numbers['patients']} of {numbers['of_patients']} patients)" if "patients" in numbers else ""
    return f"{numbers['images']} of {numbers['of']} images{patients}"


def _is_seen(found: TrainedOn) -> bool:
    return bool(found.document["images"] or found.document.get("patients"))


def with_patients(data: Path, samples: Sequence[Sample], labels: Labels, per: str, images: Path | None) -> list[Sample]:
    """Return images with the patients in a column of the CSV file.

    Raises:
        DataError: The data set is a folder, or has no such column.
    """
    if all(sample.patient for sample in samples) and per.lower() == "patient":
        return list(samples)
    if data.is_dir():
        raise DataError(f"{data}: --per {per} names a column; list the images in a CSV file to have one")
    try:
        listing = read_csv(data, labels, several=labels == "needed", group_by=per, images=images)
    except DataError as error:
        raise DataError(str(error).replace("--group-by", "--per")) from None
    patients = {row.key: row.patient for row in listing.rows}
    if without := [sample.key for sample in samples if not patients.get(sample.key)]:
        console.warning(
            f"{data}: {len(without)} of {len(samples)} images have no {per} ({', '.join(without[:3])}); each counts as "
            "one of its own"
        )
    return [replace(sample, patient=patients.get(sample.key, "")) for sample in samples]


def with_facts(
    result: Evaluation,
    scored: Sequence[tuple[Sample, list[float]]],
    samples: Sequence[Sample],
    found: TrainedOn | None,
) -> Evaluation:
    """Return scores with what is known of the images: rows of the CSV file get their patients and their training.

    Args:
        result: The scores; a row per image of `scored`.
        scored: The images that could be read.
        samples: All images.
        found: Images among `samples` that the run was trained on.
    """
    images, names = [sample for sample, _ in scored], []
    facts: list[list[str]] = []
    if any(sample.patient for sample in images):
        names.append("patient")
        facts.append([sample.patient for sample in images])
    units = result.units
    if found is not None:
        seen = dict(zip((sample.path for sample in samples), found.seen, strict=True))
        splits = [seen[sample.path] for sample in images]
        names.append("trained_on")
        facts.append([SEEN[split] for split in splits])
        if units is not None:
            of_unit: dict[str, list[str]] = {}
            for name, split in zip(unit_names(images), splits, strict=True):
                of_unit.setdefault(name, []).append(split)
            most = [max(each, key=list(SEEN).index) for each in of_unit.values()]
            rows = [(*row, SEEN[split]) for row, split in zip(units.rows, most, strict=True)]
            units = units._replace(columns=(*units.columns, "trained_on"), rows=rows)
    taken = {column.lower() for column in result.columns}
    columns = [f"image:{name}" if name in taken else name for name in names]
    rows = [(*row, *more) for row, *more in zip(result.rows, *facts, strict=True)] if facts else result.rows
    return replace(result, columns=(*result.columns, *columns), rows=rows, trained_on=found, units=units)
