"""Takes and restores the state of a run between two optimizer steps: its progress, and its tensors by name.

That is all that resuming needs. The learning rate follows from the step. The order of the images, their augmentation
and the noise follow from the seed and their number (`data/loader.py`, `noise.py`): no random generator keeps a state
between steps. Between two steps there are no gradients and no open passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fitcli.distributed.sharded_tensors import sharded_like, whole_tensor
from fitcli.files.wording import counted

State = dict[str, dict[str, Tensor]]
"""Tensors in host memory by name, for `MODEL`, `OPTIMIZER` and, if the run keeps a moving average, `EMA`."""

MODEL, OPTIMIZER, EMA = "model", "optimizer", "ema"


@dataclass(slots=True)
class Progress:
    """Progress of a run.

    Attributes:
        step: Number of optimizer steps done.
        validated: Number of steps done at the last validation.
        best: Rank of the best validation so far, see `Validation.rank`; empty before the first.
        best_step: Number of steps done at the best validation.
        judged_on: Fingerprint of the images of the best validation.
        headline: Name and value of the most important score of the best validation, as text.
        decisions: Entries of config.json that follow from the best validation, see `Validation.decisions`.
    """

    step: int = 0
    validated: int = 0
    best: tuple[float, ...] = ()
    best_step: int = 0
    judged_on: str = ""
    headline: tuple[str, str] = ("", "")
    decisions: Mapping[str, Any] = field(default_factory=dict)

    def summary(self, run: Path) -> str:
        """Return one line about the outcome."""
        steps = f"{run}: {counted(self.step, 'step')}"
        return f"{steps}, best validation {self.headline[0]} {self.headline[1]}" if self.best else steps

    def add_validation(
        self,
        rank: tuple[float, ...],
        headline: tuple[str, str],
        fingerprint: str,
        decisions: Mapping[str, Any] | None = None,
    ) -> bool:
        """Record a validation of the present step.

        Args:
            rank, headline, decisions: Result, see `Validation`.
            fingerprint: Fingerprint of the validation images; results on other images are not comparable.
            scores: Scores by name.

        Returns:
            Whether it is the best so far.
        """
        self.validated = self.step
        best = not self.best or fingerprint != self.judged_on or rank > self.best
        if best:
            self.best, self.best_step, self.judged_on, self.headline = rank, self.step, fingerprint, headline
            self.decisions = decisions or {}
        return best


def snapshot(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    copy: bool = True,
    keep: bool = True,
) -> State:
    """Return the state between two steps, in host memory. Collective if the model is sharded.

    Args:
        model, optimizer: Model and optimizer of the run.
        average: Moving average of the weights, if the run keeps one.
        copy: Whether to copy tensors that are in host memory already. Without copies, write the snapshot before the
            next step, which changes it.
        keep: Whether this process needs the tensors; otherwise they are empty.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[id(parameter)]}/{key}": value
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }
    tensors: dict[str, Mapping[str, Tensor]] = {MODEL: model.state_dict(), OPTIMIZER: moments}
    if average is not None:
        tensors[EMA] = average.state_dict()
    return {part: {name: _on_host(t, copy, keep) for name, t in named.items()} for part, named in tensors.items()}


def _on_host(tensor: Tensor, copy: bool, keep: bool) -> Tensor:
    gathered = whole_tensor(tensor.detach())
    return gathered.to("cpu", copy=copy).contiguous() if keep else torch.empty(0)


def restore(state: State, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> None:
    """Load a state into the model, the optimizer and, if the run keeps one, the moving average.

    Raises:
        ValueError, RuntimeError, KeyError: The state belongs to another model.
    """
    _load(model, state[MODEL])
    if average is not None:
        _load(average, state[EMA])
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state[OPTIMIZER].items():
        parameter, _, key = name.rpartition("/")
        # A copy: the tensor may be mapped from a file that will be removed.
        moments.setdefault(parameter, {})[key] = tensor.clone()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    like = dict(model.named_parameters())
    if strange := sorted(set(moments) - set(names.values())):
        raise KeyError(f"moments of {strange[0]}, which the model lacks")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    restored = {
        number: {key: sharded_like(tensor, like[name]) for key, tensor in moments[name].items()}
        for number, parameter in enumerate(parameters)
        if (name := names[id(parameter)]) in moments
    }
    # Learning rates and weight decays follow from the settings.
    optimizer.load_state_dict({"state": restored, "param_groups": optimizer.state_dict()["param_groups"]})


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = model.state_dict()
    model.load_state_dict({name: sharded_like(t, own[name]) if name in own else t for name, t in weights.items()})
