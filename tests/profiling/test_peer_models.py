"""The ViT that is measured: attention over all patches; checkpoints change nothing but memory."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from fitcli.errors import FitError
from fitcli.profiling.peer_models import ViT, build_peer, can_build

CPU = torch.device("cpu")


def test_every_patch_changes_the_result() -> None:
    torch.manual_seed(0)
    model = ViT(12, 64, 2, checkpointed=False)
    patches = torch.randn(2, 5, 12, requires_grad=True)
    result = model(patches)
    assert result.shape == (2, 64)
    result[0].square().sum().backward()
    assert patches.grad is not None
    assert patches.grad[0].abs().amax(dim=1).min() > 0
    assert patches.grad[1].abs().max() == 0, "images do not see each other"


def test_checkpoints_change_neither_result_nor_gradients() -> None:
    torch.manual_seed(0)
    plain = ViT(12, 64, 3, checkpointed=False)
    again = ViT(12, 64, 3, checkpointed=True)
    again.load_state_dict(plain.state_dict())
    patches = torch.randn(2, 5, 12)
    for model in (plain, again):
        model(patches).square().mean().backward()
    assert torch.equal(plain(patches), again(patches))
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, shape = build_peer("vit", 32, 3 * 64, 64, 2, False, CPU)
    assert model(torch.rand(3, 16, *shape)).shape == (3, 64)
    assert can_build("vit")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FitError, match=r"^--compare swin needs timm; install it with: pip install 'fitcli\[bench\]'$"):
        build_peer("swin", 256, 0, 0, 0, False)
