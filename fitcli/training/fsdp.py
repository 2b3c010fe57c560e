"""A model whose weights, gradients and moments are shared out over processes: FSDP2 (arXiv:2304.11277), from outside.

Every layer is gathered when it runs and let go of afterwards, so that a process holds its part of the model and a layer
or two. Nothing in `models` knows: `fully_shard` is applied to the layers, and to what calls them.

What is gathered is float32, and autocast casts it as it does in one process: the same numbers come out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from fitcli.distributed.world import World
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import backward, forward
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import TaskModel
from models.build import build
from models.layers import CrossAttentionLayer, SelfAttentionLayer


class ShardedStep(nn.Module):
    """Training steps of a model that is shared out.

    FSDP2 gathers what lies outside of the layers while the root of all modules is called: here the whole step is.

    Args:
        model: Its parameters become `DTensor`s, in place: build the optimizer afterwards.
        mesh: Of one axis: the processes that share it.
    """

    def __init__(self, model: TaskModel, mesh: DeviceMesh) -> None:
        super().__init__()
        self.model = model
        _shard_layers(model, mesh)
        fully_shard(self, mesh=mesh)

    def forward(self, make: Callable[[], Job], plan: ExecutionPlan) -> Outcome:
        """Up to the loss, with its graph."""
        return forward(make(), plan)

    def run(self, make: Callable[[], Job], plan: ExecutionPlan, weight: float, device: torch.device) -> Outcome:
        """As `run_job`; gradients are the mean over the processes of the mesh.

        Args:
            make: Makes the job, which may run the model.
            plan: How; see `ExecutionPlan.shardable`.
            weight: Of the loss in the gradients.
            device: Of the model.
        """
        return backward(lambda: cast(Outcome, self(make, plan)), plan, weight, device)


def share_out(model: TaskModel, average: nn.Module | None, world: World) -> ShardedStep:
    """Share the weights of a model out over the processes that have different images; steps of it from then on.

    Args:
        model: Is changed in place: build the optimizer afterwards.
        average: Of its weights, never run: the same part of each parameter stays here. None without.
        world: Started by torchrun.
    """
    assert world.mesh is not None
    mesh = world.mesh["data"]
    if average is not None:
        _shard_layers(average, mesh)
        fully_shard(average, mesh=mesh)
    return ShardedStep(model, mesh)


def _shard_layers(model: nn.Module, mesh: DeviceMesh) -> None:
    for module in model.modules():
        if isinstance(module, SelfAttentionLayer | CrossAttentionLayer):
            fully_shard(module, mesh=mesh)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor; all of it, where it is not shared out. Shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. All processes have to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_out(tensor: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that this process holds of another one of its shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # Every process has read all of it: there is nothing to send.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def whole_model(model: TaskModel, config: RunConfig) -> TaskModel:
    """A copy that is not shared out, for inference. All processes have to ask for it."""
    copy: TaskModel = build(config.model, "meta")
    weights = {name: whole(tensor.detach()) for name, tensor in model.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    return copy.eval().requires_grad_(False)
