"""Compute the golden cases of diffusion: schedules, parameterization, steps, trajectories, the training loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from support.golden_case import Case, fold, groups_of, unfold
from support.golden_functions import subimage_pixels, subimage_tokens
from support.golden_models import build_denoiser
from torch import Tensor

from fitcli.tasks.diffusion.in_memory import Trace, generate
from fitcli.tasks.diffusion.loss import DiffusionBatch, DiffusionLoss
from fitcli.tasks.diffusion.parameterization import PredictionKind, add_noise, interpret, to_data, to_values
from fitcli.tasks.diffusion.samplers import STEPS, find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule

TRACES = {
    "gamma_now": "gamma_now",
    "gamma_prev": "gamma_next",
    "pred_cond": "output",
    "pred_uncond": "unconditional",
    "latents": "latents",
    "data_pred": "data",
    "noise_pred": "noise",
    "samples": "samples",
}
"""Attributes of `Trace` by the name of the trace in a golden file."""


def run_schedules(case: Case) -> dict[str, Any]:
    return {"gamma": torch.stack([parse_schedule(name)(case.inputs["t"]) for name in case.config["schedules"]])}


def run_add_noise(case: Case) -> dict[str, Any]:
    inputs = case.inputs["inputs"]
    time = case.inputs["time_step"].reshape(-1, *[1] * (inputs.ndim - 1))
    gamma = parse_schedule(case.config["schedule"])(time)
    return {"inputs_noised": add_noise(inputs, case.inputs["noise"], gamma), "gamma": gamma, "time_step": time}


def run_interpret(case: Case) -> dict[str, Any]:
    output, noisy, gamma = (case.inputs[name] for name in ("denoise_out", "xt", "gamma"))
    outputs: dict[str, Any] = {}
    for i, sub in enumerate(case.config["subcases"]):
        estimate = interpret(
            output, noisy, gamma, _prediction(sub["pred_type"]), _clip(sub["x0_clip"]), sub["truncate_noise"]
        )
        outputs |= {f"{i}/data_pred": estimate.data, f"{i}/noise_pred": estimate.noise}
    return outputs


def run_step(case: Case) -> dict[str, Any]:
    return {str(i): _step(sub["sampler_name"], case.inputs) for i, sub in enumerate(case.config["subcases"])}


def _step(name: str, inputs: Mapping[str, Tensor]) -> Tensor:
    # For an unknown sampler the reference silently returns its input; this project raises ConfigError.
    if name not in STEPS:
        return inputs["samples"]
    names = ("samples", "data_pred", "noise_pred", "gamma_now", "gamma_prev", "noise")
    return find_step(name)(*(inputs[name] for name in names))


def run_generate(case: Case) -> dict[str, Any]:
    config = case.config
    initial, labels, z = case.inputs["noise_init"], case.inputs["labels"], case.inputs.get("noise_steps")
    sampling = Sampling(
        steps=config["iterations"],
        schedule=parse_schedule(config["schedule"]),
        sampler=find_step(config["sampler_name"]),
        prediction=_prediction(config["pred_type"]),
        clip=_clip(config["x0_clip"]),
        guidance=config["guidance"],
        decay=config["self_cond_decay"],
        time_difference=config["td"],
        normalize=config["normalize_noisy_input"],
    )
    traces: list[Trace] = []
    tokens = generate(
        build_denoiser(config["denoiser"], case.weights, initial.shape[-1], labels.shape[-1]),
        sampling,
        groups_of(initial),
        fold(initial),
        labels[:, None],
        None if z is None else lambda k: fold(z[k]),
        traces.append,
    )
    tokens = unfold(tokens, len(initial))
    side, patch = [config["sub_image_size"]] * 2, [config["patch_size"]] * 2
    images = subimage_pixels(to_values(tokens, config["b_scale"]), side, patch, config["image_size"])
    return {"samples_tokens": tokens, "images": images} | _stack_traces(traces, config["trace_steps"], len(initial))


def _stack_traces(traces: list[Trace], steps: list[int], images: int) -> dict[str, Tensor]:
    stacked = {}
    for name, attribute in TRACES.items():
        values = [getattr(traces[k], attribute) for k in steps]
        if values[0] is not None:
            stacked[f"trace/{name}"] = torch.stack([unfold(v, images) if v.ndim else v for v in values])
    return stacked


def run_train_loss(case: Case) -> dict[str, Any]:
    config, inputs = case.config, case.inputs
    patch = [config["patch_size"]] * 2
    tokens = subimage_tokens(inputs["images"].numpy(), [config["sub_image_size"]] * 2, patch)
    data = to_data(tokens, config["b_scale"])
    objective = DiffusionLoss(
        schedule=parse_schedule(config["train_schedule"]),
        prediction=_prediction(config["pred_type"]),
        loss=config["loss_type"],
        clip=_clip(config["x0_clip"]),
        scale=config["b_scale"],
        self_condition_rate=config["self_cond_rate"],
        by_masking=config["self_cond_by_masking"],
        normalize=config["normalize_noisy_input"],
    )
    labels, noise, keep = inputs["labels"], inputs["noise"], inputs.get("self_cond_uniform")
    batch = DiffusionBatch(fold(data), groups_of(data), fold(noise), inputs["time_step"], labels[:, None], keep)
    loss, details = objective(build_denoiser(config["denoiser"], case.weights, data.shape[-1], labels.shape[-1]), batch)
    return {
        "tokens_scaled": data,
        "tokens_noised": unfold(details.noisy, len(data)),
        "data_pred": unfold(details.data, len(data)),
        "noise_pred": unfold(details.noise, len(data)),
        "loss": loss,
    }


def _prediction(name: str) -> PredictionKind:
    """Return the name in this project: the reference looks only at the first letter of names other than `eps`."""
    return cast(PredictionKind, name if name == "eps" else name[0])


def _clip(limits: str) -> tuple[float, float] | None:
    if not limits:
        return None
    low, high = limits.split(",")
    return float(low), float(high)
