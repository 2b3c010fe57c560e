"""Decides what a run can take from another one that it starts from: all weights, or all but those of stem or head."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fitcli.errors import CheckpointError, FitError
from fitcli.runs.config import RunConfig
from models.config import ClassifierConfig, EncoderConfig

STEM = "encoder.embed.stem."
"""Prefix of the names of the weights of the stem, in models with an encoder."""

HEAD = "head."
"""Prefix of the names of the weights of the output head."""

SIZES = ("token_width", "latent_width", "latents", "token_heads", "latent_heads", "mlp_ratio")
"""Settings of a model that the weights of its layers depend on."""


def check_start(folder: Path, before: RunConfig, config: RunConfig, chosen: Collection[str] = ()) -> tuple[str, ...]:
    """Return lines on the weights that a run does not take from another one.

    Args:
        folder: Folder of the other run.
        before, config: Config of the other run, and of the new one.
        chosen: Names of the options of the model that the user gave.

    Raises:
        CheckpointError: The models have layers of other sizes, so that nothing can be taken, or models of one task
            have other plans.
        FitError: An option would change nothing, because the weights that it is about are taken.
    """
    own, other = config.model, before.model
    different = [name for name in SIZES if getattr(own, name) != getattr(other, name)]
    if different:
        there, here = (", ".join(f"{name} {getattr(model, name)}" for name in different) for model in (other, own))
        raise CheckpointError(
            f"--start-from {folder}: is of another architecture ({there}; this run has {here}); give the same "
            "--preset and the same options of the model: layers of other sizes cannot be taken"
        )
    if before.task == config.task and own.plan != other.plan:
        raise CheckpointError(
            f'--start-from {folder}: has the plan {other.plan}, this run {own.plan}; give --plan "{other.plan}"'
        )
    notes = []
    if has_other_stem(before, config):
        inputs = f"it is for {_input(other)}, this run has {_input(own)}"
        notes.append(f"--start-from {folder}: the stem begins anew, because {inputs}")
    if has_other_head(before, config):
        notes.append(f"--start-from {folder}: the output head begins anew, because it is another one")
    elif before.task != config.task or (before.classes, before.targets) != (config.classes, config.targets):
        notes.append(f"--start-from {folder}: the weights of the classes begin anew")
    notes += _about_layers(folder, before, config, chosen)
    trained, own_patch = before.preprocessing.trained_patch, config.preprocessing.trained_patch
    if trained is not None and own_patch is not None and trained.contradicts(own_patch):
        notes.append(
            f"--start-from {folder}: it learned from features of patches of {trained}, these are of {own_patch}"
        )
    return tuple(notes)


def _about_layers(folder: Path, before: RunConfig, config: RunConfig, chosen: Collection[str]) -> list[str]:
    """Return lines on what chosen options of the layers still do, if most weights come from another run."""
    own, other = config.model, before.model
    notes = []
    if "plan" in chosen and own.plan != other.plan:
        notes.append(f"--start-from {folder}: layers that its plan {other.plan} does not have begin anew")
    if "attention_start" in chosen and own.attention_start != other.attention_start:
        if own.plan == other.plan and not has_other_head(before, config):
            raise FitError(
                f"--attention-start {own.attention_start}: the weights of attention are those of --start-from "
                f"{folder}, which began with {other.attention_start}; leave it out"
            )
        notes.append(f"--start-from {folder}: --attention-start {own.attention_start} holds for what begins anew alone")
    return notes


def has_other_stem(before: RunConfig, config: RunConfig) -> bool:
    """Return whether two models with an encoder have stems that cannot take each other's weights."""
    own, other = config.model, before.model
    if not isinstance(own, EncoderConfig) or not isinstance(other, EncoderConfig):
        return False
    return (own.stem, own.patch, own.channels) != (other.stem, other.patch, other.channels)


def has_other_head(before: RunConfig, config: RunConfig) -> bool:
    """Return whether two classifiers have heads that cannot take each other's weights: the names of those for the
    classes are known of the usual head alone.
    """
    own, other = config.model, before.model
    if not isinstance(own, ClassifierConfig) or not isinstance(other, ClassifierConfig):
        return False
    same_classes = (before.classes, before.targets) == (config.classes, config.targets)
    return own.output_head != other.output_head or (own.has_added_part and not same_classes)


def _input(model: object) -> str:
    """Return what the stem of a model takes, as text."""
    assert isinstance(model, EncoderConfig)
    values = f"{model.channels} {'value' if model.channels == 1 else 'values'} per pixel"
    return f"{model.stem} patches of {model.patch} x {model.patch} pixels with {values}"
