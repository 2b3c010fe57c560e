"""Stops a command in the middle of a pass over an image, so that another one can continue from its `--state`."""

from __future__ import annotations

from typing import Any

import pytest
from support.command_line import Fit

from fitcli.streaming import journal
from fitcli.streaming.journal import FolderJournal


def interrupt(moment: int, fit: Fit, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run `fit` in this process, which is faster, until it fails."""
    reached, calls = FolderJournal.record, []

    def fail(self: FolderJournal, *position: Any) -> None:
        calls.append(1)
        if len(calls) == moment:
            raise InterruptedError
        reached(self, *position)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "SAVE_SECONDS", 0)
        patch.setattr(FolderJournal, "record", fail)
        assert fit(*arguments).exit_code != 0
