"""Reference data of the published FIT: compute a case with this project's public code, and the table of errors.

`run_case(path)` reads only `config`, `w/...` and `in/...` of a case. As a script it prints the largest absolute error
of every case in a folder:  python tests/golden.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from models.build import build
from models.config import ConfigError, DecoderConfig, DenoiserConfig, EncoderConfig, parse_plan
from models.groups import Groups
from models.masks import causal_mask, group_causal_mask, local_causal_mask
from models.positions import sincos, sincos_grid, spread

Arrays = dict[str, NDArray[Any]]
"""Outputs of a case, under their names without `out/`."""


class Case:
    """Inputs, weights and configuration of one golden file; its outputs are never looked at."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.config: dict[str, Any] = json.loads(str(file["config"]))
            self.weights = {k[2:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("w/")}
            self.inputs = {k[3:]: torch.from_numpy(file[k]) for k in file.files if k.startswith("in/")}


def run_case(path: str | Path) -> Arrays | list[dict[str, Any]]:
    """Compute what a golden file describes.

    Returns:
        Every array of the file under `out/`, by its name without `out/`; for `layer_strings.json` a list of
        `{string, accepted, parsed | error}`.
    """
    path = Path(path)
    if path.name.startswith("layer_strings"):
        return [_layer_string(entry["string"]) for entry in json.loads(path.read_text())]
    case = Case(path)
    with torch.inference_mode():
        outputs = _runner(case.config)(case)
    return {name: np.asarray(value) for name, value in outputs.items()}


def _runner(config: Mapping[str, Any]) -> Callable[[Case], Mapping[str, Any]]:
    by_class: dict[str, Callable[[Case], Mapping[str, Any]]] = {
        "FIT": run_encoder,
        "FITDenoiser": run_denoiser,
        "FITAR": run_decoder,
    }
    by_function: dict[str, Callable[[Case], Mapping[str, Any]]] = {
        "sin_cos position codes": run_positions,
        "attention masks, 1=may attend": run_masks,
    }
    if "cls" in config:
        return by_class[config["cls"]]
    return by_function[config["function"]]


# Models ---------------------------------------------------------------------------------------------------------------


def run_encoder(case: Case) -> dict[str, Any]:
    x, y = case.inputs["x"], case.inputs.get("y")
    side_values = None if y is None else y.shape[-1]
    config = EncoderConfig(**trunk_settings(case.config), patch=1, channels=x.shape[-1], side_values=side_values)
    model = build(config, seed=None)
    model.load_state_dict(import_weights(case.weights, _ENCODER_NAMES))
    features = model(_fold(x), _groups(x), None if y is None else _fold(y))
    return {"x": _unfold(features.tokens, x), "latents": _unfold(features.latents, x)}


def run_denoiser(case: Case) -> dict[str, Any]:
    x, cond = case.inputs["x"], case.inputs["cond"]
    time, previous = case.inputs["time"], case.inputs.get("latents_prev")
    features = 0 if time.ndim == 1 else time.shape[1] - 1
    model = build_denoiser(case.config, case.weights, x.shape[-1], cond.shape[-1], features)
    cond = cond[:, None] if cond.ndim == 2 else cond
    out = model(_fold(x), _groups(x), time, cond, None if previous is None else _fold(previous))
    return {"x": _unfold(out.tokens, x), "latents": _unfold(out.latents, x)}


def run_decoder(case: Case) -> dict[str, Any]:
    ids = case.inputs["tokens"]
    model = build_decoder(case.config, case.weights)
    return {"logits": _unfold(model(_fold(ids).long(), _groups(ids)), ids)}


def build_denoiser(
    settings: Mapping[str, Any], weights: Mapping[str, Tensor], values: int, condition_width: int, features: int = 0
) -> Any:
    """The denoiser of a case, with its weights."""
    config = DenoiserConfig(
        **trunk_settings(settings),
        values=values,
        out_values=settings["out_dim"],
        condition_width=condition_width if settings.get("cond_proj", True) else None,
        time_features=features,
        self_condition=settings.get("self_cond", "none") == "latent",
    )
    model = build(config, seed=None)
    model.load_state_dict(import_weights(weights, _DENOISER_NAMES))
    return model


def build_decoder(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """The autoregressive decoder of a case, with its weights."""
    config = DecoderConfig(
        **trunk_settings(settings) | {"causal": "tokens"},
        vocabulary=settings["vocab_size"],
        shared_embedding=settings.get("shared_embedding", True),
        output_bias=settings.get("output_bias", True),
    )
    model = build(config, seed=None)
    model.load_state_dict(import_weights(weights, _DECODER_NAMES))
    return model


def trunk_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the trunk from the constructor arguments of the reference."""
    kinds = {"learned": "learned", "sin_cos": "sincos", "sin_cos2d": "sincos2d"}
    return {
        "plan": config["layers"],
        "tokens": config["x_size"] // config["num_groups"],
        "latents": config["latents_per_group"],
        "token_width": config["x_dim"],
        "latent_width": config["latent_dim"],
        "token_heads": config["x_num_heads"],
        "latent_heads": config["latent_num_heads"],
        "mlp_ratio": config.get("mlp_ratio", 4),
        "token_positions": kinds[config.get("x_pos_encoding", "learned")],
        "latent_positions": kinds[config.get("latent_pos_encoding", "learned")],
        "groups": config["num_groups"],
        "causal": "groups" if config.get("mask", "none") == "causal" else "none",
        "local_attention": config.get("x_self_attention", True),
        "cross_mlp": config.get("xattn_with_mlp", False),
        "cross_norm": config.get("xattn_enc_ln", True),
    }


# Weights --------------------------------------------------------------------------------------------------------------

_TRUNK_NAMES = {
    "x_pos_emb": "positions.table",
    "latent_pos_emb": "start.table",
    "x_output_ln": "token_norm",
    "l_output_ln": "latent_norm",
    "x_network": "trunk.segments.{}.local",
    "l2x_cross_attn": "trunk.segments.{}.read",
    "l2c_cross_attn": "trunk.segments.{}.mix.condition",
    "l_network": "trunk.segments.{}.mix.stack",
    "x2l_cross_attn": "trunk.segments.{}.write",
}
_ENCODER_NAMES = _TRUNK_NAMES | {
    "x_pos_emb": "embed.positions.table",
    "stem": "embed.stem.project",
    "stem_ln": "embed.stem.norm",
    "stem_y": "embed.side_stem.project",
    "stem_y_ln": "embed.side_stem.norm",
}
_DENOISER_NAMES = _TRUNK_NAMES | {
    "stem": "stem.project",
    "stem_ln": "stem.norm",
    "time_emb/dense_0": "time.up",
    "time_emb/dense_1": "time.out",
    "cond_proj": "condition",
    "latent_prev_proj": "self_condition.project",
    "latent_prev_ln": "self_condition.norm",
    "x_output_linear": "out",
}
_DECODER_NAMES = _TRUNK_NAMES | {
    "token_embedding": "embedding.weight",
    "inp_token_embedding": "embedding.weight",
    "outp_token_embedding": "out_embedding.weight",
    "outp_bias": "bias",
}
_PART_NAMES = {
    "mha_ln": "norm",
    "cross_ln": "norm",
    "enc_ln": "source_norm",
    "mha": "attention",
    "cross_mha": "attention",
    "mlp": "feed_forward",
    "ln": "norm",
    "dense1": "up",
    "dense2": "down",
    "output": "out",
    "gamma": "weight",
    "kernel": "weight",
    "beta": "bias",
}


def import_weights(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename and reshape the weights of the reference; separate projections become fused ones."""
    renamed = {_rename(path, names): _to_linear(path, tensor) for path, tensor in weights.items()}
    for name in [name for name in renamed if ".attention.query." in name]:
        if ".local." in name or ".stack." in name:
            _fuse(renamed, name.replace(".query.", ".{}."), ("query", "key", "value"), "query_key_value")
        else:
            _fuse(renamed, name.replace(".query.", ".{}."), ("key", "value"), "key_value")
    return renamed


def _fuse(weights: dict[str, Tensor], pattern: str, parts: tuple[str, ...], fused: str) -> None:
    weights[pattern.format(fused)] = torch.cat([weights.pop(pattern.format(part)) for part in parts])


def _rename(path: str, names: Mapping[str, str]) -> str:
    for prefix in sorted(names, key=len, reverse=True):
        if path == prefix or path.startswith(prefix + "/"):
            rest = [part for part in path[len(prefix) :].split("/") if part]
            target = names[prefix].format(rest.pop(0)) if "{}" in names[prefix] else names[prefix]
            return ".".join([target, *(_PART_NAMES.get(part, part) for part in rest)])
    raise KeyError(f"unknown weight {path}")


def _to_linear(path: str, tensor: Tensor) -> Tensor:
    """Kernels [in, out], [in, h, e] and [h, e, out] become [out, in]; attention biases [h, e] become [out]."""
    if path.endswith("output/kernel"):
        return rearrange(tensor, "h e out -> out (h e)")
    if path.endswith("/kernel"):
        return tensor.reshape(tensor.shape[0], -1).T.contiguous()
    return tensor.flatten() if path.endswith("/bias") else tensor


# Functions ------------------------------------------------------------------------------------------------------------


def run_positions(case: Case) -> dict[str, Any]:
    return {str(i): _position_code(sub)[None] for i, sub in enumerate(case.config["subcases"])}


def _position_code(sub: Mapping[str, Any]) -> Tensor:
    maximum = sub["normalization_max"]
    if sub["kind"] == "1d":
        return sincos(spread(sub["seqlen"], maximum), sub["dim"])
    return sincos_grid(sub["height"], sub["width"], sub["dim"], maximum, torch.device("cpu"))


def run_masks(case: Case) -> dict[str, Any]:
    kinds: dict[str, Callable[[int, int], Tensor]] = {
        "ar": lambda count, _: causal_mask(count),
        "chunk": group_causal_mask,
        "local": local_causal_mask,
    }
    subcases = enumerate(case.config["subcases"])
    return {str(i): kinds[sub["kind"]](sub["seq_len"], sub["chunk_size"]).float() for i, sub in subcases}


def _layer_string(string: str) -> dict[str, Any]:
    try:
        parsed = parse_plan(string)
    except ConfigError as error:
        return {"string": string, "accepted": False, "error": type(error).__name__}
    return {"string": string, "accepted": True, "parsed": [list(segment) for segment in parsed]}


# Between [b g ...] of the reference and the list of groups ------------------------------------------------------------


def _fold(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


def _unfold(x: Tensor, like: Tensor) -> Tensor:
    return x.reshape(*like.shape[:2], *x.shape[1:])


def _groups(x: Tensor) -> Groups:
    return Groups.of_grid(images=x.shape[0], rows=1, columns=x.shape[1])


# The table of errors --------------------------------------------------------------------------------------------------


def errors(path: Path) -> dict[str, float]:
    """Largest absolute difference of each output of a case to the reference."""
    computed = run_case(path)
    assert isinstance(computed, dict)
    with np.load(path, allow_pickle=False) as file:
        expected = {k[4:]: file[k] for k in file.files if k.startswith("out/")}
    if set(expected) != set(computed):
        raise AssertionError(f"{path.name}: computed {sorted(computed)}, expected {sorted(expected)}")
    return {name: _distance(computed[name], value) for name, value in expected.items()}


def _distance(computed: NDArray[Any], expected: NDArray[Any]) -> float:
    if computed.shape != expected.shape:
        raise AssertionError(f"computed {computed.shape}, expected {expected.shape}")
    return float(np.abs(computed.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def main(folder: str) -> None:
    for path in sorted(Path(folder).glob("*.npz")):
        worst = max(errors(path).items(), key=lambda item: item[1])
        print(f"{path.stem:40} {worst[1]:9.2e}  {worst[0]}")


if __name__ == "__main__":
    main(sys.argv[1])
