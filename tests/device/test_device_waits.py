"""Counts how often the host waits for the device in passes over images, in sampling and in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import unwrap

import numpy as np
import pytest
import torch
from support import decoders
from support.batches import CONDITION, CONFIGS, VALUES, denoiser_config, grid
from support.valueless import DEVICE, Waits, valueless
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.device.transfer import to_device
from fitcli.images.array_image import ArrayReader
from fitcli.memory.handfuls import TOKENS
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.autoregressive.decoding.sample import FREE
from fitcli.tasks.autoregressive.decoding.sample import sample as decode
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.autoregressive.sequences import sequence_of
from fitcli.tasks.diffusion import scores
from fitcli.tasks.diffusion.canvas import CanvasLayout, open_canvas
from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Hooks, Quantity, Sampling, sample
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.streamed_view import StreamedView
from fitcli.tasks.encoding.stream import stream_encoder
from models.build import build
from models.config import EncoderConfig

RUNTIME = Runtime(DEVICE, "fp32")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """The recorder of waits. It sees nothing in inference mode, so tests unwrap functions that enable it."""
    monkeypatch.setitem(TOKENS, ("pass", DEVICE.type), 8)
    with valueless(monkeypatch) as recorder, torch.no_grad():
        yield recorder


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if type(config) is EncoderConfig])
def test_a_pass_over_an_image_never_waits(waits: Waits, name: str) -> None:
    """The pass itself does not wait; what the caller does with the outputs does not count."""
    encoder = build(CONFIGS[name], DEVICE).eval()
    groups, taken = groups_of(grid(7, 13)), list[Tensor]()
    assert groups.mask is not None
    patches = torch.zeros(len(groups.number), encoder.config.tokens, encoder.config.values)
    waits.forget()
    outputs = PassOutputs(tokens=lambda part, tokens: taken.append(tokens))
    how = Streaming(handful=3, store="device")
    taken.append(stream_encoder(encoder, groups, lambda part: patches[part], how, outputs))
    assert {tensor.device for tensor in taken} == {DEVICE}
    assert (waits.reads, waits.sends) == ([], [])


@pytest.mark.walk(1)
@pytest.mark.parametrize(("sampler", "shift"), [("ddim", 0), ("ddpm", 1), ("dpm", 0)])
def test_a_step_of_sampling_never_waits(waits: Waits, sampler: str, shift: int) -> None:
    config, layout = denoiser_config(), CanvasLayout(6, 4, 2, shift)
    model, like = build(config, DEVICE).eval(), torch.empty(1, device=DEVICE)
    names: tuple[Quantity, ...] = ("x", "data", "unconditional")
    canvases = {name: open_canvas("device", 6, 4, VALUES, DEVICE) for name in names}
    view = StreamedView(model, layout, Streaming(handful=2, store="device"), canvases, canvases)

    def noise(k: int, part: slice) -> Tensor:
        return to_device(group_noise(0, "step", range(part.start, part.stop), (4, VALUES), step=k), DEVICE)

    sampling = Sampling(
        steps=5, schedule=shifted(parse_schedule("cosine"), 1.0), sampler=find_step(sampler), guidance=1.5
    )
    condition = torch.empty(1, 1, CONDITION, device=DEVICE)
    steps = sample(lambda k: view, sampling, like, condition, Hooks(noise=noise))
    for _ in range(2):
        next(steps)
    assert (waits.reads, waits.sends) == ([], [])


def test_drawing_a_sequence_never_waits(waits: Waits) -> None:
    """This holds for fresh tokens, for whole known groups and for groups that are known in part."""
    config = decoders.checkpoint(classes=decoders.CLASSES).model.config
    known = torch.full((6, config.tokens), FREE)
    known[0], known[1, :3] = 1, 2
    groups = sequence_of(decoders.checkpoint().config).groups((8, 6))
    waits.forget()
    drawn = unwrap(decode)(build(config, DEVICE).eval(), groups, [256, 257], Draws(top_k=5, top_p=0.9), [0, 1], known)
    assert drawn.device == DEVICE
    assert (waits.reads, waits.sends) == ([], [])


def beyond_stores(places: list[str]) -> list[str]:
    """Drop the places in stores in host memory: their copies do not wait on a CUDA device, see `test_transfer.py`."""
    return [place for place in places if "/token_store.py:" not in place]


def test_evaluation_waits_once_for_each_value_that_it_reports(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "TIMES", (0.1, 0.9))
    config = RunConfig(
        model=denoiser_config(),
        preprocessing=Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=tuple("abcdefgh"[:CONDITION]),
        details=DiffusionConfig(patch=2, size=(12, 10)),
    )
    checkpoint = Checkpoint(build(denoiser_config(), DEVICE).eval(), config)
    unwrap(scores.image_losses)(checkpoint, ArrayReader(np.zeros((12, 10, 3), np.uint8)), RUNTIME, 0, 0)
    assert len(beyond_stores(waits.reads)) == 2
    assert beyond_stores(waits.sends) == []


def test_the_bits_of_an_image_are_read_once(waits: Waits) -> None:
    given = decoders.checkpoint()
    checkpoint = Checkpoint(build(given.model.config, DEVICE).eval(), given.config)
    waits.forget()
    unwrap(image_bits)(checkpoint, ArrayReader(np.zeros((8, 6, 1), np.uint8)), RUNTIME)
    assert len(beyond_stores(waits.reads)) == 1
    assert beyond_stores(waits.sends) == []
