"""Reports the rows of `fit profile-memory`, as a table or as JSON."""

from __future__ import annotations

from typing import Any

from fitcli import console
from fitcli.errors import FitError
from fitcli.memory.budget import size_text
from fitcli.memory.estimate import OVERHEAD, estimate_step, parameter_count, parameters_text
from fitcli.memory.plan import COMPARED, named_plans
from fitcli.profiling.measure import measure_peer
from fitcli.profiling.peer_estimate import estimate_peer
from fitcli.profiling.peer_models import can_build
from fitcli.profiling.peers import Peer
from fitcli.profiling.profile import (
    MOST_GROUPS,
    execution_names,
    largest_sizes,
    profile,
    smallest_need,
    title,
    training_step,
    where_to_measure,
)
from fitcli.profiling.rows import Mode, Row
from fitcli.profiling.subject import Conditions, Subject

COLUMNS = ("image", "", "execution", "peak", "computing", "elsewhere", "fits", "largest side", "")


def report_table(
    subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int], peers: list[Peer]
) -> None:
    """Print the rows as a table, with remarks."""
    _check(subject, conditions, modes, sizes)
    rows = _rows(subject, conditions, modes, sizes)
    largest = largest_sizes(subject, conditions, modes)
    cells = [row.as_cells(_side_text(subject, largest.get((row.mode, row.execution)))) for row in rows]
    if "train" in modes:
        cells += [cell for size in sizes for cell in _peer_cells(subject, conditions, size, peers)]
    console.table(COLUMNS, cells, title(subject, conditions))
    for remark in filter(None, (_edge_remark(subject, modes, res) for res in sizes)):
        console.log(remark)
    if "train" in modes:
        console.log(f"the row {COMPARED} is for comparison: `fit train` never takes it")
    if conditions.device != "cpu":
        reserve = size_text(OVERHEAD[conditions.device])
        console.hint(f"to fit, a device needs about {reserve} for itself and 5 % for fragments beside the peak")


def report_json(
    subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int], peers: list[Peer]
) -> dict[str, Any]:
    """Return the rows as one JSON document."""
    _check(subject, conditions, modes, sizes)
    largest = largest_sizes(subject, conditions, modes)
    return {
        "model": {
            "name": subject.name,
            "task": subject.task,
            "parameters": parameter_count(subject.config),
            "plan": subject.config.plan,
            "group_pixels": subject.group_pixels,
        },
        "device": conditions.device,
        "batch_size": conditions.images,
        "rows": [row.as_dict(subject, conditions) for row in _rows(subject, conditions, modes, sizes)],
        "limit": {
            "budget_bytes": conditions.budget_bytes,
            "largest_res": max(largest.values()),
            "largest_res_by_execution": [
                {"mode": mode, "execution": name, "res": side} for (mode, name), side in largest.items()
            ],
        },
        "peers": [_peer(subject, conditions, size, peer, again) for size in sizes for peer in peers
                  for again in (False, True)] if "train" in modes else [],
    }  # fmt: skip


def _side_text(subject: Subject, side: int | None) -> str:
    """Return the side of the largest image as text, with "or more" at the limit of `largest_sizes`."""
    if side is None:
        return ""
    return f"{side:,}{' or more' if side >= MOST_GROUPS * subject.group_pixels else ''}"


def _edge_remark(subject: Subject, modes: list[Mode], res: int) -> str:
    """Return what happens to an image that is no whole number of groups; "" if it is one."""
    side = subject.group_pixels
    sizes = {mode: subject.side(res, mode == "train") * side for mode in modes}
    parts = [f"are padded to {sizes[mode]}" for mode in modes if sizes[mode] > res][:1]
    if any(size < res for size in sizes.values()):
        parts = [f"are cropped to {sizes['train']} for training", *(f"{part} for inference" for part in parts)]
    return f"{res} pixels {' and '.join(parts)}: groups are {side} pixels wide" if parts else ""


def _check(subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int]) -> None:
    if subject.crops and "train" in modes and min(sizes) < subject.group_pixels:
        raise FitError(
            f"--res {min(sizes)}: training needs whole groups, which are {subject.group_pixels} pixels wide; "
            f"give at least {subject.group_pixels}, or --mode infer"
        )
    if conditions.budget_bytes < (least := smallest_need(subject, conditions, modes)):
        raise FitError(
            f"{size_text(conditions.budget_bytes)} are too little for this model of "
            f"{parameters_text(subject.config)}: the smallest image takes {size_text(least)}; "
            "give a larger --budget, or a smaller model"
        )


def _rows(subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int]) -> list[Row]:
    rows: list[Row] = []
    count = sum(len(execution_names(subject, conditions, mode)) for mode in modes) * len(sizes)
    with console.status("profiling") as advance:
        for row in profile(subject, conditions, modes, sizes):
            rows.append(row)
            advance(1 / count, f"{row.res} x {row.res}, {row.mode}, {row.execution}")
    return rows


def _peer(subject: Subject, conditions: Conditions, res: int, peer: Peer, checkpointed: bool) -> dict[str, Any]:
    work = training_step(subject, conditions, subject.side(res, training=True))
    estimate = estimate_peer(peer, work, res, checkpointed)
    runtime = where_to_measure(conditions, estimate) if can_build(peer) else None
    measured = None if runtime is None else measure_peer(peer, work, res, checkpointed, runtime)
    plain = estimate_step(work, named_plans(work)["plain"])
    return {
        "res": res,
        "name": peer,
        "checkpointed": checkpointed,
        "method": "estimate" if measured is None else "measure",
        "peak_bytes": estimate.peak_bytes if measured is None else measured.peak_bytes,
        "seconds": None if measured is None else measured.seconds,
        "flops": estimate.total_flops,
        "flops_over_plain": estimate.total_flops / plain.total_flops,
        "fits": estimate.needed_bytes <= conditions.budget_bytes,
    }


def _peer_cells(subject: Subject, conditions: Conditions, res: int, peers: list[Peer]) -> list[list[str]]:
    cells = []
    for peer in peers:
        for checkpointed in (False, True):
            entry = _peer(subject, conditions, res, peer, checkpointed)
            cells.append([
                f"{res} x {res}", "train", f"{peer}, checkpointed" if checkpointed else peer,
                size_text(entry["peak_bytes"]), f"x {entry['flops_over_plain']:.1f}", "",
                "yes" if entry["fits"] else "no", "",
                "estimated" if entry["seconds"] is None else f"measured, {entry['seconds']:.2f} s",
            ])  # fmt: skip
    return cells
