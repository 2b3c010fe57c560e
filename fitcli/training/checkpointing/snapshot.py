"""What resuming needs, in host memory: how far a run is, and its tensors by name.

Nothing else has to be kept. The learning rate follows from the step; the order of the images, their augmentation and
the noise from the seed and their number (`loader.py`, `noise.py`): no generator of random numbers has a state between
steps. States are those between two optimizer steps, where there are no gradients, and no accumulated pass is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fitcli.distributed.sharded_tensors import sharded_like, whole_tensor

State = dict[str, dict[str, Tensor]]
"""Tensors in host memory by name, of `MODEL`, `OPTIMIZER` and, where the run keeps one, of the `EMA` of the weights."""

MODEL, OPTIMIZER, EMA = "model", "optimizer", "ema"


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Optimizer steps done.
        validated: Steps that had been done at the last validation.
        best: Rank of the best validation so far, see `Validation.rank`; empty before the first.
        best_step: Steps that had been done then.
        judged_on: Fingerprint of the images of that validation.
        headline: Name and value of the most important score of the best validation, as text.
    """

    step: int = 0
    validated: int = 0
    best: tuple[float, ...] = ()
    best_step: int = 0
    judged_on: str = ""
    headline: tuple[str, str] = ("", "")

    def summary(self, run: Path) -> str:
        """One line on the outcome."""
        if not self.best:
            return f"{run}: {self.step} steps"
        return f"{run}: {self.step} steps, best validation {self.headline[0]} {self.headline[1]}"


def snapshot(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    copy: bool = True,
    keep: bool = True,
) -> State:
    """The state between two steps, in host memory. Where it is shared out over processes, all have to ask for it.

    Args:
        model, optimizer: What to go on with.
        average: The moving average of the weights, where the run keeps one.
        copy: The next steps leave the snapshot as it is. Without, what is in host memory already is not copied, and has
            to be written before the next step.
        keep: Without, the tensors are empty: it is another process that needs them.
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
    """Fill model and optimizer, and the average where the run keeps one.

    Raises:
        ValueError, RuntimeError, KeyError: The state is of something else.
    """
    _load(model, state[MODEL])
    if average is not None:
        _load(average, state[EMA])
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state[OPTIMIZER].items():
        parameter, _, key = name.rpartition("/")
        # A copy: what was read may be a file that is mapped into memory, and will be removed.
        moments.setdefault(parameter, {})[key] = tensor.clone()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    like = dict(model.named_parameters())
    if strange := sorted(set(moments) - set(names.values())):
        raise KeyError(f"moments of {strange[0]}, which the model does not have")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = {
        number: {key: sharded_like(tensor, like[name]) for key, tensor in moments[name].items()}
        for number, parameter in enumerate(parameters)
        if (name := names[id(parameter)]) in moments
    }
    # Rates and decays follow from the settings.
    optimizer.load_state_dict({"state": found, "param_groups": optimizer.state_dict()["param_groups"]})


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = model.state_dict()
    model.load_state_dict({name: sharded_like(t, own[name]) if name in own else t for name, t in weights.items()})
