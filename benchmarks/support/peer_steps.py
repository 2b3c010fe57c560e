"""Builds the steps that `speed/peers.py` compares: FIT, and a ViT, Swin, RIN and Perceiver of other packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LATENTS = 256
"""Latents of RIN and Perceiver for the whole image, as in their papers."""


@dataclass(frozen=True)
class Model:
    """A model of the comparison, and whether it has gradient checkpointing."""

    can_checkpoint: bool


MODELS = {
    "fit-tiny": Model(True),
    "fit-small": Model(True),
    "fit-base": Model(True),
    "vit-s": Model(True),
    "vit-b": Model(True),
    "swin-t": Model(True),
    "rin": Model(True),
    "perceiver": Model(False),
}


def build_step(case: dict[str, Any]) -> tuple[Callable[[], object], int, int]:
    """Return (a function that runs one step, parameters, patches of 16 x 16 pixels)."""
    from fitcli.device.runtime import choose_runtime

    runtime = choose_runtime(case["device"], case["precision"])
    backward, checkpointed, size = case["work"] == "step", case["checkpointed"], case["size"]
    name, rest = case["model"].split("-") if "-" in case["model"] else (case["model"], "")
    make = _fit_step if name == "fit" else _peer_step
    step, model = make(case["model"] if name != "fit" else rest, size, backward, checkpointed, runtime)
    return step, sum(p.numel() for p in model.parameters()), (size // 16) ** 2


def _fit_step(preset: str, size: int, backward: bool, checkpointed: bool, runtime: Any) -> tuple[Any, Any]:
    """Use the plain execution, or with `checkpointed` the recomputing one."""
    from benchmarks.support.classifier_job import classifier_job
    from fitcli.execution.plan import ExecutionPlan

    plan = ExecutionPlan(kind="recompute", global_layers="checkpoint") if checkpointed else ExecutionPlan()
    step, model, _ = classifier_job(preset, size, runtime, plan if backward else None)
    return step, model


def _peer_step(name: str, size: int, backward: bool, checkpointed: bool, runtime: Any) -> tuple[Any, Any]:
    import torch

    _import_torchvision()
    model = _BUILDERS[name](size, checkpointed).to(runtime.device)
    image = torch.rand(1, 3, size, size, device=runtime.device)
    if not backward:
        model.eval().requires_grad_(False)

        def forward() -> object:
            with torch.inference_mode(), runtime.autocast():
                return model(image)

        return forward, model

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with runtime.autocast():
            loss = model(image).float().square().mean()
        loss.backward()

    return step, model


def _import_torchvision() -> None:
    """Define the operators that torchvision looks up at import.

    timm and RIN import torchvision without using it. The build on PyPI is for CUDA: beside a PyTorch for CPUs its
    operators are missing, and its import fails.
    """
    import torch

    if not torch.cuda.is_available():
        _LIBRARY.append(torch.library.Library("torchvision", "DEF"))  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            _LIBRARY[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_LIBRARY: list[Any] = []
"""Keeps the operators alive: they are removed with their library."""


def _timm(name: str, **settings: Any) -> Callable[[int, bool], Any]:
    def make(size: int, checkpointed: bool) -> Any:
        import timm

        model = timm.create_model(name, img_size=size, num_classes=100, **settings)
        model.set_grad_checkpointing(checkpointed)
        return model

    return make


def _rin(size: int, checkpointed: bool) -> Any:
    """Two blocks. In each, latents read 16 x 16 patches and pass four layers, then patches read the latents."""
    import torch
    from rin_pytorch.rin_pytorch import RINBlock
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class Rin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 384, 16, 16)
            self.positions = nn.Parameter(torch.randn((size // 16) ** 2, 384) * 0.02)
            self.latents = nn.Parameter(torch.randn(LATENTS, 512) * 0.02)
            self.blocks = nn.ModuleList(
                RINBlock(384, 4, 512, patches_self_attn=False, flash=True, heads=8, dim_head=64) for _ in range(2)
            )
            self.head = nn.Linear(512, 100)

        def forward(self, image: Any) -> Any:
            patches = self.embed(image).flatten(2).transpose(1, 2) + self.positions
            latents = self.latents.expand(len(image), -1, -1)
            for block in self.blocks:
                if checkpointed:
                    patches, latents = checkpoint(block, patches, latents, None, use_reentrant=False)
                else:
                    patches, latents = block(patches, latents, None)
            return self.head(latents.mean(dim=1))

    return Rin()


def _perceiver(size: int, checkpointed: bool) -> Any:
    """Latents that read 16 x 16 patches three times, with two layers after each."""
    from perceiver_pytorch import Perceiver
    from torch import nn

    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 384, 16, 16)
            self.perceiver = Perceiver(
                num_freq_bands=16, max_freq=64.0, depth=3, input_channels=384, num_latents=LATENTS, latent_dim=384,
                cross_heads=6, latent_heads=6, num_classes=100, self_per_cross_attn=2,
            )  # fmt: skip

        def forward(self, image: Any) -> Any:
            return self.perceiver(self.embed(image).permute(0, 2, 3, 1))

    return Patches()


_BUILDERS: dict[str, Callable[[int, bool], Any]] = {
    "vit-s": _timm("vit_small_patch16_224"),
    "vit-b": _timm("vit_base_patch16_224"),
    # The sides of images are multiples of 256, which windows of 8 x 8 divide and the usual 7 x 7 do not.
    "swin-t": _timm("swin_tiny_patch4_window7_224", window_size=8),
    "rin": _rin,
    "perceiver": _perceiver,
}
