"""What `--augment` asks for: names of augmentations with their strengths, and words for sets. Standard library only."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from typing import NamedTuple

from fitcli.runs.option import OFF, USUAL

NO, YES = (OFF, "no", "false", "off"), (USUAL, "yes", "true", "on")
"""Texts for the values of the switch."""


class Kind(NamedTuple):
    """A kind of augmentation.

    Attributes:
        strength: Strength of a name without a number; 0 for a kind that has none.
        most: Greatest strength.
        meaning: Description of the change, for users.
        least_channels: Least number of channels of the images.
        exact_channels: The only number of channels; 0 for any.
        of_features: Whether it has a meaning for images of features.
    """

    strength: float
    most: float
    meaning: str
    least_channels: int = 1
    exact_channels: int = 0
    of_features: bool = False


KINDS = {
    "flips": Kind(0, 1, "quarter turns and mirror images", of_features=True),
    "light": Kind(0.1, 1, "brightness and contrast", of_features=True),
    "colour": Kind(0.1, 0.5, "hue and saturation of 3 channels; of others, brightness and contrast of each", 2),
    "stain": Kind(0.2, 1, "amounts of haematoxylin and eosin", 3, 3),
    "scale": Kind(0.2, 3, "enlarged and reduced images"),
    "blur": Kind(1, 16, "blurred images, up to this many pixels"),
    "noise": Kind(0.1, 1, "noise, in deviations of the pixels", of_features=True),
    "drop": Kind(0.1, 0.9, "channels without content, with this probability", 2, of_features=True),
}
"""The kinds of augmentation by name. `light` is passed over for features, since it belongs to the usual set."""

SETS = {
    "pathology": "flips,light=0.1,colour=0.05,stain=0.2,scale=0.2,blur=1,noise=0.1",
    "aerial": "flips,light=0.1,colour=0.1,scale=0.2,blur=1,noise=0.1",
    "bands": "flips,light=0.1,colour=0.1,scale=0.2,noise=0.1,drop=0.1",
}
"""Words for sets of augmentations."""

SPELLINGS = {"color": "colour"}


@dataclass(frozen=True, slots=True)
class Augmentations:
    """Strengths of the kinds of augmentation, see `KINDS`; 0 or False for none."""

    flips: bool = False
    light: float = 0.0
    colour: float = 0.0
    stain: float = 0.0
    scale: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    drop: float = 0.0

    def text(self) -> str:
        """Return the text that `parse` reads as this: all kinds with their strengths."""
        chosen = {each.name: value for each, value in zip(fields(self), astuple(self), strict=True) if value}
        return ",".join(name if name == "flips" else f"{name}={value:g}" for name, value in chosen.items()) or OFF

    @property
    def changes_pixels(self) -> bool:
        """Whether values of pixels change before they are normalised."""
        return any((self.colour, self.stain, self.blur, self.noise, self.drop))

    def unsuited(self, channels: int, features: bool = False) -> str | None:
        """Return why the images of a run cannot be augmented so, and what to do; None if they can.

        Args:
            channels: Channels of the images.
            features: Whether they are images of features.
        """
        for name, kind in KINDS.items():
            if not getattr(self, name):
                continue
            if features and not kind.of_features:
                return f"{name} has no meaning for features of patches; leave it out"
            if kind.exact_channels and channels != kind.exact_channels:
                return f"{name} is for images of red, green and blue, and these have {_counted(channels)}; leave it out"
            if channels < kind.least_channels:
                return f"{name} is for images of several channels, and these have {_counted(channels)}; leave it out"
        return None


USUAL_AUGMENTATIONS = Augmentations(flips=True, light=KINDS["light"].strength)
NO_AUGMENTATIONS = Augmentations()


def augmentations_of(value: bool | str) -> Augmentations:
    """Return the augmentations of a value of `--augment`: True for the usual ones, False for none, or a text.

    Raises:
        ValueError: See `parse_augmentations`.
    """
    if isinstance(value, bool):
        return USUAL_AUGMENTATIONS if value else NO_AUGMENTATIONS
    return parse_augmentations(value)


def augment_value(text: str) -> bool | str:
    """Return the value of `--augment` for a text: False for none, True for the usual ones, else kinds with strengths.

    Raises:
        ValueError: See `parse_augmentations`.
    """
    word = text.strip().lower()
    if word in (*NO, *YES):
        return word in YES
    chosen = parse_augmentations(text)
    switches = {NO_AUGMENTATIONS: False, USUAL_AUGMENTATIONS: True}
    return switches.get(chosen, chosen.text())


def parse_augmentations(text: str) -> Augmentations:
    """Read a list such as "flips,colour=0.1,stain" or "pathology,blur=0".

    A name without a number has the usual strength. A name replaces the strength that a set before it has, and 0 leaves
    it out.

    Raises:
        ValueError: A name is unknown or is there twice, or a strength is none.
    """
    strengths: dict[str, float] = {}
    seen: set[str] = set()
    for part in text.split(","):
        word, sign, number = part.strip().lower().partition("=")
        name = SPELLINGS.get(word.strip(), word.strip())
        if name in seen:
            raise ValueError(f"names {name} twice")
        seen.add(name)
        if name in SETS:
            if sign:
                raise ValueError(f"{name} has no strength; give those of its kinds after it, as in {name},blur=0")
            strengths |= _set(name)
        elif not name:
            raise ValueError("has an empty entry; give kinds with a comma between two, such as flips,blur=1, or none")
        elif name in KINDS:
            strengths[name] = _strength(name, number.strip() if sign else None)
        elif name not in (*NO, *YES):
            known = ", ".join((*KINDS, *SETS, OFF, USUAL))
            raise ValueError(f"has no {name!r:.40}; it takes a list of {known}, such as flips,blur=1")
        else:
            raise ValueError(f"takes {name} alone")
    flips = bool(strengths.pop("flips", 0))
    return Augmentations(flips=flips, **strengths)


def _set(name: str) -> dict[str, float]:
    parsed = parse_augmentations(SETS[name])
    return {each: float(getattr(parsed, each)) for each in KINDS if getattr(parsed, each)}


def _strength(name: str, number: str | None) -> float:
    kind = KINDS[name]
    if number is None:
        return kind.strength or 1.0
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name == "flips" and value not in (0, 1):
        raise ValueError("flips has no strength: it is there, or it is not (flips=0)")
    if not 0 <= value <= kind.most:
        raise ValueError(f"{name} must have a strength from 0 to {kind.most:g}, not {number:.40}")
    return value


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
