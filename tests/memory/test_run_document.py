"""Dry runs come back from their documents as they were, and documents name nothing but fit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_run import DryPass, DryStep
from fitcli.memory.run_document import UnknownError, from_document, to_document
from fitcli.profiling.shipped_tables import shipped_runs
from fitcli.tasks.registry import TASKS, find_task


@pytest.mark.parametrize("task", TASKS)
def test_runs_come_back(task: str) -> None:
    found = find_task(task)
    config = found.preset("debug").config
    plan = ExecutionPlan(kind="recompute", keep=0.5, selective=True, global_layers="selective")
    step = DryStep(task=found, config=config, plan=plan, precision="bf16", ranks=3)
    one = DryPass(task=found.passes, config=config, precision="fp32", streamed=True, keep_reads=True)
    for run in (step, one):
        again = from_document(json.loads(json.dumps(to_document(run))))
        assert again == run
        assert again.key == run.key


def test_configs_with_several_targets_come_back() -> None:
    found = find_task("classify")
    config = replace(found.preset("debug").config, classes=5, targets=(3, 2))
    run = DryStep(task=found, config=config, plan=ExecutionPlan(), precision="fp32")
    assert from_document(json.loads(json.dumps(to_document(run)))) == run


def test_peers_come_back() -> None:
    peers = [run for run in shipped_runs() if not isinstance(run, DryStep | DryPass)]
    assert peers
    assert [from_document(json.loads(json.dumps(to_document(run)))) for run in peers] == peers


@dataclass
class Elsewhere:
    """A class of no package of fit."""


def test_what_other_processes_cannot_find_is_refused() -> None:
    class Local(DryStep):
        """A class in a function."""

    found = find_task("classify")
    local = Local(task=found, config=found.preset("debug").config, plan=ExecutionPlan(), precision="fp32")
    for value in (local, Elsewhere(), object()):
        with pytest.raises(UnknownError):
            to_document(value)


@pytest.mark.parametrize(
    "document",
    [
        {"object": "os:system"}, {"class": "subprocess:Popen", "fields": {"args": "x"}},
        {"object": "fitcli.nowhere:X"}, {"object": "fitcli:nothing"}, [1], {"tuple": [{}]},
    ],
)  # fmt: skip
def test_documents_that_name_something_else_are_refused(document: object) -> None:
    with pytest.raises(UnknownError):
        from_document(document)
