"""A result is recalled only if its image, the model and everything else that it depends on are unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fitcli.device.runtime import choose_runtime
from fitcli.distributed.image_queue import ImageQueue, ResultJournal
from fitcli.distributed.world import Axis, World
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.result_journal import open_result_journal
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")
QUEUE = ImageQueue(World(data=Axis()))
"""The queue of a process that torchrun started."""


def journal(
    checkpoint: Checkpoint[Any], paths: list[Path], output: Path | None, queue: ImageQueue = QUEUE, **changes: Any
) -> ResultJournal | None:
    state, background = changes.pop("state", None), changes.pop("background", None)
    arguments: dict[str, Any] = {"command": "classify", "details": {"top_k": 3}, "per_image": None, **changes}
    return open_result_journal(
        queue, arguments["command"], checkpoint, CPU, EncodingSettings(state=state, background=background), paths,
        [None] * len(paths), output=output, details=arguments["details"], per_image=arguments["per_image"],
    )  # fmt: skip


def test_a_result_depends_on_its_image_and_on_the_job(trained: Path, tmp_path: Path) -> None:
    checkpoint = load_run(trained, CPU, CLASSIFY)
    paths = [tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "absent.tif"]
    for path in paths[:2]:
        path.write_bytes(b"pixels")
    first = journal(checkpoint, paths, tmp_path / "out.csv")
    assert first is not None
    assert first.folder == tmp_path / ".out.csv.done"
    for index in range(3):
        first.keep(0, index, index + 1)

    def recalled(**changes: Any) -> list[Any]:
        again = journal(changes.pop("checkpoint", checkpoint), paths, tmp_path / "out.csv", **changes)
        assert again is not None
        return [again.recall(index) for index in range(3)]

    assert recalled() == [1, 2, None]
    assert recalled(command="embed") == recalled(details={"top_k": 4}) == [None] * 3
    assert recalled(background=0.1) == recalled(per_image=[0, 1, 2]) == [None] * 3
    # The target of an image may be a file.
    assert recalled(per_image=[(number, tmp_path / "labels.png") for number in range(3)]) == [None] * 3
    other = load_run(trained, CPU, CLASSIFY)
    next(other.model.parameters()).add_(1)
    assert recalled(checkpoint=other) == [None] * 3
    assert recalled(checkpoint=replace(checkpoint)) == [1, 2, None]
    paths[0].write_bytes(b"other pixels")
    assert recalled() == [None, 2, None]


def test_results_are_kept_only_for_a_job_that_torchrun_may_restart(trained: Path, tmp_path: Path) -> None:
    checkpoint = load_run(trained, CPU, CLASSIFY)
    assert journal(checkpoint, [], tmp_path / "out.csv", ImageQueue()) is None
    assert journal(checkpoint, [], None) is None
    kept = journal(checkpoint, [], None, state=tmp_path / "state")
    assert kept is not None
    assert kept.folder == tmp_path / "state" / "done"
