"""Sums of gradients over processes that begin while the backward pass still computes others.

With a slow network the sums take longer than a step, so they have to travel during the backward pass. Which gradients
share a reduction, and the order of the reductions, follow from the parameters and not from the time at which a process
has computed them: so all processes begin the same ones, and the sums are those of `World.add_up` over the same
parameters, to the bit.

`DistributedDataParallel` cannot be used: a process that runs out of memory in its backward pass would leave the others
waiting for a sum. Here it takes part in the remaining sums with zeros, and all of them discard the sums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from fitcli.distributed.world import PendingSum, World, buckets


class EarlySums:
    """Sums the gradients of one backward pass, the last of a step.

    Args:
        world: All processes.
        parameters: Parameters whose gradients are summed, the same on all processes. A parameter without a gradient
            counts as zero.

    Attributes:
        parameters: The parameters.
        have: The parameters that had a gradient in this process when their sum began.
    """

    def __init__(self, world: World, parameters: Sequence[nn.Parameter]) -> None:
        self._world, self.parameters = world, set(parameters)
        # The backward pass computes the gradients of the last layers first.
        self._buckets = list(buckets(parameters))[::-1]
        self._bucket_of = {parameter: number for number, bucket in enumerate(self._buckets) for parameter in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        self._pending, self._begun = deque[PendingSum](), 0
        self.have: set[nn.Parameter] = set()

    @contextmanager
    def during_backward(self) -> Iterator[None]:
        """Begin the sum of each bucket of gradients as soon as it and those before it are computed.

        The context holds one backward pass, which adds to each gradient once.
        """
        hooks = [
            parameter.register_post_accumulate_grad_hook(self._computed)  # type: ignore[no-untyped-call]
            for parameter in self._bucket_of
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def begin_rest(self) -> None:
        """Begin the sums that have not begun, with the gradients that there are. All processes have to come to this."""
        while self._begun < len(self._buckets):
            self._begin()

    def finish(self, existing: set[nn.Parameter]) -> None:
        """Wait for the sums, and make them the gradients.

        Args:
            existing: Parameters that have a gradient on some process; the others get none.
        """
        for bucket in self._buckets:
            for parameter, part in zip(bucket, self._pending.popleft().receive(), strict=True):
                # In memory of its own, as autograd makes it: kernels may round otherwise in the middle of a bucket.
                parameter.grad = torch.empty_like(parameter.detach()).copy_(part) if parameter in existing else None

    def discard(self) -> None:
        """Wait for the sums, which no process needs; all processes have begun them."""
        while self._pending:
            self._pending.popleft().receive()

    def _computed(self, parameter: nn.Parameter) -> None:
        self._missing[self._bucket_of[parameter]] -= 1
        while self._begun < len(self._buckets) and not self._missing[self._begun]:
            self._begin()

    def _begin(self) -> None:
        """Begin the sum of the next bucket. Its gradients are freed, so that they are not held twice."""
        bucket = self._buckets[self._begun]
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in bucket]
        self.have.update(parameter for parameter in bucket if parameter.grad is not None)
        self._pending.append(self._world.begin_sum(gradients))
        self._begun += 1
        for parameter in bucket:
            parameter.grad = None
