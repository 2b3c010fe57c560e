"""A streamed pass reads ahead, stores tokens, ends cleanly after an error, and resumes where it was interrupted."""

from __future__ import annotations

import dataclasses
import errno
import threading
from pathlib import Path

import pytest
import torch
from support.batches import CONFIGS, inputs_for, join, live
from support.streamed import LAYOUTS, Kept, encoder, inputs, made, streamed
from torch import Tensor

from fitcli.errors import FitError
from fitcli.patches.cutting import groups_of
from fitcli.streaming import sweeps, token_store
from fitcli.streaming.sweeps import PassOutputs, Position, Streaming
from fitcli.streaming.token_store import MemoryStore, StoreKind, TokenStore
from fitcli.tasks.encoding.stream import stream_encoder, stream_latents


@torch.inference_mode()
def test_every_group_is_read_once_and_progress_counts_segments() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((48, 36))
    slices: list[slice] = []
    finished: list[int] = []

    def read(part: slice) -> Tensor:
        slices.append(part)
        return patches[part]

    stream_latents(model, groups_of(grid), read, 5, advance=finished.append)
    assert [number for part in slices for number in range(part.start, part.stop)] == list(range(grid.count))
    assert sum(finished) == 2 * grid.count


@torch.inference_mode()
def test_an_error_while_reading_ends_the_pass() -> None:
    model, (grid, patches) = encoder("(1)1(1)1"), inputs((48, 36))

    def read(part: slice) -> Tensor:
        if part.start >= 6:
            raise OSError("the scanner is gone")
        return patches[part]

    with pytest.raises(OSError, match="the scanner is gone"):
        stream_latents(model, groups_of(grid), read, 2)


def test_several_images_are_refused() -> None:
    model, _ = made("encoder", torch.float64)
    groups = join(LAYOUTS["whole"], LAYOUTS["padded"])
    with pytest.raises(ValueError, match="of one image, not of 2"):
        streamed(model, groups, inputs_for(CONFIGS["encoder"], groups), Streaming(handful=2))


# Stores ---------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("name", ["encoder", "denoiser", "decoder"])
def test_all_stores_give_the_same_bits(name: str) -> None:
    (model, config), groups = made(name, torch.float32), LAYOUTS["padded"]
    inputs = inputs_for(config, groups, dtype=torch.float32)
    kinds: list[StoreKind] = ["device", "host", "disk"]
    first, *others = (streamed(model, groups, inputs, Streaming(handful=2, store=kind)) for kind in kinds)
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


class Counting(MemoryStore):
    """Counts the groups whose tokens are put."""

    puts = 0

    def put(self, part: slice, tokens: Tensor) -> None:
        Counting.puts += part.stop - part.start
        super().put(part, tokens)


@torch.inference_mode()
@pytest.mark.parametrize(("plan", "sweeps_stored"), [("(2)1", 0), ("(1)1(1)1", 1), ("(1)1(1)1(1)", 1)])
def test_the_last_sweep_stores_nothing(plan: str, sweeps_stored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[TokenStore] = []

    def open_store(kind: StoreKind, *arguments: object) -> TokenStore:
        opened.append(Counting(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(sweeps, "open_store", open_store)
    monkeypatch.setattr(Counting, "puts", 0)
    model, (over, patches) = encoder(plan), inputs((48, 36))
    stream_encoder(model, groups_of(over), lambda part: patches[part], Streaming(handful=5), PassOutputs())
    assert Counting.puts == sweeps_stored * over.count
    assert len(opened) == bool(sweeps_stored), "a pass opens only stores that it writes to"


@torch.inference_mode()
def test_latents_that_are_not_needed_are_not_mixed() -> None:
    model = live(CONFIGS["decoder"])
    mixed: list[int] = []
    model.trunk.segments[1].mix.register_forward_hook(lambda *_: mixed.append(1))
    last = live(dataclasses.replace(CONFIGS["decoder"], plan="(1)1(1)1"))
    last.trunk.segments[1].mix.register_forward_hook(lambda *_: mixed.append(2))
    groups = LAYOUTS["whole"]
    for one in (model, last):
        streamed(one, groups, inputs_for(CONFIGS["decoder"], groups), Streaming(handful=2))
    assert mixed == [1]


@torch.inference_mode()
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def write_all(descriptor: int, data: memoryview, offset: int) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(offset)

    monkeypatch.setattr(token_store, "write_all", write_all)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    model, (over, patches) = encoder("(1)1(1)1"), inputs((48, 36))
    with pytest.raises(FitError, match=r"0\.00 GB are needed here for tokens at rest: No space left on device; free"):
        stream_encoder(
            model, groups_of(over), lambda part: patches[part], Streaming(handful=5, store="disk"), PassOutputs()
        )
    assert list(tmp_path.iterdir()) == []


@torch.inference_mode()
@pytest.mark.parametrize("store", ["host", "disk"])
def test_no_thread_outlives_an_error(store: StoreKind) -> None:
    model, (over, patches) = encoder("(1)1(1)1"), inputs((48, 36))

    def stop(part: slice, tokens: Tensor) -> None:
        raise RuntimeError("enough")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="enough"):
        stream_encoder(
            model,
            groups_of(over),
            lambda part: patches[part],
            Streaming(handful=1, store=store),
            PassOutputs(tokens=stop),
        )
    assert threading.active_count() == before


# Resuming -------------------------------------------------------------------------------------------------------------


class Memory:
    """A journal in memory that records every position, and interrupts the pass after `moments` of them."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.stores: dict[str, TokenStore] = {}
        self.moments = 0

    def resume(self) -> Position | None:
        return self.position

    def record(self, position: Position, stores: object) -> None:
        self.position = position._replace(latents=position.latents.clone(), new_latents=position.new_latents.clone())
        self.moments -= 1
        if self.moments == 0:
            raise InterruptedError

    def open_store(self, name: str, *arguments: object) -> TokenStore:
        class Lasting(MemoryStore):
            def close(self) -> None: ...

        return self.stores.setdefault(name, Lasting(*arguments))  # type: ignore[arg-type]


@torch.inference_mode()
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_pass_that_is_interrupted_anywhere_resumes_to_the_same_bits(name: str) -> None:
    config = dataclasses.replace(CONFIGS[name], plan="(1)1(1)1(1)1(1)")
    model, groups = live(config, torch.float32), LAYOUTS["left out"]
    given = inputs_for(config, groups, dtype=torch.float32)
    expected = streamed(model, groups, given, Streaming(handful=2))
    handfuls, segments = 3, 4
    for moment in range(1, handfuls * segments + segments):
        journal, kept = Memory(), Kept()
        journal.moments = moment
        how = Streaming(handful=2, journal=journal)
        with pytest.raises(InterruptedError):
            streamed(model, groups, given, how, kept)
        assert all(map(torch.equal, streamed(model, groups, given, how, kept), expected))
