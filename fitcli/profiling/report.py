"""The answers of `fit profile-memory`, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from fitcli import console
from fitcli.errors import FitError
from fitcli.memory.budget import OVERHEAD, size_text
from fitcli.memory.estimate import estimate_step, parameters
from fitcli.memory.plan import named_plans
from fitcli.profiling.measure import measure_peer
from fitcli.profiling.peer_models import can_build
from fitcli.profiling.peers import Peer, estimate_peer
from fitcli.profiling.profile import (
    MOST_GROUPS,
    executions,
    floor,
    largest_sizes,
    profile,
    title,
    training,
    where_to_measure,
)
from fitcli.profiling.rows import Conditions, Mode, Row, Subject

COLUMNS = ("image", "", "execution", "peak", "computing", "elsewhere", "fits", "largest side", "")


def report_table(
    subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int], peers: list[Peer]
) -> None:
    """Print a table, with what is to be said about it."""
    _check(subject, conditions, modes)
    rows = _rows(subject, conditions, modes, sizes)
    most = largest_sizes(subject, conditions, modes)
    cells = [row.as_cells(_side(subject, most.get((row.mode, row.execution)))) for row in rows]
    if "train" in modes:
        cells += [cell for size in sizes for cell in _peer_cells(subject, conditions, size, peers)]
    console.table(COLUMNS, cells, title(subject, conditions))
    for res in sizes:
        if (padded := subject.side(res) * subject.group_pixels) != res:
            console.log(f"{res} pixels are padded to {padded}: groups are {subject.group_pixels} pixels wide")
    if conditions.device != "cpu":
        reserve = size_text(OVERHEAD[conditions.device])
        console.hint(f"beside the peak a device needs about {reserve} for itself and 5 % for fragments, to fit")


def report_json(
    subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int], peers: list[Peer]
) -> dict[str, Any]:
    """The same as one document."""
    _check(subject, conditions, modes)
    most = largest_sizes(subject, conditions, modes)
    return {
        "model": {
            "name": subject.name,
            "task": subject.task,
            "parameters": parameters(subject.config),
            "plan": subject.config.plan,
            "group_pixels": subject.group_pixels,
        },
        "device": conditions.device,
        "batch_size": conditions.images,
        "rows": [row.as_dict(subject, conditions) for row in _rows(subject, conditions, modes, sizes)],
        "limit": {
            "budget_bytes": conditions.budget_bytes,
            "largest_res": max(most.values()),
            "largest_res_by_execution": [
                {"mode": mode, "execution": name, "res": side} for (mode, name), side in most.items()
            ],
        },
        "peers": [_peer(subject, conditions, size, peer, again) for size in sizes for peer in peers
                  for again in (False, True)] if "train" in modes else [],
    }  # fmt: skip


def _side(subject: Subject, most: int | None) -> str:
    """The side of the largest image, in words: nobody looks for one beyond a limit of ours."""
    if most is None:
        return ""
    return f"{most:,}{' or more' if most >= MOST_GROUPS * subject.group_pixels else ''}"


def _check(subject: Subject, conditions: Conditions, modes: list[Mode]) -> None:
    if conditions.budget_bytes < (least := floor(subject, conditions, modes)):
        raise FitError(
            f"{size_text(conditions.budget_bytes)} are too little for this model of "
            f"{parameters(subject.config) / 1e6:.0f} M parameters: the smallest image takes {size_text(least)}"
        )


def _rows(subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int]) -> list[Row]:
    rows: list[Row] = []
    count = sum(len(executions(subject, conditions, mode)) for mode in modes) * len(sizes)
    with console.status("profiling") as say:
        for row in profile(subject, conditions, modes, sizes):
            rows.append(row)
            say(1 / count, f"{row.res} x {row.res}, {row.mode}, {row.execution}")
    return rows


def _peer(subject: Subject, conditions: Conditions, res: int, peer: Peer, checkpointed: bool) -> dict[str, Any]:
    work = training(subject, conditions, subject.side(res))
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
            found = _peer(subject, conditions, res, peer, checkpointed)
            cells.append([
                f"{res} x {res}", "train", f"{peer}, checkpointed" if checkpointed else peer,
                size_text(found["peak_bytes"]), f"x {found['flops_over_plain']:.1f}", "",
                "yes" if found["fits"] else "no", "",
                "estimated" if found["seconds"] is None else f"measured, {found['seconds']:.2f} s",
            ])  # fmt: skip
    return cells
