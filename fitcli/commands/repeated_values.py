"""A command that takes several values after one option: `--res 4096 8192` means `--res 4096 --res 8192`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitcli.commands.plain_usage import PlainUsageCommand


class RepeatedValuesCommand(PlainUsageCommand):
    """A command without arguments, whose options that are lists take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the options before the arguments are parsed."""
        lists = [name for each in self.params if each.multiple for name in each.opts]
        return super().parse_args(ctx, repeated(args, lists))


def repeated(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return arguments of a command line with these options before each of the values that follow them."""
    result: list[str] = []
    option = ""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-"):
            option = argument if argument in options else ""
        elif not before.startswith("-") and before and option:
            result.append(option)
        result.append(argument)
    return result
