"""Output heads by name: what a module of others gets and gives, in one process and in several, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.batches import classifier_config
from support.ranks import ThreadExchange
from torch import Tensor, nn

from fitcli.errors import OUT_OF_MEMORY
from models.build import build
from models.checks import ConfigError
from models.config import ATTENTION, ClassifierConfig
from models.groups import Groups
from models.heads import FINDERS, HEADS, AddedHead, HeadError, build_head, gives_evidence
from models.layers import FeedForward
from models.pooling import AttentionPool
from models.precast_weights import precast_weights


class Shares(nn.Module):
    """A pool with weights of its own, and a raw parameter and a buffer that no rule of initialisation knows."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.score = nn.Linear(config.latent_width, len(config.target_classes))
        self.scale = nn.Parameter(torch.randn(config.latent_width))
        self.register_buffer("offset", torch.full((config.classes,), 0.25))
        self.classify = nn.Linear(config.latent_width, config.classes)

    def forward(self, latents: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.score(latents).masked_fill(~present[..., None], -1e4)
        weights = scores.softmax(dim=1)
        pooled = (weights.mean(dim=-1, keepdim=True) * latents * self.scale).sum(dim=1)
        offset = self.offset
        assert isinstance(offset, Tensor)
        return self.classify(pooled) + offset, weights


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    heads, finders = dict(HEADS), list(FINDERS)
    yield
    HEADS.clear()
    HEADS.update(heads)
    FINDERS[:] = finders


def config_of(name: str = "shares", **settings: object) -> ClassifierConfig:
    return classifier_config(classes=5, targets=(3, 2), output_head=name, **settings)


def added(seed: int = 0) -> AddedHead:
    HEADS["shares"] = Shares
    head = build(config_of(), seed=seed).head
    assert isinstance(head, AddedHead)
    return head


def latents_of(head: AddedHead, groups: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(groups, 2, head.config.latent_width, generator=generator)


def test_the_usual_head() -> None:
    head = build(classifier_config()).head
    assert isinstance(head, AttentionPool)
    assert gives_evidence(head)
    assert "output_head" not in classifier_config().to_dict(), "as in earlier versions"
    assert config_of().to_dict()["output_head"] == "shares"
    assert (classifier_config().has_added_part, config_of().has_added_part) == (False, True)


def test_a_subclass_of_the_attention_pool_is_used_as_it_is() -> None:
    class Twice(AttentionPool):
        pass

    HEADS["twice"] = lambda config: Twice(config.latent_width, 1, config.target_classes)
    assert type(build_head(config_of("twice"))) is Twice


def test_weights_start_as_the_constructor_draws_them() -> None:
    first, again, other = added(0), added(0), added(1)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
        assert torch.isfinite(tensor).all()
    assert torch.equal(first.state_dict()["module.offset"], torch.full((5,), 0.25))
    assert first.module.scale.std() > 0.5  # type: ignore[union-attr, operator]
    assert not torch.equal(first.module.scale, other.module.scale)  # type: ignore[arg-type]
    state = torch.random.get_rng_state()
    added(2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_images_of_a_batch_do_not_see_each_other() -> None:
    head = added()
    sizes = [(1, 3), (2, 2), (1, 1)]
    parts = [Groups.of_grid(1, *size) for size in sizes]
    latents = latents_of(head, 8)
    batch = head(latents, Groups.join(parts))
    start = 0
    for image, part in enumerate(parts):
        own = slice(start, start + len(part.number))
        alone = head(latents[own], part)
        torch.testing.assert_close(batch.logits[image : image + 1], alone.logits)
        torch.testing.assert_close(batch.evidence[own], alone.evidence)
        torch.testing.assert_close(alone.evidence.sum(dim=(0, 1)), torch.ones(2))
        start = own.stop


def test_ranks_that_share_images_give_the_numbers_and_gradients_of_one() -> None:
    head, ranks = added().double(), 2
    whole = Groups.join([Groups.of_grid(1, 1, 5), Groups.of_grid(1, 1, 2)])
    latents = latents_of(head, 7).double().requires_grad_()
    expected = head(latents, whole)
    expected.logits.square().sum().backward()
    assert latents.grad is not None
    exchange = ThreadExchange(ranks)

    def share(rank: int) -> tuple[Tensor, Tensor, Tensor]:
        groups = whole.share_of(rank, ranks, exchange.gather(rank))
        numbered = torch.arange(7)[:, None]
        rows = [int(row) for image, row in zip(whole.image_of_group().tolist(), numbered, strict=True)
                if row - 5 * image in groups.number[groups.image_of_group() == image]]  # fmt: skip
        own = latents.detach()[rows].requires_grad_()
        result = head(own, groups)
        (gradient,) = torch.autograd.grad(result.logits.square().sum() / ranks, own)
        return result.logits, torch.cat([result.evidence, torch.zeros(0, 2, 2)]), gradient

    with ThreadPoolExecutor(ranks) as pool:
        results = list(pool.map(share, range(ranks)))
    for logits, _, _ in results:
        torch.testing.assert_close(logits, expected.logits)
    for number, wanted in ((1, expected.evidence), (2, latents.grad)):
        got = torch.cat([each[number] for each in results])
        torch.testing.assert_close(got.sort(dim=0).values, wanted.detach().sort(dim=0).values)


def test_it_computes_in_the_precision_of_its_weights() -> None:
    head, groups = added(), Groups.of_grid(1, 1, 4)
    latents = latents_of(head, 4)
    exact = head(latents, groups)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(latents, groups).logits, exact.logits)


class Layered(Shares):
    """A head with a layer of fit."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.layer = FeedForward(config.latent_width, 2)

    def forward(self, latents: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(self.layer(latents), present)


def test_its_weights_are_not_cast_ahead() -> None:
    HEADS["layered"] = Layered
    model = build(config_of("layered"))
    precast_weights(model, torch.bfloat16)
    assert {weight.dtype for weight in model.encoder.trunk.parameters()} == {torch.float32, torch.bfloat16}
    assert {weight.dtype for weight in model.head.parameters()} == {torch.float32}
    latents = torch.zeros(4, 2, model.config.latent_width)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.head(latents, Groups.of_grid(1, 1, 4)).logits.dtype == torch.float32


def head_that(result: object) -> AddedHead:
    """A head that returns something, or calls it."""

    class Module(nn.Module):
        def forward(self, latents: Tensor, present: Tensor) -> object:
            return result(latents) if callable(result) else result

    HEADS["wrong"] = lambda config: Module()
    head = build_head(config_of("wrong"))
    assert isinstance(head, AddedHead)
    return head


def failing(latents: Tensor) -> Tensor:
    raise KeyError("gamma")


def forgetting(latents: Tensor) -> Tensor:
    raise AttributeError("no attribute 'memory'")


def wordy(latents: Tensor) -> Tensor:
    raise RuntimeError("wrong memory_format\nand a page of others")


def reading(latents: Tensor) -> Tensor:
    return latents.to("meta").sum().item()  # type: ignore[return-value]


WRONG = {
    "number": (0.5, r"must return logits \[b k\], not 0.5"),
    "shape": (torch.zeros(1, 4), r"must return logits \[b k\] = \[1, 5\], not \[1, 4\]"),
    "three": ((torch.zeros(1, 5),) * 3, r"must return logits \[b k\], not \(tensor"),
    "weights": ((torch.zeros(1, 5), torch.zeros(1, 8)), r"must return weights \[b n t\] = \[1, 8, 2\], not \[1, 8\]"),
    "failing": (failing, r"failed \(KeyError: 'gamma'\)"),
    "shapes": (lambda latents: latents @ latents, r"failed \(RuntimeError: "),
    "attribute": (forgetting, r"failed \(AttributeError: no attribute 'memory'\)"),
    "lines": (wordy, r"failed \(RuntimeError: wrong memory_format\)"),
    "value": (reading, r"failed \(it reads a value of a tensor, as .item\(\)"),
    "integers": (torch.zeros(1, 5).long(), r"must return logits \[b k\] of floating point, not of int64"),
    "integer weights": ((torch.zeros(1, 5), torch.zeros(1, 8, 2).long()), r"must return weights .* not of int64"),
    "gradient": (torch.zeros(1, 5), r"must return logits that depend on the latents"),
    "detached": (lambda latents: latents.detach().sum(1)[:, :5], r"must return logits that depend on the latents"),
}


@pytest.mark.parametrize(("result", "message"), WRONG.values(), ids=WRONG)
def test_what_a_module_returns_is_checked(result: object, message: str) -> None:
    head = head_that(result)
    with pytest.raises(HeadError, match=f"^output head 'wrong' {message}.*; correct it, or take another$"):
        head(torch.zeros(4, 2, head.config.latent_width, requires_grad=True), Groups.of_grid(1, 1, 4))


@pytest.mark.parametrize("text", OUT_OF_MEMORY)
def test_memory_that_runs_out_is_no_fault_of_a_head(text: str) -> None:
    def greedy(latents: Tensor) -> Tensor:
        raise RuntimeError(f"DefaultCPUAllocator: {text}")

    head = head_that(greedy)
    with pytest.raises(RuntimeError, match=f"^DefaultCPUAllocator: {re.escape(text)}$"):
        head(torch.zeros(4, 2, head.config.latent_width), Groups.of_grid(1, 1, 4))


def test_a_head_without_weights_gives_no_evidence() -> None:
    head = head_that(lambda latents: latents.new_zeros(len(latents), 5))
    assert not gives_evidence(head)
    assert gives_evidence(added())
    assert list(head(torch.zeros(4, 2, head.config.latent_width), Groups.of_grid(1, 1, 4)).evidence.shape) == [4, 2, 0]


class Forgetful(nn.Module):
    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3), persistent=False)


class Tied(nn.Module):
    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(2, 2)


class Stateful(nn.Module):
    def get_extra_state(self) -> object:
        return {"steps": 3}


def measuring(config: ClassifierConfig) -> nn.Module:
    return nn.Linear(2, int(torch.zeros((), device="meta")))


IMPOSSIBLE = {
    "number": (lambda config: 3, r"output head 'wrong' must be a torch.nn.Module, not 3"),
    "arguments": (lambda: nn.Identity(), r"output head 'wrong' cannot be built \(TypeError: "),
    "buffer": (Forgetful, r"output head 'wrong' has a buffer that is not saved \(mean\)"),
    "two names": (Tied, r"output head 'wrong' has one weight with two names \(first.weight, second.weight\)"),
    "no tensor": (lambda config: Stateful(), r"output head 'wrong' has a state that is no tensor \(_extra_state\)"),
    "lazy": (lambda config: nn.LazyLinear(3), r"output head 'wrong' has a weight without a size \(weight\)"),
    "value": (measuring, r"output head 'wrong' cannot be built \(it reads a value of a tensor"),
}


@pytest.mark.parametrize(("factory", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_a_factory_returns_is_checked(factory: object, message: str) -> None:
    HEADS["wrong"] = factory  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=message):
        build_head(config_of("wrong"))


def test_a_name_is_looked_for_when_a_model_is_built() -> None:
    asked: list[str] = []

    def find(name: str) -> None:
        asked.append(name)
        if name == "shares":
            HEADS["shares"] = Shares

    FINDERS[:] = [find]
    assert isinstance(build(config_of()).head, AddedHead)
    build(config_of())
    assert asked == ["shares"]
    with pytest.raises(ConfigError, match=f"no output head 'none'; there is {ATTENTION}, shares"):
        build_head(config_of("none"))
