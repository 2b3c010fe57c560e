"""Training steps of small models of every kind, as jobs and as plain forward passes."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import groups_of, normalize
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.autoregressive.next_token import next_token_loss
from fitcli.tasks.autoregressive.step import decoding_job
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.dense.dense_step import dense_job
from fitcli.tasks.diffusion.step import denoising_job, mean_square
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.step import label_losses
from models.build import build
from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig, DenseConfig
from models.dense import by_cell, class_counts
from models.groups import Gather, Groups
from models.real_tokens import RealTokens

TRUNK: dict[str, Any] = {
    "tokens": 4, "latents": 4, "token_width": 16, "latent_width": 24, "token_heads": 2, "latent_heads": 3,
    "mlp_ratio": 2,
}  # fmt: skip
CLASSIFIER = TRUNK | {"patch": 2, "channels": 3, "classes": 4}
DENOISER = TRUNK | {"values": 12, "out_values": 12, "condition_width": 5, "self_condition": True}
DECODER = TRUNK | {"vocabulary": 11, "causal": "tokens"}

DENSE = TRUNK | {"channels": 3, "outputs": 4}

CONFIGS: dict[str, ClassifierConfig | DenseConfig | DenoiserConfig | DecoderConfig] = {
    "classifier": ClassifierConfig(plan="(2)1(1)2", **CLASSIFIER),
    "classifier of one segment": ClassifierConfig(plan="(1)2", **CLASSIFIER),
    "classifier of many segments": ClassifierConfig(plan="(0)1(1)1(0)2", cross_mlp=True, **CLASSIFIER),
    "convolutional classifier": ClassifierConfig(plan="(1)1(1)1", stem="conv", **CLASSIFIER | {"patch": 4}),
    "classifier of overlapping convolutions": ClassifierConfig(
        plan="(1)1(1)1", stem="overlap", **CLASSIFIER | {"patch": 4}
    ),
    "causal classifier": ClassifierConfig(plan="(1)1(1)1", causal="groups", cross_norm=False, **CLASSIFIER),
    "classifier with tables": ClassifierConfig(
        plan="(1)1(1)1", latent_positions="learned", token_positions="learned", groups=8, **CLASSIFIER
    ),
    "dense": DenseConfig(plan="(1)1(2)1(1)", patch=2, cells=1, **DENSE),
    "dense, of overlapping convolutions": DenseConfig(plan="(1)1(0)", patch=4, cells=4, stem="overlap", **DENSE),
    "denoiser": DenoiserConfig(plan="(1)1(2)1(1)", **DENOISER),
    "denoiser that ends with global layers": DenoiserConfig(plan="(0)1(2)1", cross_mlp=True, **DENOISER),
    "denoiser of local layers": DenoiserConfig(plan="(2)", **DENOISER),
    "denoiser of overlapping patches": DenoiserConfig(plan="(1)1(2)", output_patch=2, **DENOISER),
    "decoder": DecoderConfig(plan="(1)1(1)2(1)", **DECODER),
    "decoder that ends with global layers": DecoderConfig(plan="(1)1(1)1", shared_embedding=False, **DECODER),
    "decoder of classes": DecoderConfig(plan="(1)1(1)1(1)", starts=4, classes=4, **DECODER),
}

PLANS = {
    "layers": ExecutionPlan(kind="layers"),
    "all replayed": ExecutionPlan(kind="recompute", handful=1, global_layers="checkpoint"),
    "half kept": ExecutionPlan(kind="recompute", handful=2, keep=0.5, global_layers="attention"),
    "half kept selectively": ExecutionPlan(kind="recompute", handful=2, keep=0.5, selective=True),
    "all kept selectively": ExecutionPlan(
        kind="recompute", handful=3, keep=1, selective=True, global_layers="selective"
    ),
    "all kept": ExecutionPlan(kind="recompute", handful=100, keep=1),
    "streamed": ExecutionPlan(kind="stream", handful=2),
    "streamed, keeps attention": ExecutionPlan(kind="stream", handful=5, global_layers="attention"),
    "streamed, reruns": ExecutionPlan(kind="stream", handful=3, global_layers="rerun", store="device"),
    "streamed, checkpoints": ExecutionPlan(kind="stream", handful=1, global_layers="checkpoint"),
    "streamed to disk": ExecutionPlan(kind="stream", handful=100, global_layers="selective", store="disk"),
}


def grid(height: int, width: int, patch: int = 2) -> PatchGrid:
    return PatchGrid((height * patch // 2, width * patch // 2), patch, 2)


def batches(patch: int) -> dict[str, Groups]:
    """Return whole images of one size; images of different sizes with padding, one without a group; a single group."""
    ragged = [groups_of(grid(7, 5, patch)), groups_of(grid(4, 8)), groups_of(grid(8, 8), [(0, 1), (1, 0), (1, 1)])]
    return {
        "whole": Groups.of_grid(images=2, rows=2, columns=2),
        "ragged": Groups.join(ragged),
        "one group": groups_of(grid(3, 4, patch)),
    }


class Step:
    """One training step of a model, as a job and as a plain forward pass."""

    def __init__(self, config: Any, kind: str = "ragged", dtype: torch.dtype = torch.float64) -> None:
        self.groups = batches(getattr(config, "patch", 2))[kind]
        self.model: Any = build(config).to(dtype)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            # Fresh parameters are zero in places, which would hide mistakes.
            for parameter in self.model.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
        count, images = len(self.groups.number), self.groups.images

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=dtype)

        values = getattr(config, "values", 12)
        self.pixels = torch.randint(256, (count, 4, values), generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(images) % 4
        self.ids, self.targets = (torch.randint(11, (count, 4), generator=generator) for _ in range(2))
        if getattr(config, "starts", 0):
            self.ids[0, 0] = 11 + config.starts - 1
        self.classes = torch.randint(4, (count, 4, values // 3), generator=generator).to(torch.uint8)
        self.noise, self.previous = normal(count, 4, values), normal(count, 4, 24)
        self.level, self.condition = normal(images).sigmoid(), normal(images, 2, 5)

    def patches(self, part: slice) -> Tensor:
        mean, std = torch.tensor([100.0, 120.0, 140.0]), torch.tensor([50.0, 60.0, 70.0])
        return normalize(self.pixels[part], mean, std).to(self.noise.dtype)

    def packed(self, part: slice, real: RealTokens) -> Tensor:
        return real.pack(self.patches(part))

    def job(self) -> Job:
        if isinstance(self.model.config, ClassifierConfig):
            return classification_job(self.model, self.groups, self.packed, self.cross_entropy)
        if isinstance(self.model.config, DenseConfig):
            divisor = float(self.groups.count_real_tokens(4) * self.model.config.patch**2)
            loss = CellLoss()
            losses = label_losses(self.model.config, lambda p: self.classes[p], loss)
            return dense_job(self.model, self.groups, self.packed, losses, divisor)
        if isinstance(self.model.config, DenoiserConfig):
            loss = mean_square(self.groups, lambda part: self.noise[part])
            return denoising_job(self.model, self.groups, self.packed, self.level, loss, self.condition, self.previous)
        return decoding_job(
            self.model, self.groups, lambda part: self.ids[part], lambda part: self.targets[part],
            labels=self.given_labels, smoothing=self.smoothing,
        )  # fmt: skip

    @property
    def given_labels(self) -> Tensor | None:
        """Classes of the images for a decoder with classes; None for others."""
        return self.labels if self.model.config.classes else None

    @property
    def smoothing(self) -> float:
        """Label smoothing: 0.1 for a decoder with classes, else 0, so that every execution gives the same bits."""
        return 0.1 if self.model.config.classes else 0.0

    def cross_entropy(self, logits: Tensor) -> Tensor:
        weight = torch.tensor([1.0, 2.0, 0.5, 1.5], dtype=logits.dtype)
        return F.cross_entropy(logits, self.labels, weight, label_smoothing=0.1)

    def plain(self) -> Tensor:
        """Return the loss from the forward pass of the model."""
        model, groups, every = self.model, self.groups, slice(None)
        if isinstance(model.config, ClassifierConfig):
            return self.cross_entropy(model(self.patches(every), groups).logits)
        if isinstance(model.config, DenseConfig):
            logits = by_cell(model(self.patches(every), groups), model.config.outputs)
            counts = class_counts(self.classes, model.config.cells, model.config.patch, model.config.outputs)
            losses = -(counts * logits.log_softmax(dim=-1)).sum(dim=(2, 3))
            real = losses if groups.mask is None else losses[groups.mask]
            return real.sum() / (real.numel() * model.config.patch**2)
        if isinstance(model.config, DenoiserConfig):
            prediction = model(self.patches(every), groups, self.level, self.condition, self.previous).tokens
            error = prediction - self.noise
            return (error if groups.mask is None else error[groups.mask]).square().mean()
        logits = model(self.ids, groups, self.given_labels)
        if groups.mask is not None:
            return next_token_loss(logits[groups.mask], self.targets[groups.mask], smoothing=self.smoothing)
        return next_token_loss(logits, self.targets, smoothing=self.smoothing)

    def share(self, rank: int, ranks: int, gather: Gather) -> Step:
        """Return the step of one of several ranks, with weights of its own."""
        part = copy.copy(self)
        part.model = copy.deepcopy(self.model)
        part.groups = self.groups.share_of(rank, ranks, gather)
        places = torch.arange(len(self.groups.number))
        own = self.groups._replace(number=places).share_of(rank, ranks, gather).number
        for name in ("pixels", "classes", "ids", "targets", "noise", "previous"):
            setattr(part, name, getattr(self, name)[own])
        return part

    def gradients(self) -> dict[str, Tensor | None]:
        """Return the gradients of the parameters by name, and clear them."""
        gradients = {name: parameter.grad for name, parameter in self.model.named_parameters()}
        self.model.zero_grad(set_to_none=True)
        return gradients


def assert_same_gradients(
    gradients: dict[str, Tensor | None], expected: dict[str, Tensor | None], tolerance: float
) -> None:
    assert gradients.keys() == expected.keys()
    # In a batch of one group some gradients are rounding alone: the tokens of a decoder then read latents of zeros.
    floor = 1e-2 * tolerance * max(float(g.norm()) for g in expected.values() if g is not None)
    for name, gradient in expected.items():
        other = gradients[name]
        assert (gradient is None) == (other is None), name
        if gradient is not None and other is not None:
            assert (other - gradient).norm() <= tolerance * gradient.norm() + floor, name


def assert_none_is_rounding_alone(gradients: dict[str, Tensor | None]) -> None:
    """Check gradients in float64: a number is zero, or it is large enough to be more than rounding."""
    largest = max(float(gradient.abs().max()) for gradient in gradients.values() if gradient is not None)
    for name, gradient in gradients.items():
        if gradient is not None:
            tiny = (gradient != 0) & (gradient.abs() < 1e-14 * largest)
            assert not tiny.any(), f"{name}: {int(tiny.sum())} of {tiny.numel()}"
