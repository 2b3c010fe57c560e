"""Calls the command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from fitcli.app import app


class Fit:
    """Calls `fit` with arguments of any type. Runs write no page, which takes longer than their steps, without `--report`."""

    def __call__(self, *arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        if words[:1] == ["train"] and "--report" not in words:
            words.insert(1, "--no-report")
        return CliRunner().invoke(app, words)
