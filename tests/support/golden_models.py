"""Compute the golden cases of whole models from the configurations and weights of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from support.golden_case import Case, fold, groups_of, unfold
from support.golden_functions import image_targets
from torch import Tensor

from fitcli.patches.levels import quantize
from fitcli.tasks.autoregressive.next_token import next_token_loss
from fitcli.tasks.autoregressive.sequences import shift_right
from models.build import build
from models.config import DecoderConfig, DenoiserConfig, EncoderConfig
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser


def run_encoder(case: Case) -> dict[str, Any]:
    x, y = case.inputs["x"], case.inputs.get("y")
    side_values = None if y is None else y.shape[-1]
    config = EncoderConfig(**trunk_settings(case.config), patch=1, channels=x.shape[-1], side_values=side_values)
    model = build(config, seed=None)
    model.load_state_dict(import_weights(case.weights, ENCODER_NAMES))
    features = model(fold(x), groups_of(x), None if y is None else fold(y))
    return {"x": unfold(features.tokens, len(x)), "latents": unfold(features.latents, len(x))}


def run_denoiser(case: Case) -> dict[str, Any]:
    x, cond = case.inputs["x"], case.inputs["cond"]
    time, previous = case.inputs["time"], case.inputs.get("latents_prev")
    features = 0 if time.ndim == 1 else time.shape[1] - 1
    model = build_denoiser(case.config, case.weights, x.shape[-1], cond.shape[-1], features)
    cond = cond[:, None] if cond.ndim == 2 else cond
    out = model(fold(x), groups_of(x), time, cond, None if previous is None else fold(previous))
    return {"x": unfold(out.tokens, len(x)), "latents": unfold(out.latents, len(x))}


def run_decoder(case: Case) -> dict[str, Any]:
    ids = case.inputs["tokens"]
    model = build_decoder(case.config, case.weights)
    return {"logits": unfold(model(fold(ids).long(), groups_of(ids)), len(ids))}


def run_image_model(case: Case) -> dict[str, Any]:
    config = case.config
    levels = quantize(case.inputs["images"].numpy())
    targets = image_targets(levels, config["patch_size"], config["patch_ordering"])
    shifted = torch.stack([shift_right(target) for target in targets])
    logits = unfold(build_decoder(config["ar"], case.weights)(fold(shifted), groups_of(shifted)), len(shifted))
    _, _, smoothing = config["loss_type"].partition("@")
    loss = next_token_loss(logits, targets, float(smoothing or 0))
    return {"input_seq": shifted.int(), "target_seq": targets.int(), "logits": logits, "loss": loss}


def build_denoiser(
    settings: Mapping[str, Any], weights: Mapping[str, Tensor], values: int, condition_width: int, features: int = 0
) -> FITDenoiser:
    """Build the denoiser of a case with its weights."""
    config = DenoiserConfig(
        **trunk_settings(settings),
        values=values,
        out_values=settings["out_dim"],
        condition_width=condition_width if settings.get("cond_proj", True) else None,
        time_features=features,
        self_condition=settings.get("self_cond", "none") == "latent",
    )
    model = build(config, seed=None)
    model.load_state_dict(import_weights(weights, DENOISER_NAMES))
    return model


def build_decoder(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> FITDecoder:
    """Build the decoder of a case with its weights."""
    config = DecoderConfig(
        **trunk_settings(settings) | {"causal": "tokens"},
        vocabulary=settings["vocab_size"],
        shared_embedding=settings.get("shared_embedding", True),
        output_bias=settings.get("output_bias", True),
    )
    model = build(config, seed=None)
    model.load_state_dict(import_weights(weights, DECODER_NAMES))
    return model


def trunk_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the constructor arguments of the reference into settings of the trunk."""
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

TRUNK_NAMES = {
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
ENCODER_NAMES = TRUNK_NAMES | {
    "x_pos_emb": "embed.positions.table",
    "stem": "embed.stem.project",
    "stem_ln": "embed.stem.norm",
    "stem_y": "embed.side_stem.project",
    "stem_y_ln": "embed.side_stem.norm",
}
DENOISER_NAMES = TRUNK_NAMES | {
    "stem": "stem.project",
    "stem_ln": "stem.norm",
    "time_emb/dense_0": "time.up",
    "time_emb/dense_1": "time.out",
    "cond_proj": "condition",
    "latent_prev_proj": "self_condition.project",
    "latent_prev_ln": "self_condition.norm",
    "x_output_linear": "out",
}
DECODER_NAMES = TRUNK_NAMES | {
    "token_embedding": "embedding.weight",
    "inp_token_embedding": "embedding.weight",
    "outp_token_embedding": "out_embedding.weight",
    "outp_bias": "bias",
}
PART_NAMES = {
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
    """Rename, reshape and fuse the weights of the reference into a state dict of this project.

    Raises:
        KeyError: A weight has an unknown name.
    """
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
            return ".".join([target, *(PART_NAMES.get(part, part) for part in rest)])
    raise KeyError(f"unknown weight {path}")


def _to_linear(path: str, tensor: Tensor) -> Tensor:
    """Reshape kernels [in, out], [in, h, e] and [h, e, out] to [out, in], and biases [h, e] to [out]."""
    if path.endswith("output/kernel"):
        return rearrange(tensor, "h e out -> out (h e)")
    if path.endswith("/kernel"):
        return tensor.reshape(tensor.shape[0], -1).T.contiguous()
    return tensor.flatten() if path.endswith("/bias") else tensor
