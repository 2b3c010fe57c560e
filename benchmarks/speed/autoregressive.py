"""Measures sampling from an autoregressive decoder: the gain of its caches, and late positions against early ones.

    python -m benchmarks.speed.autoregressive [--size 64] [--channels 3] [--patch 8] [--batch 1] [--device cpu]
        [--out FILE.json]

recomputed: time of a token by the forward pass over all groups so far, over its time with caches. Both are averages
over the tokens of an image; the former is from a sample of its groups. Goal: at least 50 at 64 x 64 x 3.
position: time of a group in the last eighth of an image over that of one in the first eighth; medians over the groups
and over the repetitions. Goal: at most 1.3.
The weights are untrained: time does not depend on them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.machine import save_results
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.tasks.autoregressive.decoding.sample import sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from models.build import build
from models.config import DecoderConfig
from models.decoder import FITDecoder

RECOMPUTED_GROUPS = 6
"""Number of evenly spaced groups whose recomputation is timed."""


def decoder(options: argparse.Namespace) -> DecoderConfig:
    """Return a config of the size of the preset "tiny", for patches of `--patch` pixels per side."""
    return DecoderConfig(
        plan=options.plan, tokens=options.patch**2 * options.channels, latents=8, token_width=192, latent_width=256,
        token_heads=3, latent_heads=4, causal="tokens", token_positions="sincos", vocabulary=256, starts=1,
    )  # fmt: skip


def cached(model: FITDecoder, sequence: SequenceConfig, batch: int, runtime: Runtime) -> list[float]:
    """Return the seconds of each group."""
    times = [time.perf_counter()]

    def note(count: int) -> None:
        runtime.synchronize()
        times.append(time.perf_counter())

    sample(model, sequence.groups(sequence.size), [sequence.first()] * batch, Draws(), advance=note)
    return [after - before for before, after in pairwise(times)]


@torch.inference_mode()
def recomputed(model: FITDecoder, sequence: SequenceConfig, batch: int, runtime: Runtime) -> list[float]:
    """Return the seconds of one token in some groups: those of the forward pass over all groups up to its own."""
    seconds = []
    whole = sequence.groups(sequence.size)
    for number in range(RECOMPUTED_GROUPS):
        count = 1 + number * (whole.longest - 1) // (RECOMPUTED_GROUPS - 1)
        coordinates = whole.coordinates[:count].repeat(batch, 1)
        groups = whole._replace(
            coordinates=coordinates, number=whole.number[:count].repeat(batch), images=batch, longest=count
        ).to(runtime.device)
        ids = torch.randint(256, (batch * count, model.config.tokens), device=runtime.device)
        runtime.synchronize()
        began = time.perf_counter()
        model(ids, groups)
        runtime.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    runtime = choose_runtime(options.device, "fp32")
    sequence = SequenceConfig(patch=(options.patch,) * 2, size=(options.size,) * 2)
    config = decoder(options)
    model = build(config, runtime.device).eval().requires_grad_(False)
    warm = SequenceConfig(patch=sequence.patch, size=(options.patch, 2 * options.patch))
    cached(model, warm, options.batch, runtime)
    runs = [cached(model, sequence, options.batch, runtime) for _ in range(options.repeats)]
    again = [recomputed(model, sequence, options.batch, runtime) for _ in range(options.repeats)]
    token = statistics.median(sum(run) / len(run) for run in runs) / config.tokens
    naive = statistics.median(statistics.mean(run) for run in again)
    eighth = max(1, len(runs[0]) // 8)
    positions = [statistics.median(run[-eighth:]) / statistics.median(run[:eighth]) for run in runs]
    row = {
        "size": options.size, "channels": options.channels, "patch": options.patch, "batch": options.batch,
        "plan": options.plan, "parameters": sum(p.numel() for p in model.parameters()), "device": str(runtime.device),
        "tokens": options.size**2 * options.channels, "groups": len(runs[0]),
        "cached_seconds_per_token": token, "recomputed_seconds_per_token": naive,
        "recomputed_over_cached": naive / token, "last_over_first": statistics.median(positions),
        "last_over_first_range": [min(positions), max(positions)], "seconds_per_group": runs[-1],
    }  # fmt: skip
    print(
        f"{row['tokens']} tokens in {row['groups']} groups, {options.batch} at a time on {row['device']}: "
        f"{1e3 * token:.2f} ms per token, {naive / token:.0f} times less than recomputed; "
        f"last groups over first {statistics.median(positions):.2f} [{min(positions):.2f}-{max(positions):.2f}]"
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of the image in pixels")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--patch", type=int, default=8, help="side of a patch, which is one group")
    parser.add_argument("--plan", default="(2)2(2)2(1)")
    parser.add_argument("--batch", type=int, default=1, help="images drawn together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    save_results(options.out, ["torch", "numpy"], {"sampling": measure(options)}, threads=options.threads)


if __name__ == "__main__":
    main()
