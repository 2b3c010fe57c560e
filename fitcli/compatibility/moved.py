"""Serves names of the library from the modules where earlier versions documented them, with a warning. For one release.

Never imports torch: the new module is imported when a name is asked for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "fitcli.autoregression_images.Request": "fitcli.tasks.autoregressive.generate_images.Request",
    "fitcli.autoregression_images.generate_images": "fitcli.tasks.autoregressive.generate_images.generate_images",
    "fitcli.checkpoints.load_classifier": "fitcli.compatibility.load_functions.load_classifier",
    "fitcli.checkpoints.load_decoder": "fitcli.compatibility.load_functions.load_decoder",
    "fitcli.checkpoints.load_denoiser": "fitcli.compatibility.load_functions.load_denoiser",
    "fitcli.classification.classify_image": "fitcli.tasks.classify.classify_image.classify_image",
    "fitcli.decoding.draw.Draws": "fitcli.tasks.autoregressive.decoding.token_sampling.Draws",
    "fitcli.diffusion.generate.generate": "fitcli.tasks.diffusion.in_memory.generate",
    "fitcli.embedding.embed_image": "fitcli.tasks.encoding.embed_files.embed_image",
    "fitcli.grid.PatchGrid": "fitcli.patches.grid.PatchGrid",
    "fitcli.patches.groups_of": "fitcli.patches.cutting.groups_of",
    "fitcli.patches.normalize": "fitcli.patches.cutting.normalize",
    "fitcli.patches.read_patches": "fitcli.patches.cutting.read_patches",
    "fitcli.patches.to_patches": "fitcli.patches.cutting.to_patches",
    "fitcli.runtime.choose_runtime": "fitcli.device.runtime.choose_runtime",
    "fitcli.window.Window": "fitcli.images.window.Window",
}
"""Old place of a name -> new place."""

USE_INSTEAD = {"fitcli.compatibility.load_functions": "fitcli.tasks.load.load_run(folder, runtime, task)"}
"""What to use instead of the functions of a module that only serves old names."""


class MovedFinder(MetaPathFinder, Loader):
    """Finds the modules that only old names are left of."""

    def __init__(self) -> None:
        self._modules = {parent for place in MOVED for parent in _parents(place)}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that has no file of its own any more."""
        if name not in self._modules:
            return None
        is_package = any(other.startswith(f"{name}.") for other in self._modules)
        return ModuleSpec(name, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Give a module its names, which are imported when they are asked for."""
        module.__getattr__ = moved_names(module.__name__)  # type: ignore[method-assign]


def moved_names(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that names have moved out of."""

    def find(name: str) -> Any:
        new = MOVED.get(f"{module}.{name}")
        if new is None:
            known = ", ".join(sorted(place for place in MOVED if place.startswith(f"{module}.")))
            raise AttributeError(f"{module} has no {name!r}; of it these names have moved: {known or 'none'}")
        place, _, own = new.rpartition(".")
        warnings.warn(
            f"{module}.{name} is now {USE_INSTEAD.get(place, new)}; the next release has no {module}.{name}",
            FutureWarning,
            stacklevel=2,
        )
        found = getattr(import_module(place), own)
        # Kept in the module, so that the next use of the name is silent.
        setattr(sys.modules[module], name, found)
        return found

    return find


def install() -> None:
    """Serve the old names, after all modules that have files."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())


def _parents(place: str) -> list[str]:
    parts = place.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(2, len(parts) + 1)]
