"""Samples sequences from a decoder token by token, and keeps tokens that are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.tasks.autoregressive.decoding.cuda_graphs import RecordedFunction, Recorder
from fitcli.tasks.autoregressive.decoding.kv_cache import CachedDecoder
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from models.decoder import FITDecoder
from models.groups import Groups

Draw = Callable[[Tensor, Tensor], Tensor]
"""Maps the ids [b] before a position, and a random number for each [b], to the ids [b] at the position."""

FREE = -1
"""Stands for an id that is drawn, among ids that are given."""

INVALID = -2
"""Stands for the ids of an image for which the model gave NaN or infinity."""


@torch.inference_mode()
def sample(
    model: FITDecoder,
    groups: Groups,
    first: Sequence[int],
    draws: Draws,
    labels: Sequence[int] | None = None,
    known: Tensor | None = None,
    images: Sequence[int] | None = None,
    advance: Callable[[int], None] = lambda count: None,
    graphs: bool = False,
) -> Tensor:
    """Draw a batch of sequences.

    The random number of a draw is addressed by seed, image and position. So a sequence does not depend on the others
    of the batch, except for rounding: in float32 the last bit of the logits depends on the batch, and a number that
    falls between two tokens within that error may draw the other one.

    Args:
        model: The decoder, in eval mode.
        groups: Groups of one image, in the order of the sequence.
        first: Id in front of each sequence [b], see `SequenceConfig.first`.
        draws: Settings of the drawing of tokens.
        labels: Class of each image [b]; None for a model without classes.
        known: Ids [g n] int64 that all images keep, `FREE` where ids are drawn; None to draw all. A draw depends on
            the ids before its position only.
        images: Number of each image [b], which addresses its random numbers; None for 0, 1, ...
        advance: Called with a number of groups when these are finished.
        graphs: Whether to record and replay the kernels of a token, on a CUDA device. Each position of a group has a
            graph of its own, recorded in the second group. The bits are the same.

    Returns:
        The ids [b g n] int64, on the device of the model. Those of an image are all `INVALID` if the model gave NaN or
        infinity for one of them.

    Raises:
        ValueError: The known ids do not have the shape of the groups, or are not in the vocabulary.
        CaptureError: The kernels cannot be recorded.
    """
    device, tokens, count = model.embedding.weight.device, model.config.tokens, len(groups.number)
    known = torch.full((count, tokens), FREE) if known is None else known.cpu()
    _check(known, (count, tokens), model.config.vocabulary)
    images = range(len(first)) if images is None else images
    classes = None if labels is None else to_device(torch.tensor(labels), device)
    decoder = CachedDecoder(model, groups.map_tensors(partial(to_device, device=device)), len(first), classes)
    drawn = torch.empty(len(first), count, tokens, dtype=torch.int64, device=device)
    before = to_device(torch.tensor(first), device)  # [b]
    recorder = Recorder(device) if graphs else None
    finite = torch.ones(len(first), dtype=torch.bool, device=device)
    functions = _draw_functions(decoder, draws, finite, tokens, recorder)
    for group in range(count):
        given = known[group].tolist()
        drawn[:, group] = to_device(known[group], device)
        if FREE in given:
            numbers = _numbers(draws, images, group, tokens, device)
            _draw_group(decoder, functions, given, before, numbers, drawn[:, group])
        else:
            decoder.take(torch.cat([before[:, None], drawn[:, group, :-1]], dim=1))
        before = drawn[:, group, -1]
        advance(1)
    if recorder is not None:
        recorder.wait()
    # Without reading the flags: the host never waits for the device here.
    return torch.where(finite[:, None, None], drawn, INVALID)


def _numbers(draws: Draws, images: Sequence[int], group: int, tokens: int, device: torch.device) -> Tensor:
    """Return the random numbers of the draws of a group, [b n]."""
    numbers = torch.tensor([draws.numbers(image, group, tokens) for image in images], dtype=torch.float64)
    return to_device(numbers.float() if device.type == "mps" else numbers, device)


def _draw_functions(
    decoder: CachedDecoder, draws: Draws, finite: Tensor, tokens: int, recorder: Recorder | None
) -> list[Draw]:
    """Return the function that draws at each position of a group; with a recorder, it is recorded and replayed."""
    functions: list[Draw] = [partial(_draw, decoder, draws, finite, token) for token in range(tokens)]
    return functions if recorder is None else [RecordedFunction(function, recorder) for function in functions]


def _draw_group(
    decoder: CachedDecoder, functions: list[Draw], given: list[int], before: Tensor, numbers: Tensor, drawn: Tensor
) -> None:
    """Draw the missing ids of a group.

    Args:
        decoder: The decoder, at the start of the group.
        functions: The function that draws at each position.
        given: The given ids of the group, `FREE` where one is drawn.
        before: The ids [b] before the group.
        numbers: Random numbers [b n].
        drawn: Ids [b n] of the group, which hold the given ones; this function fills in the others.
    """
    for token, given_id in enumerate(given):
        if given_id == FREE:
            drawn[:, token] = functions[token](before, numbers[:, token])
        else:
            decoder.logits(token, before)
        decoder.advance()
        before = drawn[:, token]


def _draw(decoder: CachedDecoder, draws: Draws, finite: Tensor, token: int, before: Tensor, numbers: Tensor) -> Tensor:
    """Draw the ids [b] at a position, from the ids [b] before it and a random number for each [b].

    `finite` [b] becomes false for an image whose logits are not finite.
    """
    logits = decoder.logits(token, before)
    finite.logical_and_(logits.isfinite().all(dim=-1))
    return draws.draw(logits, numbers)


def _check(known: Tensor, shape: tuple[int, int], vocabulary: int) -> None:
    if known.shape != shape:
        raise ValueError(f"{shape[0]} groups of {shape[1]} tokens cannot have known ids {list(known.shape)}")
    if known.min() < FREE or known.max() >= vocabulary:
        raise ValueError(f"known ids {int(known.min())} ... {int(known.max())} are not in 0 ... {vocabulary - 1}")
