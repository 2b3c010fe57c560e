"""Test that configs refuse impossible models with their numbers, and that the others survive JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from support.batches import CONFIGS, classifier_config, decoder_config, denoiser_config, encoder_config

from models.checks import ConfigError
from models.config import JSON_KEYS, ClassifierConfig, DecoderConfig, EncoderConfig, TrunkConfig


@pytest.mark.parametrize(
    ("make", "changes", "words"),
    [
        (encoder_config, {"plan": "(1)0(1)1"}, ["(1)0(1)1", "segment 0"]),
        (encoder_config, {"tokens": 0}, ["tokens", "0"]),
        (encoder_config, {"latents": -1}, ["latents", "-1"]),
        (encoder_config, {"mlp_ratio": 0}, ["mlp_ratio", "0"]),
        (encoder_config, {"token_heads": 17}, ["token_heads 17", "token_width 16"]),
        (encoder_config, {"latent_heads": 25}, ["latent_heads 25", "latent_width 24"]),
        (encoder_config, {"causal": "sideways"}, ["causal", "'sideways'"]),
        (encoder_config, {"causal": "tokens"}, ["encoder", "'groups'"]),
        (encoder_config, {"token_positions": "sin_cos"}, ["token_positions", "'sin_cos'"]),
        (encoder_config, {"latent_positions": "sincos2d"}, ["latent_positions", "'sincos2d'"]),
        (encoder_config, {"tokens": 6}, ["square", "6"]),
        (encoder_config, {"token_width": 17}, ["token_width", "even", "17"]),
        (encoder_config, {"latent_width": 25}, ["latent_width", "even", "25"]),
        (encoder_config, {"latent_positions": "learned"}, ["'learned'", "number of groups"]),
        (encoder_config, {"latent_positions": "learned", "groups": 0}, ["groups", "0"]),
        (encoder_config, {"latent_positions": "sincos", "groups": 3, "latent_width": 25}, ["latent_width", "25"]),
        (encoder_config, {"patch": 0}, ["patch", "0"]),
        (encoder_config, {"channels": 0}, ["channels", "0"]),
        (encoder_config, {"stem": "fancy"}, ["stem", "'fancy'"]),
        (encoder_config, {"stem": "conv", "patch": 6}, ["6", "multiple of 4"]),
        (encoder_config, {"side_values": 0}, ["side_values", "0"]),
        (classifier_config, {"classes": 0}, ["classes", "0"]),
        (classifier_config, {"pool_heads": 5}, ["pool_heads 5", "latent_width 24"]),
        (classifier_config, {"plan": "(1)1(1)"}, ["(1)1(1)", "global"]),
        (denoiser_config, {"values": 0}, ["values", "0"]),
        (denoiser_config, {"out_values": 0}, ["out_values", "0"]),
        (denoiser_config, {"time_features": -2}, ["time_features", "-2"]),
        (denoiser_config, {"causal": "tokens"}, ["denoiser", "'groups'"]),
        (denoiser_config, {"latent_width": 4, "condition_width": None}, ["latent_width 4", "8"]),
        (denoiser_config, {"condition_width": 0}, ["condition_width", "0"]),
        (denoiser_config, {"latent_width": 26}, ["latent_width 26", "multiple of 4"]),
        (denoiser_config, {"output_patch": 1}, ["1 pixel", "2 or more"]),
        (denoiser_config, {"output_patch": 5}, ["out_values 12", "5 x 5"]),
        (denoiser_config, {"output_patch": 2, "tokens": 6, "token_positions": "learned"}, ["square group", "6 tokens"]),
        (decoder_config, {"vocabulary": 0}, ["vocabulary", "0"]),
        (decoder_config, {"causal": "none"}, ["causal", "'none'"]),
    ],
)
def test_what_cannot_exist_is_refused_with_its_numbers(make: Any, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        make(**changes)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_survive_json(name: str) -> None:
    config = CONFIGS[name]
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_every_wrong_type_is_refused_by_name(name: str) -> None:
    config = CONFIGS[name]
    good = config.to_dict()
    for field in fields(config):
        key = JSON_KEYS.get(field.name, field.name)
        for wrong in ([1], 1.5, {"a": 1}, True, "7", None):
            annotation = str(field.type)
            fits = (
                (wrong is None and "None" in annotation)
                or (wrong is True and annotation == "bool")
                or (wrong == "7" and not annotation.startswith(("int", "bool")))
            )
            if not fits:
                with pytest.raises(ConfigError, match=f"{key}|{field.name}"):
                    type(config).from_dict(good | {key: wrong})


def test_unknown_and_missing_settings_are_named() -> None:
    good = encoder_config().to_dict()
    with pytest.raises(ConfigError, match="dropout, window"):
        EncoderConfig.from_dict(good | {"window": 1, "dropout": 0})
    del good["latents"]
    with pytest.raises(ConfigError, match="latents"):
        EncoderConfig.from_dict(good)


def test_json_leaves_out_what_earlier_versions_did_not_have() -> None:
    """The keys of shipped tables of memory come from it, so those of older models stay the same."""
    assert "output_patch" not in denoiser_config().to_dict()
    assert denoiser_config(output_patch=2).to_dict()["output_patch"] == 2


def test_json_keeps_the_keys_of_earlier_versions() -> None:
    config = CONFIGS["classifier of two targets"]
    document = json.loads(json.dumps(config.to_dict()))
    assert list(document)[-3:] == ["classes", "pool_heads", "tasks"]
    assert document["tasks"] == [3, 2]
    assert ClassifierConfig.from_dict(document).targets == (3, 2)
    with pytest.raises(ConfigError, match="unknown settings of ClassifierConfig: targets"):
        ClassifierConfig.from_dict(document | {"targets": [3, 2]})


def test_configs_are_values() -> None:
    config = encoder_config()
    assert hash(config) == hash(encoder_config())
    with pytest.raises(FrozenInstanceError):
        config.tokens = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        TrunkConfig("(1)1")  # type: ignore[call-arg, misc]


def test_derived_sizes() -> None:
    config = encoder_config(token_width=18, token_heads=4, latent_width=26, latent_heads=3)
    assert (config.cross_heads, config.cross_head_width) == (3, 6)
    assert (config.group, config.values) == (2, 12)
    assert denoiser_config(latent_width=26, condition_width=None).time_width == 24
    with pytest.raises(ConfigError, match="6 tokens"):
        _ = encoder_config(tokens=6, token_positions="sincos").group
    assert isinstance(decoder_config(), DecoderConfig)
