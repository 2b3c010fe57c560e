"""Options of `fit generate` for runs of the task autoregressive. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from fitcli.runs.option import check_options, option


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingOptions:
    """Options that the values depend on; `Draws` explains them."""

    temperature: float = option(1.0, "Sampling temperature; 0: the likeliest value.", minimum=0)
    top_k: int | None = option(None, "Draw from the K likeliest values.", minimum=1, metavar="K")
    top_p: float = option(1.0, "Draw from the likeliest values of this total probability.", above=0, maximum=1)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoregressiveGenerateOptions(DrawingOptions):
    """All options of drawing value by value.

    Attributes:
        cuda_graphs: Whether to record the kernels of a value on a CUDA device and replay them, with the same values.
    """

    cuda_graphs: bool = option(False, "Replay recorded kernels on a CUDA device.")


GENERATE_OPTIONS = AutoregressiveGenerateOptions
SAMPLING_OPTIONS = DrawingOptions
