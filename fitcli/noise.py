"""Draws noise by its address (seed, stream, image, group, step), never in sequence.

An address always gives the same values, whatever the batch, the order, the memory budget and the device: all noise is
drawn on the CPU. Philox is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
3"): the address is its key and its counter, so no draws have to be skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fitcli.images.decode_pool import run_all

LARGEST = 2**64 - 1
"""Largest seed, and largest number in an address."""


def generator(seed: int, stream: str, image: int = 0, group: int = 0, step: int = 0) -> np.random.Generator:
    """Return the random generator of one address. Generators of different addresses are independent.

    Args:
        seed: The seed of the whole job.
        stream: A name for the purpose of the numbers; streams of different names are independent.
        image, group, step: The numbers of the image, its group and the step; 0 for one that does not apply.

    Raises:
        ValueError: A number lies outside 0 ... 2**64 - 1.
    """
    for name, number in (("seed", seed), ("image", image), ("group", group), ("step", step)):
        if not 0 <= number <= LARGEST:
            raise ValueError(f"{name} {number} does not lie in 0 ... 2**64 - 1")
    key = [seed, int.from_bytes(blake2b(stream.encode(), digest_size=8).digest(), "little")]
    # The lowest word of the counter counts the draws, so addresses are 2**64 draws apart.
    bits = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([0, group, step, image], np.uint64))
    return np.random.Generator(bits)


class Address(NamedTuple):
    """The address of the noise of one group, within a seed and a stream; see `generator`."""

    image: int
    group: int
    step: int


def group_noise(
    seed: int,
    stream: str,
    groups: Iterable[int],
    shape: tuple[int, int],
    image: int = 0,
    step: int = 0,
) -> Tensor:
    """Draw standard normal noise for the patches of some groups of an image.

    Args:
        seed, stream, image, step: See `generator`.
        groups: The number of each group in its image.
        shape: (n, p), the shape of a group.

    Returns:
        Noise [g n p], float32 on the CPU; row i depends only on the i-th group number.
    """
    return draw_noise(seed, stream, [Address(image, group, step) for group in groups], shape)


def draw_noise(seed: int, stream: str, addresses: Sequence[Address], shape: tuple[int, int]) -> Tensor:
    """Draw standard normal noise for the patches of groups of any images, on all cores.

    Args:
        seed, stream: See `generator`.
        addresses: The address of each group.
        shape: (n, p), the shape of a group.

    Returns:
        Noise [g n p], float32 on the CPU; row i depends only on the i-th address.
    """
    noise = torch.empty(len(addresses), *shape)
    rows = noise.numpy()

    def draw(row: int) -> None:
        image, group, step = addresses[row]
        generator(seed, stream, image, group, step).standard_normal(dtype=np.float32, out=rows[row])

    # numpy releases the GIL while it draws.
    run_all(draw, range(len(addresses)), torch.get_num_threads())
    return noise
