"""Compiled layers give the results of eager ones in few graphs for all sizes; a missing compiler is one line."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.command_line import Fit
from support.steps import CONFIGS, Step, assert_same_gradients
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from fitcli.device import compilation, runtime
from fitcli.device.compilation import compile_error, is_compile_error
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.errors import DeviceError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.estimate import Training, estimate_step
from fitcli.memory.plan import choose
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.encoding.stream import stream_latents
from fitcli.tasks.registry import find_task
from models.build import build
from models.compilable import GRAPHS, Region, compile_regions
from models.groups import Groups
from models.layers import SelfAttentionLayer
from models.presets import classifier_preset

EXECUTIONS = {
    "plain": ExecutionPlan(),
    "recompute": ExecutionPlan(kind="recompute", handful=3, global_layers="checkpoint"),
    "stream": ExecutionPlan(kind="stream", handful=3, global_layers="rerun", store="device"),
}

KINDS = 5
"""Number of kinds of regions in a classifier: stem, local, read, mix and write."""


@pytest.fixture
def counter() -> CompileCounterWithBackend:
    """A backend that compiles nothing and counts graphs, after all earlier graphs were dropped."""
    torch._dynamo.reset()
    counters.clear()
    return CompileCounterWithBackend("eager")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("classifier of one segment", "aot_eager"),
        *(
            pytest.param(name, backend, marks=pytest.mark.slow)
            for name, backend in [
                ("classifier", "aot_eager"), ("denoiser", "aot_eager"), ("decoder of classes", "aot_eager"),
                ("denoiser of overlapping patches", "aot_eager"),
                ("causal classifier", "aot_eager"), ("classifier of overlapping convolutions", "aot_eager"),
                ("convolutional classifier", "inductor"), ("denoiser", "inductor"), ("decoder of classes", "inductor"),
            ]
        ),
    ],
)  # fmt: skip
def test_steps_are_those_of_eager_layers(name: str, backend: str) -> None:
    """Loss and gradients of every execution agree to 1e-9 in float64, over images of several sizes with padding."""
    torch._dynamo.reset()
    step = Step(CONFIGS[name])
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    compile_regions(step.model, backend)
    # The fast case runs only the execution whose backward pass runs layers again.
    for execution in EXECUTIONS if name != "classifier of one segment" else ["recompute"]:
        outcome = run_job(step.job(), EXECUTIONS[execution])
        assert abs(outcome.loss / loss.detach() - 1) < 1e-9, execution
        assert_same_gradients(step.gradients(), expected, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_inference_is_that_of_eager_layers(precision: runtime.Precision, tolerance: float) -> None:
    """Uses the real compiler for this processor, in both precisions of inference."""
    torch._dynamo.reset()
    how = Runtime(torch.device("cpu"), precision, compiled=True)
    eager = build(classifier_preset("debug", 3, 5), seed=0).eval().requires_grad_(False)
    compiled = copy.deepcopy(eager)
    for model in (eager, compiled):
        how.prepare(model)
    how.compile(compiled)
    config = eager.config
    groups = Groups.of_grid(images=1, rows=3, columns=3)
    mask = torch.ones(9, config.tokens, dtype=torch.bool)
    mask[4:, 50:] = False
    patches = torch.randn(9, config.tokens, config.values, generator=torch.Generator().manual_seed(0))
    for each in (groups, groups._replace(mask=mask)):
        with torch.inference_mode(), how.autocast():
            exact = eager(patches, each).logits
            logits = compiled(patches, each).logits
        assert (logits - exact).norm() < tolerance * exact.norm()


@pytest.mark.more
def test_few_graphs_whatever_the_sizes(counter: CompileCounterWithBackend) -> None:
    """A pass takes one graph for a single group or token and one for several, for each kind of region."""
    config = CONFIGS["classifier"]
    model = build(config).eval().requires_grad_(False).encoder
    compile_regions(model, counter)

    def encode(height: int, width: int) -> None:
        grid = PatchGrid((height, width), 2, 2)
        patches = torch.randn(grid.count, config.tokens, 12)
        stream_latents(model, groups_of(grid), lambda part: patches[part], handful=5)

    with torch.inference_mode():
        encode(8, 12)
        several = counter.frame_count
        assert several == 2 * KINDS - 1, "the latents of an image are always several"
        encode(7, 11)
        encode(2, 2)
        encode(10, 6)
        after = counter.frame_count
        assert after <= 4 * KINDS - 3, "one token or several; a stem sees all tokens of a handful, and mix sees latents"
        for size in [(8, 16), (12, 12), (19, 4), (27, 11), (3, 3), (1, 1), (4, 4), (2, 12)]:
            encode(*size)
    assert counter.frame_count == after
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_few_graphs_of_a_step(execution: str, counter: CompileCounterWithBackend) -> None:
    """Steps of other sizes reuse the graphs of the first ones."""
    step = Step(CONFIGS["classifier"], "whole")
    compile_regions(step.model, counter)
    most = {"plain": KINDS + 1, "recompute": 2 * KINDS + 2, "stream": 4 * KINDS + 4}[execution]
    seen = []
    for kind in ("whole", "ragged", "one group", "ragged", "whole", "one group"):
        other = Step(CONFIGS["classifier"], kind)
        other.model = step.model
        run_job(other.job(), EXECUTIONS[execution])
        seen.append(counter.frame_count)
    assert seen[2:] == [seen[2]] * 4
    assert seen[-1] <= 2 * most
    assert not counters["graph_break"]


def test_beyond_the_limit_is_an_error(counter: CompileCounterWithBackend) -> None:
    layers = [SelfAttentionLayer(width, 2, 2) for width in (8, 12)]
    for layer in layers:
        compile_regions(layer, counter)
    layers[0](torch.randn(2, 3, 8))
    with torch._dynamo.config.patch(recompile_limit=1), pytest.raises(FailOnRecompileLimitHit) as caught:
        layers[1](torch.randn(2, 3, 12))
    assert is_compile_error(caught.value)
    assert torch._dynamo.config.recompile_limit >= GRAPHS


def test_a_copy_uses_its_own_weights(counter: CompileCounterWithBackend) -> None:
    layer = SelfAttentionLayer(8, 2, 2)
    names, x = list(layer.state_dict()), torch.randn(2, 3, 8)
    compile_regions(layer, counter)
    assert list(layer.state_dict()) == names
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not torch.equal(layer(x), x)
    assert torch.equal(other(x), x), "a layer of zeros adds nothing"
    assert counter.frame_count == 1


def test_what_cannot_be_compiled_stays_eager(counter: CompileCounterWithBackend) -> None:
    """No graph gathers latents of other ranks, nor runs where a plan keeps selected operations."""
    layer = SelfAttentionLayer(8, 2, 2)
    x = torch.randn(2, 3, 8)
    expected = layer(x)
    compile_regions(layer, counter)
    torch.testing.assert_close(layer(x, None, False, lambda values: values), expected)
    assert torch.equal(layer(x[:0]), x[:0])
    step = Step(CONFIGS["classifier of one segment"])
    run_job(step.job(), ExecutionPlan())
    gradients = step.gradients()
    for region in step.model.encoder.embed.modules():
        assert not isinstance(region, Region) or region is step.model.encoder.embed.stem
    compile_regions(step.model.encoder.trunk, counter)
    run_job(
        step.job(),
        ExecutionPlan(kind="recompute", handful=3, keep=1, selective=True, global_layers="selective"),
    )
    assert_same_gradients(step.gradients(), gradients, 1e-9)
    assert counter.frame_count == 0


@pytest.mark.more
def test_plans_that_select_operations_are_not_chosen() -> None:
    work = Training(task=find_task("classify"), config=classifier_preset("small", 3, 10), groups=625, precision="bf16")
    budget = estimate_step(work, ExecutionPlan()).needed_bytes // 2
    assert not choose(work, budget).plan.compilable, "without `compiled` the plan keeps selected operations"
    chosen = choose(replace(work, compiled=True), budget)
    assert chosen.plan.compilable
    assert chosen.estimate.needed_bytes <= budget


def test_a_machine_that_cannot_compile_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fit: Fit) -> None:
    def fails(*arguments: object, **settings: object) -> None:
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(compilation.torch, "compile", fails)
    with pytest.raises(DeviceError, match=r"^--compile: .*\(no compiler\); install .* use --no-compile$"):
        choose_runtime("cpu", compiled=True)
    result = fit("evaluate", tmp_path, "--checkpoint", tmp_path, "--device", "cpu", "--compile")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --compile: PyTorch cannot compile here (no compiler); ")


def test_errors_of_the_compiler_are_one_line() -> None:
    error = torch._dynamo.exc.TorchDynamoException("\nbroken\nin many lines")
    assert is_compile_error(error)
    assert not is_compile_error(RuntimeError("of ours"))
    assert compile_error(error).startswith("--compile: PyTorch cannot compile here (broken); ")


def test_a_recipe_may_turn_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fit: Fit) -> None:
    def refuse(device: torch.device) -> None:
        raise DeviceError("compiling")

    monkeypatch.setattr(runtime, "check_compiler", refuse)
    (tmp_path / "recipe.toml").write_text("compile = true\n", encoding="utf-8")
    arguments = ["train", tmp_path, "--out", tmp_path / "run", "--device", "cpu", "--recipe", tmp_path / "recipe.toml"]
    assert "compiling" in fit(*arguments).stderr
    assert "compiling" not in fit(*arguments, "--no-compile").stderr


@pytest.mark.slow
def test_training_and_classifying(dataset: Path, tmp_path: Path, fit: Fit) -> None:
    """Train and classify with the compiler of this machine; the run resumes without it."""
    arguments = ["--out", tmp_path / "run", "--preset", "debug", "--size", "64", "--ema", "0.9"]
    first = fit("train", dataset, *arguments, "--steps", "2", "--compile")
    assert first.exit_code == 0, first.stderr
    assert counters["stats"]["unique_graphs"] > 0
    again = fit("train", dataset, "--out", tmp_path / "run", "--resume", "--steps", "3")
    assert again.exit_code == 0, again.stderr
    predictions = []
    for options in ([], ["--compile"]):
        result = fit("classify", dataset / "red" / "*", "--checkpoint", tmp_path / "run", "--json", *options)
        assert result.exit_code == 0, result.stderr
        predictions.append([one["predictions"] for one in json.loads(result.stdout)])
    for eager, compiled in zip(*predictions, strict=True):
        assert [each["label"] for each in eager] == [each["label"] for each in compiled]
        assert all(abs(a["probability"] - b["probability"]) < 1e-2 for a, b in zip(eager, compiled, strict=True))


@pytest.mark.slow
def test_without_a_compiler(trained: Path, dataset: Path, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    result = fit("classify", dataset / "red" / "*", "--checkpoint", trained, "--compile")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: --compile: PyTorch cannot compile here (")
    assert "Traceback" not in result.stderr
