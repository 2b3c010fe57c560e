"""Words errors of the command line as the other errors: without the terms of the libraries that parse it.

Never imports torch.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

TERM = "Value error, "
"""Beginning of messages of pydantic, by which newer versions of typer convert values."""


class PlainUsageCommand(TyperCommand):
    """A command whose usage errors are in plain words."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the arguments; reword what is wrong with them."""
        try:
            return super().make_context(*args, **kwargs)
        except typer.BadParameter as error:
            error.message = plain_reason(error)
            raise


def plain_reason(error: typer.BadParameter) -> str:
    """Return why a value cannot be taken."""
    return error.message.removeprefix(TERM)
