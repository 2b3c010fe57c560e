"""Canvases are stored where the memory limit allows."""

from __future__ import annotations

from support.generators import model_config

from fitcli.device.runtime import choose_runtime
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan, plan_generation
from fitcli.tasks.diffusion.sample import DENOISING

RUNTIME = choose_runtime("cpu", "fp32")


def test_canvases_rest_in_memory_while_there_is_room_and_on_disk_then() -> None:
    def where(memory: int, on_disk: bool = False) -> GenerationPlan:
        return plan_generation(
            DENOISING, config=model_config(), weights_bytes=10**6, groups=65536, canvases=2, coarser=True,
            runtime=RUNTIME,
            memory_bytes=memory, reader_bytes=0, finish_bytes=10**7, on_disk=on_disk,
        )  # fmt: skip

    # Two canvases of 16 x 48 x 4 bytes per group, and a quarter more; tokens of 16 x 16 x 4 bytes.
    plans = [where(mebibytes << 20) for mebibytes in (2048, 512, 170)]
    assert [(one.canvas, one.passes.store) for one in plans] == [("host", "host"), ("disk", "host"), ("disk", "disk")]
    assert plans[0].passes.parts["canvas"] == 4 * 48 * 16 * 2 * (65536 + 65536 // 4)
    for one in plans:
        assert sum(one.passes.parts.values()) <= one.passes.budget_bytes
        assert GenerationPlan.from_state(one.for_state()) == one
    assert where(2 << 30, on_disk=True).canvas == "disk"
