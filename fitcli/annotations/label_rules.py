"""How labels are read."""

from __future__ import annotations

from dataclasses import dataclass

from fitcli.errors import DataError
from fitcli.files.spelling import composed


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How labels are read.

    Attributes:
        elsewhere: Name of the class of pixels that no polygon covers, in the form of `ClassTable.names`; None to ignore
            them.

    Raises:
        DataError: The name is empty.
    """

    elsewhere: str | None = None

    def __post_init__(self) -> None:
        if self.elsewhere is None:
            return
        object.__setattr__(self, "elsewhere", composed(self.elsewhere.strip()))
        if not self.elsewhere:
            raise DataError("elsewhere: the class of what no polygon covers has no name; give it one, or leave it out")
