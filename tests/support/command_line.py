"""Calls the command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from fitcli.app import app


class Fit:
    """Calls `fit` with arguments of any type.

    A run writes no page without `--report`: the page takes longer than the steps of such runs.
    """

    def __call__(self, *arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        if words[:1] == ["train"] and "--report" not in words:
            words.insert(1, "--no-report")
        return CliRunner().invoke(app, words)
