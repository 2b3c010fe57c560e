"""Output heads of a classifier by name: the attention pool, and those that others add to the table.

A factory returns a module for the config of a classifier. An `AttentionPool` (or a subclass) is used as it is. Any
other module knows nothing of groups and of processes: `AddedHead` gives it the latents of whole images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn.parameter import is_lazy

from models.checks import ConfigError
from models.config import ATTENTION, ClassifierConfig
from models.groups import Groups
from models.pooling import AttentionPool, Pooled

HeadFactory = Callable[[ClassifierConfig], nn.Module]
"""Returns the module of a head, whose weights start as its constructor leaves them.

The module maps latents [b n d] and `present` [b n] (bool; False for the latents that fill up an image with fewer than
the others, which are zeros) to logits [b k], those of all targets side by side; or to a tuple of logits and weights
[b n t], the share of each latent in the answer to each target, with sum 1 over the latents of an image.
"""


def attention(config: ClassifierConfig) -> AttentionPool:
    """Return the usual head."""
    return AttentionPool(config.latent_width, config.pool_heads, config.target_classes)


HEADS: dict[str, HeadFactory] = {ATTENTION: attention}
"""Factories by name."""

FINDERS: list[Callable[[str], object]] = []
"""Functions that are called with a name that `HEADS` lacks: each adds its factory if it knows one, or raises."""


ALLOCATION = ("out of memory", "allocate memory", "alloc_failed", "allocation_failed", "cublas_status_not_initialized")
"""Parts of the messages, in small letters, of RuntimeErrors that say that memory ran out."""


class HeadError(ConfigError):
    """A head that others have added fails, or returns something else than a head has to return."""


class AddedHead(nn.Module):
    """A head that others have added, for the groups of a batch of images, which ranks may share.

    Args:
        config: Config of the classifier.

    Attributes:
        module: The module, as its factory returns it.
    """

    def __init__(self, config: ClassifierConfig, module: nn.Module) -> None:
        super().__init__()
        self.config, self.module = config, module
        if problem := _unsaved(module):
            raise ConfigError(f"output head {config.output_head!r} {problem}")

    def forward(self, latents: Tensor, groups: Groups) -> Pooled:
        """Map normalised latents [g m d] to logits [b k] and evidence [g m t], or [g m 0] without weights.

        Raises:
            HeadError: The module fails, or returns tensors of other shapes.
        """
        m = latents.shape[1]
        flat = rearrange(groups.gather(groups.arrange(latents)), "b g m d -> b (g m) d")
        present = groups.present()
        if present is None:
            present = torch.ones(flat.shape[0], flat.shape[1] // m, dtype=torch.bool, device=flat.device)
        logits, weights = self.apply_module(flat, repeat(present, "b g -> b (g m)", m=m))
        own = groups.own_part(rearrange(weights, "b (g m) t -> b g m t", m=m))
        return Pooled(logits, groups.scatter(own))

    def apply_module(self, flat: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Map latents [b n d] to logits [b k] and weights [b n t], in the precision of the weights of the module."""
        precision = next((parameter.dtype for parameter in self.module.parameters()), torch.float32)
        try:
            with torch.autocast(flat.device.type, enabled=False):
                result = self.module(flat.to(precision), present)
        except Exception as error:
            if _memory_ran_out(error):
                # Callers start again with a smaller execution, or say which memory ran out.
                raise
            raise self._wrong(f"failed ({_failure(error)})") from error
        logits, weights = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        self._check("logits [b k]", logits, (flat.shape[0], self.config.classes))
        if weights is None:
            weights = flat.new_empty(*flat.shape[:2], 0)
        else:
            self._check("weights [b n t]", weights, (*flat.shape[:2], len(self.config.target_classes)))
        if torch.is_grad_enabled() and flat.requires_grad and not logits.requires_grad:
            raise self._wrong("must return logits that depend on the latents, with their gradient")
        return logits, weights

    @torch.no_grad()
    def gives_evidence(self) -> bool:
        """Return whether the module returns weights: it is asked with two latents, on the device of its weights."""
        device = next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))
        flat = torch.zeros(1, 2, self.config.latent_width, device=device)
        return self.apply_module(flat, torch.ones(1, 2, dtype=torch.bool, device=device))[1].shape[-1] > 0

    def start(self, generator: torch.Generator | None) -> None:
        """Fill the module with the weights of a new one, whose constructor draws from a seed of the generator."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = _factory(self.config.output_head)(self.config)
        self.module.load_state_dict(fresh.state_dict())

    def _check(self, what: str, tensor: object, shape: tuple[int, ...]) -> None:
        if not isinstance(tensor, Tensor):
            raise self._wrong(f"must return {what}, not {tensor!r:.80}")
        if tensor.shape != shape:
            raise self._wrong(f"must return {what} = {list(shape)}, not {list(tensor.shape)}")
        if not tensor.is_floating_point():
            raise self._wrong(f"must return {what} of floating point, not of {str(tensor.dtype).split('.')[-1]}")

    def _wrong(self, text: str) -> HeadError:
        return HeadError(f"output head {self.config.output_head!r} {text}; correct it, or take another")


Head = AttentionPool | AddedHead


def build_head(config: ClassifierConfig) -> Head:
    """Return the head that a config names.

    Raises:
        ConfigError: There is none of this name, or its factory fails or returns no module.
    """
    try:
        module = _factory(config.output_head)(config)
    except Exception as error:
        if config.output_head not in HEADS or config.output_head == ATTENTION:
            raise
        raise ConfigError(
            f"output head {config.output_head!r} cannot be built ({_failure(error)}); correct it, or take another"
        ) from error
    if isinstance(module, AttentionPool):
        return module
    if not isinstance(module, nn.Module):
        raise ConfigError(f"output head {config.output_head!r} must be a torch.nn.Module, not {module!r:.80}")
    return AddedHead(config, module)


def gives_evidence(head: Head) -> bool:
    """Return whether a head says how much each latent weighs."""
    return isinstance(head, AttentionPool) or head.gives_evidence()


def _unsaved(module: nn.Module) -> str:
    """Return what of a module the files of a run cannot hold, and what to do; empty if they hold all of it."""
    if buffers := {name for each in module.modules() for name in each._non_persistent_buffers_set}:
        return f"has a buffer that is not saved ({min(buffers)}); register it with persistent=True"
    first: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            return f"has a state that is no tensor ({name}); keep it in a buffer"
        if is_lazy(tensor):
            return f"has a weight without a size ({name}); take layers that are not lazy"
        if (other := first.setdefault(id(tensor), name)) != name:
            return f"has one weight with two names ({other}, {name}); register it once"
    return ""


def _memory_ran_out(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in ALLOCATION)


def _failure(error: Exception) -> str:
    """Return the kind of an error and the first line of its message; of a value that is read, what this means."""
    if isinstance(error, DataDependentOutputException) or "on meta tensors" in str(error):
        return "it reads a value of a tensor, as .item() or a branch do: estimates of memory have shapes alone"
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _factory(name: str) -> HeadFactory:
    if name not in HEADS:
        for find in FINDERS:
            find(name)
    if name not in HEADS:
        raise ConfigError(f"no output head {name!r}; there is {', '.join(HEADS)}")
    return HEADS[name]
