"""Compute the golden cases of position codes, masks, layer strings and image tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from support.golden_case import Case
from torch import Tensor

from fitcli.patches.cutting import cut, join
from fitcli.patches.group_order import Order, permutation, whole_patches
from fitcli.patches.levels import quantize
from fitcli.tasks.autoregressive.sequences import shift_right, to_sequence
from models.checks import ConfigError
from models.layer_plan import parse_plan
from models.masks import causal_mask, group_causal_mask, local_causal_mask
from models.positions import sincos, sincos_grid, spread

ORDERS: dict[str, Order] = {"default": "raster", "snake": "snake"}


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


def layer_string(string: str) -> dict[str, Any]:
    """Return the layer plan that a string describes, or the error."""
    try:
        parsed = parse_plan(string)
    except ConfigError as error:
        return {"string": string, "accepted": False, "error": type(error).__name__}
    return {"string": string, "accepted": True, "parsed": [list(segment) for segment in parsed]}


def run_patches(case: Case) -> dict[str, Any]:
    height, width = case.config["patch_size"]
    ordering = case.config["patch_ordering"]
    images = [whole_patches(image, (height, width)) for image in case.inputs["images"].numpy()]
    rows, columns = images[0].shape[0] // height, images[0].shape[1] // width
    tokens = [cut(image, (height, width), (1, 1))[permutation(rows, columns, ORDERS[ordering]), 0] for image in images]
    outputs: dict[str, Any] = {"tokens": torch.stack(tokens)}
    # The reference can only join square patches, and only if no part of the image was cut off.
    if ordering == "default" and height == width > 1 and images[0].shape == case.inputs["images"].shape[1:]:
        outputs["tokens2images"] = np.stack([join(t[:, None], (height, width), (1, 1), columns) for t in tokens])
    return outputs


def run_subimages(case: Case) -> dict[str, Any]:
    images = case.inputs["images"].numpy()
    size, patch = case.config["sub_image_size"], case.config["patch_size"]
    tokens = subimage_tokens(images, size, patch)
    return {"tokens": tokens, "roundtrip_images": subimage_pixels(tokens, size, patch, images.shape[2])}


def subimage_tokens(images: NDArray[Any], size: list[int], patch: list[int]) -> Tensor:
    """Cut images [b height width channels] into tokens [b g n p]; the sub-images of `size` pixels are the groups."""
    group = (size[0] // patch[0], size[1] // patch[1])
    return torch.stack([cut(image, (patch[0], patch[1]), group) for image in images])


def subimage_pixels(tokens: Tensor, size: list[int], patch: list[int], width: int) -> NDArray[Any]:
    """Join tokens into images `width` pixels wide; the inverse of `subimage_tokens`."""
    group = (size[0] // patch[0], size[1] // patch[1])
    return np.stack([join(groups, (patch[0], patch[1]), group, width // size[1]) for groups in tokens])


def run_sequences(case: Case) -> dict[str, Any]:
    images = quantize(case.inputs["images"].numpy())
    if case.config["arch_name"] == "base":
        targets = torch.stack([to_sequence(image, (1, 1)).flatten() for image in images])
    else:
        targets = image_targets(images, case.config["patch_size"], case.config["patch_ordering"])
    return {"input_seq": torch.stack([shift_right(target) for target in targets]).int(), "target_seq": targets.int()}


def image_targets(images: NDArray[Any], patch: int, ordering: str) -> Tensor:
    """Turn images of levels [b height width channels] into target sequences [b g n]."""
    size, order = (patch, patch), ORDERS[ordering]
    return torch.stack([to_sequence(whole_patches(image, size), size, order) for image in images])
