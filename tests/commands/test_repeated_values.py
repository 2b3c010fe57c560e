"""Several values after one option."""

from __future__ import annotations

import json

import pytest
from support.command_line import Fit

from fitcli.commands.repeated_values import repeated


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--res 1 2", "--res 1 --res 2"),
        ("--res 1 2,3 4 --mode train", "--res 1 --res 2,3 --res 4 --mode train"),
        ("--mode train --res 1 --res 2 3", "--mode train --res 1 --res 2 --res 3"),
        ("--res=1 2", "--res=1 2"),
        ("--mode train infer", "--mode train infer"),
        ("1 2 --json 3", "1 2 --json 3"),
        ("", ""),
    ],
)
def test_the_option_is_repeated(given: str, meant: str) -> None:
    assert repeated(given.split(), ["--res"]) == meant.split()


def test_sizes_of_an_estimate(fit: Fit) -> None:
    options = ["--preset", "debug", "--mode", "infer", "--device", "cpu", "--method", "estimate", "--json"]
    done = fit("profile-memory", "--res", "256", "512", *options)
    assert sorted({row["res"] for row in json.loads(done.stdout)["rows"]}) == [256, 512]
