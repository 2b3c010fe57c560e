"""Limits what PyTorch's libraries keep of the kernels that they generate on a CPU.

oneDNN generates a kernel for every shape of a matrix product. It keeps 1,024 of them, and PyTorch's interface to it
(ideep) as many descriptions. Each takes about half a MiB, and images of another size have products of other shapes: so
memory grows with the number of sizes, up to 1 GiB.
"""

from __future__ import annotations

import os

CAPACITIES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": 0, "LRU_CACHE_CAPACITY": 1}
"""Environment variables that the libraries read at their first product, and the number of entries to keep. With 0
entries oneDNN works, and ideep crashes. For less time, a small image of a small model needs more than 64 entries."""


def limit_kernel_caches() -> None:
    """Make the libraries forget kernels; call before the first product of the process. What the user chose stays.

    The price is a millisecond per product. It doubles the time of small images with small models, and does not matter
    for large ones.
    """
    for name, count in CAPACITIES.items():
        os.environ.setdefault(name, str(count))
