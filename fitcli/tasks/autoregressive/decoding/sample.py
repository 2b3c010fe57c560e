"""Sequences from a decoder, token by token; those that are known already are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.tasks.autoregressive.decoding.cuda_graphs import Captured, Recorder
from fitcli.tasks.autoregressive.decoding.kv_cache import CachedDecoder
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from models.decoder import FITDecoder
from models.groups import Groups

Draw = Callable[[Tensor, Tensor], Tensor]
"""Of the ids [b] before a place and a number for each draw [b], the ids [b] at that place."""

FREE = -1
"""In place of an id that is to be drawn."""


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

    The number that decides a draw is addressed by seed, image and place, so that a sequence does not depend on which
    others are drawn beside it. (Logits do to the last bit, in float32: where a number falls that close to the border of
    two tokens, the other one may be drawn.)

    Args:
        model: In eval mode.
        groups: Those of one image in the order of the sequence.
        first: What stands in front of each sequence [b], see `SequenceConfig.first`.
        draws: How to draw.
        labels: Class of each image [b], where the model has classes.
        known: [g n] int64, the same for all images: ids that are kept, `FREE` where they are to be drawn. A draw
            depends on what is known before its place, never on what is known after it.
        images: Number of each image [b], for its draws; 0, 1, ... where None.
        advance: Told the number of groups finished.
        graphs: Record what is launched for a token, and replay it, on a CUDA device. One graph for each place of a
            group, recorded in the second group: the same kernels, the same bits.

    Returns:
        [b g n] int64, on the device of the model.

    Raises:
        ValueError: Known ids that are not of these groups or not in the vocabulary.
        CaptureError: What is launched cannot be recorded.
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
    drawing = _drawing(decoder, draws, tokens, recorder)
    for group in range(count):
        given = known[group].tolist()
        drawn[:, group] = to_device(known[group], device)
        if FREE in given:
            numbers = _numbers(draws, images, group, tokens, device)
            _draw_group(decoder, drawing, given, before, numbers, drawn[:, group])
        else:
            decoder.take(torch.cat([before[:, None], drawn[:, group, :-1]], dim=1))
        before = drawn[:, group, -1]
        advance(1)
    if recorder is not None:
        recorder.wait()
    return drawn


def _numbers(draws: Draws, images: Sequence[int], group: int, tokens: int, device: torch.device) -> Tensor:
    """What decides the draws of a group, [b n]."""
    numbers = torch.tensor([draws.numbers(image, group, tokens) for image in images], dtype=torch.float64)
    return to_device(numbers.float() if device.type == "mps" else numbers, device)


def _drawing(decoder: CachedDecoder, draws: Draws, tokens: int, recorder: Recorder | None) -> list[Draw]:
    """How to draw at each place of a group; recorded, where there is what to record with."""
    drawing: list[Draw] = [partial(_draw, decoder, draws, place) for place in range(tokens)]
    return drawing if recorder is None else [Captured(draw, recorder) for draw in drawing]


def _draw_group(
    decoder: CachedDecoder, drawing: list[Draw], given: list[int], before: Tensor, numbers: Tensor, drawn: Tensor
) -> None:
    """Fill in the ids [b n] of a group, which holds those that are given, after the ids [b] before it."""
    for place, kept in enumerate(given):
        if kept == FREE:
            drawn[:, place] = drawing[place](before, numbers[:, place])
        else:
            decoder.logits(place, before)
        decoder.advance()
        before = drawn[:, place]


def _draw(decoder: CachedDecoder, draws: Draws, place: int, before: Tensor, numbers: Tensor) -> Tensor:
    """The ids [b] at a place, given those before it and a number for each draw, [b]."""
    return draws.draw(decoder.logits(place, before), numbers)


def _check(known: Tensor, shape: tuple[int, int], vocabulary: int) -> None:
    if known.shape != shape:
        raise ValueError(f"{shape[0]} groups of {shape[1]} tokens cannot have known ids {list(known.shape)}")
    if known.min() < FREE or known.max() >= vocabulary:
        raise ValueError(f"known ids {int(known.min())} ... {int(known.max())} are not in 0 ... {vocabulary - 1}")
