"""The figures of a set of generated images beside those of real ones: as JSON data and as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fitcli.evaluation.quality.crops import CropSet, even_choice
from fitcli.evaluation.quality.frechet import frechet_distance
from fitcli.evaluation.quality.laplacian_pyramid import level_sizes
from fitcli.evaluation.quality.nearest import Nearness
from fitcli.evaluation.quality.seams import SeamLevel
from fitcli.evaluation.quality.sliced_wasserstein import Compared, sliced_distances
from fitcli.noise import generator
from fitcli.tasks.evaluation_result import ScoreTable


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityFigures:
    """Figures of generated images, each beside that of real ones.

    Attributes:
        crops: Number of crops of each of the three sets that are compared.
        crop: (height, width) of the crops, in pixels.
        sliced: Sliced Wasserstein distances of each level, finest first.
        frechet: Fréchet distances between the sets; None without a classifier.
        seams: Steps across borders in generated images.
        real_seams: The same in real images, cut at the same places.
        nearness: Distances to training images; None if none are known or none is large enough.
        about: Further entries for JSON.
    """

    crops: int
    crop: tuple[int, int]
    sliced: list[Compared]
    frechet: Compared | None
    seams: list[SeamLevel]
    real_seams: list[SeamLevel]
    nearness: Nearness | None
    about: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        sizes = level_sizes(self.crop)
        return {
            **self.about,
            "crops": self.crops,
            "crop": list(self.crop),
            "sliced_wasserstein": [
                {"size": list(size), **_distances(each)} for size, each in zip(sizes, self.sliced, strict=True)
            ],
            "frechet": None if self.frechet is None else _distances(self.frechet),
            "seams": [
                {
                    "level": ours.level,
                    "groups": ours.groups,
                    "real_groups": real.groups,
                    "patches": ours.patches,
                    "real_patches": real.patches,
                }
                for ours, real in self._compared_seams()
            ],
            "memorisation": None
            if self.nearness is None
            else {**_distances(Compared(*self.nearness[:2])), "nearer": self.nearness.nearer},
        }

    def tables(self) -> tuple[ScoreTable, ...]:
        """Return the figures as tables."""
        sizes = level_sizes(self.crop)
        compared = [
            (f"sliced Wasserstein, {height} x {width}", each)
            for (height, width), each in zip(sizes, self.sliced, strict=True)
        ]
        if self.frechet is not None:
            compared.append(("Fréchet", self.frechet))
        if self.nearness is not None:
            compared.append(("nearest training image", Compared(*self.nearness[:2])))
        with_bicubic = any(each.bicubic is not None for _, each in compared)
        distances = ScoreTable(
            ("distance", "generated", *(("bicubic",) if with_bicubic else ()), "real", "ratio"),
            [(name, *_cells(each, with_bicubic)) for name, each in compared],
        )
        seams: list[tuple[str, ...]] = [
            (f"{1 << ours.level}", *map(_text, (ours.groups, real.groups, ours.patches, real.patches)))
            for ours, real in self._compared_seams()
        ]
        columns = ("seams, shrunk by", "groups", "real groups", "patches", "real patches")
        return distances, ScoreTable(columns, seams)

    def _compared_seams(self) -> list[tuple[SeamLevel, SeamLevel]]:
        """Return the levels on which generated images have borders, with those of real images."""
        both = zip(self.seams, self.real_seams, strict=True)
        return [(ours, real) for ours, real in both if ours.groups is not None or ours.patches is not None]

    def numbers(self) -> dict[str, float]:
        """Return the figures that are one number each, for the table of scores."""
        return {} if self.nearness is None else {"nearer to training than 95 % of real": self.nearness.nearer}


def compare_sets(
    generated: CropSet, real: tuple[CropSet, CropSet], seed: int, bicubic: CropSet | None = None
) -> tuple[int, list[Compared], Compared | None]:
    """Compare generated crops with two disjoint sets of real ones.

    Distances depend on the number of crops, so equally many of each set are compared.

    Args:
        generated: Generated crops.
        real: Real ones.
        seed: Seed of the directions.
        bicubic: As many crops that cubic convolution enlarged; None for none.

    Returns:
        Number of crops of each set, sliced Wasserstein distances of each level, and Fréchet distances.
    """
    if bicubic is not None:
        crops, levels, frechet = compare_sets(generated, real, seed)
        _, others, other = compare_sets(bicubic, real, seed)
        levels = [ours._replace(bicubic=theirs.generated) for ours, theirs in zip(levels, others, strict=True)]
        return crops, levels, frechet and other and frechet._replace(bicubic=other.generated)
    sets = (generated, *real)
    crops = min(map(len, sets))
    chosen = [even_choice(len(each), crops) for each in sets]
    sliced = list[Compared]()
    for level in range(len(level_sizes(generated.crop))):
        ours, first, second = (each.level(level, numbers) for each, numbers in zip(sets, chosen, strict=True))
        sliced.append(sliced_distances(ours, (first, second), generator(seed, "directions", level)))
    if generated.vector_of is None:
        return crops, sliced, None
    vectors = [each.chosen_vectors(numbers) for each, numbers in zip(sets, chosen, strict=True)]
    to_real = [frechet_distance(vectors[0], each) for each in vectors[1:]]
    return crops, sliced, Compared(sum(to_real) / 2, frechet_distance(vectors[1], vectors[2]))


def _ratio(each: Compared) -> float | None:
    return each.generated / each.real if each.real else None


def _distances(each: Compared) -> dict[str, float | None]:
    bicubic = {} if each.bicubic is None else {"bicubic": each.bicubic}
    return {"generated": each.generated, **bicubic, "real": each.real, "ratio": _ratio(each)}


def _cells(each: Compared, with_bicubic: bool) -> tuple[str, ...]:
    distances = each.generated, *((each.bicubic,) if with_bicubic else ()), each.real
    return *("" if distance is None else f"{distance:.4f}" for distance in distances), _text(_ratio(each))


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
