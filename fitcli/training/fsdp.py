"""Shards weights, gradients and moments of a model over processes: FSDP2 (arXiv:2304.11277), applied from outside.

A layer is gathered when it runs and freed afterwards, so a process holds its part of the model and a layer or two.
`models` does not depend on it: `fully_shard` is applied to the layers, and to what calls them.

Gathered weights are float32, and autocast casts them as it does in one process: the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from fitcli.distributed.sharded_tensors import whole_tensor
from fitcli.distributed.world import World
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import backward, forward
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import TaskModel
from models.build import build
from models.layers import CrossAttentionLayer, SelfAttentionLayer


class ShardedStep(nn.Module):
    """Training steps of a sharded model.

    FSDP2 gathers weights outside the layers only during a call of the root module. So this module is the root, and its
    call is the whole step.

    Args:
        model: The model; its parameters become `DTensor`s in place, so build the optimizer afterwards.
        mesh: The processes that share the weights, on one axis.
    """

    def __init__(self, model: TaskModel, mesh: DeviceMesh) -> None:
        super().__init__()
        self.model = model
        _shard_layers(model, mesh)
        fully_shard(self, mesh=mesh)

    def forward(self, make: Callable[[], Job], plan: ExecutionPlan) -> Outcome:
        """Compute the loss of a step, with its graph."""
        return forward(make(), plan)

    def run(self, make: Callable[[], Job], plan: ExecutionPlan, weight: float, device: torch.device) -> Outcome:
        """Run a step as `run_job` does; the gradients are the mean over the processes of the mesh.

        Args:
            make: Returns the job; it may run the model.
            plan: Execution of the step, see `ExecutionPlan.shardable`.
            weight: Weight of the loss in the gradients.
            device: Device of the model.
        """
        return backward(lambda: cast(Outcome, self(make, plan)), plan, weight, device)


def shard_model(model: TaskModel, average: nn.Module | None, world: World) -> ShardedStep:
    """Shard the weights of a model over the processes that have different images, and return its steps.

    Args:
        model: The model; it is changed in place, so build the optimizer afterwards.
        average: Moving average of its weights, which never runs; it is sharded alike. None without an average.
        world: Processes that torchrun started.
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


def whole_model(model: TaskModel, config: RunConfig) -> TaskModel:
    """Return a copy that is not sharded, for inference. Collective: call it on all processes."""
    copy: TaskModel = build(config.model, "meta")
    weights = {name: whole_tensor(tensor.detach()) for name, tensor in model.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    return copy.eval().requires_grad_(False)
