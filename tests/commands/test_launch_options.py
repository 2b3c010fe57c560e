"""Options of one start of a run stand in no recipe, and the help of `fit train` has each."""

from __future__ import annotations

from typing import get_args

import pytest
from support.command_line import Fit

from fitcli.commands import launch_options

OPTIONS = {
    name: next(part for part in get_args(kind) if hasattr(part, "param_decls"))
    for name, kind in vars(launch_options).items()
    if get_args(kind) and hasattr(kind, "__metadata__")
}


@pytest.mark.walk(4)
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "DataSet"])
def test_fit_train_has_it(name: str, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    option = OPTIONS[name]
    shown = fit("train", "--help").stdout
    # Typer takes the first word as the default of an option without one.
    assert all(word in shown for word in option.default.split("/"))
    assert option.help in shown
