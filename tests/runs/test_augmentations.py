"""Lists of augmentations are read as users write them, and refused by name where they mean nothing."""

from __future__ import annotations

import pytest

from fitcli.runs.augmentations import (
    KINDS,
    NO_AUGMENTATIONS,
    SETS,
    USUAL_AUGMENTATIONS,
    Augmentations,
    augment_value,
    augmentations_of,
    parse_augmentations,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flips", Augmentations(flips=True)),
        ("flips,light", USUAL_AUGMENTATIONS),
        (" Flips , blur=2.5", Augmentations(flips=True, blur=2.5)),
        ("color=0.3", Augmentations(colour=0.3)),
        ("bands,scale=0,noise=0.5,flips=0", Augmentations(light=0.1, colour=0.1, noise=0.5, drop=0.1)),
        ("noise=0.5,bands", Augmentations(flips=True, light=0.1, colour=0.1, scale=0.2, noise=0.1, drop=0.1)),
    ],
)
def test_a_list(text: str, expected: Augmentations) -> None:
    assert parse_augmentations(text) == expected
    assert parse_augmentations(expected.text()) == expected


@pytest.mark.parametrize("name", [*KINDS, *SETS])
def test_every_name_stands_alone_and_is_kept_with_its_strengths(name: str) -> None:
    value = augment_value(name)
    assert isinstance(value, str)
    assert augment_value(value) == value, "what a run keeps is read as the same again"
    assert augmentations_of(value) == parse_augmentations(name)
    assert name == "flips" or "=" in value


def test_switches() -> None:
    assert [augment_value(text) for text in ("none", "no", "False", "default", "yes")] == [False] * 3 + [True] * 2
    assert [augment_value(text) for text in ("flips=0", "light,flips", "flips,light=0.1")] == [False, True, True]
    assert augmentations_of(False) == NO_AUGMENTATIONS
    assert augmentations_of(True) == USUAL_AUGMENTATIONS == parse_augmentations("flips,light")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flips,blurr", "has no 'blurr'; it takes a list of flips, light, "),
        ("", "has an empty entry; give kinds with a comma between two"),
        ("flips,", "has an empty entry"),
        ("pathology=2", "pathology has no strength; give those of its kinds after it, as in pathology,blur=0"),
        ("blur,blur=2", "names blur twice"),
        ("color,colour", "names colour twice"),
        ("stain=5", "stain must have a strength from 0 to 1, not 5"),
        ("stain=-1", "stain must have a strength from 0 to 1, not -1"),
        ("scale=nan", "scale must have a strength from 0 to 3, not nan"),
        ("scale=much", "scale must have a strength from 0 to 3, not much"),
        ("scale=", "scale must have a strength from 0 to 3, not "),
        ("flips=0.5", "flips has no strength"),
        ("flips,none", "takes none alone"),
    ],
)
def test_a_list_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment_value(text)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_kinds_by_channels(name: str, channels: int) -> None:
    suits = {"stain": channels == 3, "colour": channels > 1, "drop": channels > 1}.get(name, True)
    reason = parse_augmentations(name).unsuited(channels)
    assert (reason is None) == suits
    assert reason is None or (reason.startswith(f"{name} is for images of ") and f"{channels} channel" in reason)


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_features(name: str) -> None:
    suits = name in ("flips", "light", "noise", "drop")
    assert (parse_augmentations(name).unsuited(64, features=True) is None) == suits
