"""Noise addressed by what it is for, never drawn in order.

The same seed, stream, image, group and step give the same values whatever is computed together, in which order, within
which memory and on which device: everything is drawn on the CPU. Philox is a counter-based generator (Salmon et al.
2011, "Parallel random numbers: as easy as 1, 2, 3"): the address is its key and its counter, and nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from fitcli.images.decode_pool import run_all

LARGEST = 2**64 - 1
"""Of a seed, and of every number of an address."""


def generator(seed: int, stream: str, image: int = 0, group: int = 0, step: int = 0) -> np.random.Generator:
    """Random numbers of one address; those of different addresses are independent.

    Args:
        seed: Of the whole job.
        stream: What they are for, in words: streams of different names have nothing in common.
        image, group, step: Where and when; each 0 where that makes no difference.

    Raises:
        ValueError: A number outside 0 ... 2**64 - 1.
    """
    for name, number in (("seed", seed), ("image", image), ("group", group), ("step", step)):
        if not 0 <= number <= LARGEST:
            raise ValueError(f"{name} {number} does not lie in 0 ... 2**64 - 1")
    key = [seed, int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")]
    # The lowest word counts what is drawn: addresses are 2**64 draws apart.
    bits = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([0, group, step, image], np.uint64))
    return np.random.Generator(bits)


def group_noise(
    seed: int,
    stream: str,
    groups: Iterable[int],
    shape: tuple[int, int],
    image: int = 0,
    step: int = 0,
) -> Tensor:
    """Standard normal noise for the patches of some groups of an image.

    Args:
        seed, stream, image, step: See `generator`.
        groups: Number of each group in its image.
        shape: (n, p) of a group.

    Returns:
        [g n p] float32 on the CPU; row i depends on the i-th number alone.
    """
    numbers = list(groups)
    noise = torch.empty(len(numbers), *shape)
    rows = noise.numpy()

    def draw(row: int) -> None:
        generator(seed, stream, image, numbers[row], step).standard_normal(dtype=np.float32, out=rows[row])

    # numpy draws without holding the lock of the interpreter.
    run_all(draw, range(len(numbers)), torch.get_num_threads())
    return noise
