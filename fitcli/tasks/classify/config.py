"""The part of config.json that belongs to classifiers: their targets. Never imports torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails, with_tuples
from fitcli.runs.targets import Target
from fitcli.tasks.classify.thresholds import Thresholds
from models.config import ClassifierConfig
from models.sharpening import PLAIN, Sharpening

TARGETS = "tasks"
"""Key in config.json: earlier versions called a target a task."""

MOST_FACTORS, LARGEST_FACTOR = 100, 100
"""Limits of a sharpening. A file beyond them is forged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyDetails(TaskDetails):
    """Details of a classifier.

    Attributes:
        all_targets: All targets, if there are several or one is multi-label; else empty.
        thresholds: Probability from which on a class holds, by target and class, chosen on the validation images of the
            weights; empty before a validation, and in runs of earlier versions.
        sharpening: Factor of the pooling scores by the number of latents, measured on the validation images of the
            weights; the scores as they are before a validation, and in runs of earlier versions.
    """

    task: ClassVar[str] = "classify"
    model_type: ClassVar[type[ModelConfig]] = ClassifierConfig

    all_targets: tuple[Target, ...] = ()
    thresholds: Thresholds = field(default_factory=dict, hash=False)
    sharpening: Sharpening = PLAIN

    def with_decisions(self, decisions: Mapping[str, Any]) -> Self:
        """Return these details with the thresholds and the sharpening of the weights that were validated."""
        sharpening = _sharpening(decisions.get("sharpening", {}))
        return replace(self, thresholds=decisions.get("thresholds", {}), sharpening=sharpening)

    def prepare(self, model: Any) -> None:
        """Sharpen the pool of a trained model."""
        model.head.sharpening = self.sharpening

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, if there are several or one is multi-label; else empty."""
        return self.all_targets

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model = config.model
        assert isinstance(model, ClassifierConfig)
        targets = config.class_targets
        return [
            Agreement("targets", len(targets), "targets", len(model.target_classes)),
            *(
                Agreement("outputs of a target", target.outputs, "classes", count)
                for target, count in zip(targets, model.target_classes, strict=False)
            ),
            Agreement("channels of pixels", config.preprocessing.channels, "channels", model.channels),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model."""
        entries = (", ".join(f"{name}={value!r}" for name, value in _entries(t).items()) for t in self.all_targets)
        text = ", ".join(f"ClassTask({each})" for each in entries) + ("," if len(self.all_targets) == 1 else "")
        return f"diffusion=None, sequence=None, tasks=({text})"

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        targets = {TARGETS: [_entries(target) for target in self.all_targets]} if self.all_targets else {}
        decisions = {"thresholds": self.thresholds, "sharpening": sharpening_document(self.sharpening)}
        return targets | {name: value for name, value in decisions.items() if value}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        # Kinds import torch.
        from fitcli.tasks.classify.targets.kinds import kind_of

        targets = tuple(Target(**with_tuples(target)) for target in document.get(TARGETS, ()))
        for target in targets:
            kind_of(target).check(target)
        return cls(
            all_targets=targets,
            thresholds=_thresholds(document.get("thresholds", {})),
            sharpening=_sharpening(document.get("sharpening", {})),
        )


def sharpening_document(sharpening: Sharpening) -> dict[str, Any]:
    """Return a sharpening as JSON data; empty if it changes nothing."""
    return {name: list(values) for name, values in dataclasses.asdict(sharpening).items() if values}


def _sharpening(document: Mapping[str, Any]) -> Sharpening:
    sharpening = Sharpening(**{name: tuple(map(float, values)) for name, values in document.items()})
    if len(sharpening.factors) > MOST_FACTORS or max(sharpening.factors, default=1) > LARGEST_FACTOR:
        raise ValueError(f"a sharpening has at most {MOST_FACTORS} factors, of at most {LARGEST_FACTOR}")
    return sharpening


def _entries(target: Target) -> dict[str, Any]:
    """Return the fields of a target; earlier versions had neither outputs that are no classes, nor a scale."""
    entries = dataclasses.asdict(target)
    for name, default in (("outputs", len(target.classes)), ("scale", ())):
        if entries[name] == default:
            del entries[name]
    return entries


def _thresholds(document: Mapping[str, Any]) -> Thresholds:
    thresholds = {name: {label: float(value) for label, value in each.items()} for name, each in document.items()}
    if not all(0 <= value <= 1 for each in thresholds.values() for value in each.values()):
        raise ValueError("thresholds are probabilities from 0 to 1")
    return thresholds
