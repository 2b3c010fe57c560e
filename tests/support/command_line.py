"""Calls the command line in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from fitcli.app import app


class Fit:
    """Calls `fit` with arguments of any type."""

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])
