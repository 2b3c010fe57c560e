"""The labels of a data set: classes, pixels, and what is refused in one line before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.pictures import save
from support.polygons import collection, feature, square
from support.polygons import write as write_json

from fitcli.annotations import label_counts
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_survey import LabelSurvey, PositionsByImage, draw_positions, survey_labels
from fitcli.errors import DataError
from fitcli.images.read_as import ReadAs
from fitcli.images.zarr.image_labels import FOLDER
from tests.annotations.test_label_image import write

SIZE = 40, 60
TABLE = ClassTable(("background", "tumor"), (0, 1))


def values(*parts: float, dtype: str = "u1") -> np.ndarray:
    """Return values whose columns are cut into equal parts."""
    return np.repeat(np.array(parts, dtype), SIZE[1] // len(parts))[None].repeat(SIZE[0], 0)


def samples(folder: Path, *labels: np.ndarray | None, nodata: float | None = None) -> list[tuple[Path, Path | None]]:
    found: list[tuple[Path, Path | None]] = []
    for number, pixels in enumerate(labels):
        image = save(folder / f"image{number}.tif", np.zeros((*SIZE, 3), np.uint8), 0.5, chunk=16)
        found.append((image, None if pixels is None else write(folder / f"labels{number}.tif", pixels, nodata)))
    return found


def survey(found: list[tuple[Path, Path | None]], table: ClassTable | None = None, most_bad: int = 0) -> LabelSurvey:
    return survey_labels(found, table, LabelRules(), most_bad=most_bad)


def test_with_classes(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0, 1, 1, 255), None, values(255), values(0))
    surveyed = survey(found, TABLE)
    assert surveyed == LabelSurvey(
        TABLE, (600 + 2400, 1200), 2, ("1 of 4 images has labels without a labelled pixel",), ()
    )


def test_without_classes(tmp_path: Path) -> None:
    surveyed = survey(samples(tmp_path, values(7, 0, 255, 0), values(3)))
    assert (surveyed.table.names, surveyed.table.values) == (("0", "3", "7"), (0, 3, 7))
    assert surveyed.pixels == (1200, 2400, 600)
    assert surveyed.notes == (
        "every value of the label images was taken as a class: 0, 3, 7; 255 and nodata mean no label; --classes names "
        "the values",
    )


def test_levels_and_factors(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0, 1)[:10, ::4], values(0, 1))
    surveyed = survey_labels(found, TABLE, LabelRules(), ReadAs(level=1))
    assert surveyed.pixels == (320 + 300, 280 + 300)
    assert surveyed.notes == ("1 label image is smaller than the image by a factor of 4",)


def test_names_and_colours_inside_of_ome_zarr(tmp_path: Path) -> None:
    found = []
    for number in range(2):
        image = save(tmp_path / f"{number}.zarr", np.zeros((*SIZE, 3), np.uint8))
        labels = write(tmp_path / f"labels{number}.zarr", values(0, 2, 5))
        (image / FOLDER).mkdir()
        labels = labels.rename(image / FOLDER / "cells")
        document = (labels / "zarr.json").read_text()
        described = (
            '"image-label": {"properties": [{"label-value": 2, "class": "tumor"}, {"label-value": 9, "class": "none"}],'
            ' "colors": [{"label-value": 5, "rgba": [1, 2, 3, 255]}]}, "multiscales"'
        )
        (labels / "zarr.json").write_text(document.replace('"multiscales"', described, 1))
        found.append((image, Path(f"{image}#{FOLDER}/cells")))
    surveyed = survey(found)
    assert surveyed.table == ClassTable(("0", "tumor", "5"), (0, 2, 5), (None, None, (1, 2, 3)))
    text = (found[1][0] / FOLDER / "cells/zarr.json").read_text()
    (found[1][0] / FOLDER / "cells/zarr.json").write_text(text.replace("tumor", "stroma"))
    with pytest.raises(DataError, match=r"calls the value 2 'stroma', but .* calls it 'tumor'"):
        survey(found)
    assert survey(found, ClassTable(("a", "b", "c"), (0, 2, 5))).table.colors == (None, None, (1, 2, 3))


def test_palettes_give_colours(tmp_path: Path) -> None:
    ((image, _),) = samples(tmp_path, None)
    picture = Image.fromarray(values(0, 1, 2), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "labels.png")
    surveyed = survey([(image, tmp_path / "labels.png")])
    assert surveyed.table == ClassTable(("0", "1", "2"), (0, 1, 2), ((10, 20, 30), (40, 50, 60), (70, 80, 90)))


BAD: dict[str, tuple[Callable[[Path], list[tuple[Path, Path | None]]], ClassTable | None, str]] = {
    "unknown values": (
        lambda folder: samples(folder, values(0, 1, 7, 9), values(7), values(0, 1)),
        TABLE,
        r"labels0.tif and 1 more label image: values that no class has: 7 \(3,000 pixels\), 9 \(600 pixels\); give",
    ),
    "a class without a pixel": (
        lambda f: samples(f, values(0)),
        TABLE,
        r"labels0.tif: no pixel has the class 'tumor' \(value 1\); leave it out .* show it$",
    ),
    "classes without a pixel": (
        lambda f: samples(f, values(0, 1), values(0)),
        ClassTable(("a", "b", "c", "d"), (0, 1, 2, 3)),
        r"and 1 other file of labels: no pixel has the classes 'c' \(value 2\), 'd' \(value 3\); leave them out",
    ),
    "a class that is nodata": (
        lambda f: samples(f, values(0, 1), nodata=0),
        TABLE,
        r"'background' \(value 0, which is nodata\)",
    ),
    "no labelled pixel": (
        lambda f: samples(f, values(255), values(255)),
        TABLE,
        "labels0.tif: neither this nor other labels have a labelled pixel",
    ),
    "one value": (lambda f: samples(f, values(3)), None, "hold only the value 3; give the classes"),
    "a mask": (
        lambda f: samples(f, values(0, 255)),
        None,
        "only the value 0, and 255, .* as in 0=background,255=tumor",
    ),
    "nothing": (lambda f: samples(f, values(255)), None, "hold no labelled pixel"),
    "instances": (
        lambda f: samples(f, np.arange(2400, dtype="u2").reshape(SIZE)),
        None,
        "labels0.tif: holds 2,400 different values; this is no image of classes",
    ),
    "fractions": (lambda f: samples(f, values(0, 0.5, dtype="f4")), None, r"holds the value 0.5 \(1,200 pixels\)"),
    "negative values": (lambda f: samples(f, values(0, -1, dtype="i2")), None, r"holds the value -1 \(1,200 pixels\)"),
    "64 bits": (lambda f: samples(f, values(0, 2**40, dtype="f8")), None, r"holds the value 1099511627776 \(1,200"),
    "no labels": (lambda f: samples(f, None), TABLE, "no image has labels"),
    "another size": (lambda f: samples(f, values(0, 1)[:39]), TABLE, "has 60 x 39 pixels, but .* has 60 x 40"),
    "several of another size": (
        lambda f: samples(f, values(0, 1)[:39], values(0, 1)[1:], values(0, 1)),
        TABLE,
        r"labels0.tif: has .* \(and 1 more image whose labels cannot be used\)",
    ),
    "colours": (
        lambda f: [(samples(f, None)[0][0], save(f / "x.png", np.zeros((*SIZE, 3), np.uint8)))],
        TABLE,
        "x.png: holds colours; a label image has one channel",
    ),
    "a missing file": (lambda f: [(samples(f, None)[0][0], f / "gone.png")], TABLE, "gone.png: no such file"),
    "a folder": (lambda f: [(samples(f, None)[0][0], f)], TABLE, "is a folder without a zarr array"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_labels(tmp_path: Path, name: str) -> None:
    make, table, message = BAD[name]
    with pytest.raises(DataError, match=message) as raised:
        survey(make(tmp_path), table)
    assert "\n" not in str(raised.value)


def test_missing_floats_are_no_labels(tmp_path: Path) -> None:
    surveyed = survey(samples(tmp_path, values(0, np.nan, 1, np.inf, dtype="f4")))
    assert surveyed.pixels == (600, 600)
    assert surveyed.table.values == (0, 1)


def test_64_bit_integers(tmp_path: Path) -> None:
    ((image, _),) = samples(tmp_path, None)
    tifffile.imwrite(tmp_path / "x.tif", values(0, 1, dtype="u8"), photometric="minisblack")
    assert survey([(image, tmp_path / "x.tif")], TABLE).pixels == (1200, 1200)


def test_some_bad_images_may_be_passed_over(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0, 1)[:39], values(0, 1))
    assert survey(found, TABLE, most_bad=1).pixels == (1200, 1200)
    with pytest.raises(DataError, match="has 60 x 39"):
        survey(found[:1], TABLE, most_bad=5)


def test_nodata_that_is_a_class(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0, 1), nodata=0)
    more = samples(tmp_path / "more", values(0, 1))
    surveyed = survey(found + more, TABLE)
    assert surveyed.pixels == (1200, 2400)
    assert surveyed.warnings == (
        f"{found[0][1]}: 0 is the nodata value, so its pixels have no label, not the class 'background'",
    )


def test_a_rare_class_of_a_large_image_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_counts, "MOST_PIXELS", 500)
    monkeypatch.setattr(label_counts, "SQUARE_SIDE", 16)
    surveyed = survey(samples(tmp_path, values(0)), TABLE)
    assert surveyed.pixels[1] == 0
    assert "of 1 large label image a part was read, so numbers are about" in surveyed.notes
    assert surveyed.warnings[0].startswith("no pixel of the class 'tumor' (value 1) was met")


def with_polygons(folder: Path, **files: tuple[str, ...]) -> list[tuple[Path, Path | None]]:
    """Return images with files of polygons: a square of 100 pixels for each class."""
    images = [image for image, _ in samples(folder, *[None] * len(files))]
    for name, classes in files.items():
        squares = [feature(square(10 * place, 0, 10), kind) for place, kind in enumerate(classes)]
        write_json(folder / f"{name}.geojson", collection(*squares))
    return [(image, folder / f"{name}.geojson") for image, name in zip(images, files, strict=True)]


def test_polygons(tmp_path: Path) -> None:
    found = with_polygons(tmp_path, a=("tumor", "stroma", "tumor"), b=("tumor",), c=())
    surveyed = survey(found)
    assert surveyed.table == ClassTable(("stroma", "tumor"), (0, 1))
    assert surveyed.pixels == (100, 300)
    assert surveyed.unlabelled == 1
    assert surveyed.notes == ("1 of 3 images has labels without a labelled pixel",)
    write_json(tmp_path / "b.geojson", collection(feature(square(0, 0, 10), "tumor"), feature(square(90, 0, 10), "x")))
    table = ClassTable(("stroma", "tumor", "x"), (0, 1, 2))
    with pytest.raises(DataError, match="no pixel has the class 'x'"):
        survey(found, table)
    write_json(tmp_path / "c.geojson", collection(feature(square(0, 0, 1), "x")))
    assert survey(found, table).notes == (f"1 polygon outside of {found[1][0]} left out",)


def test_bad_polygons(tmp_path: Path) -> None:
    found = with_polygons(tmp_path, a=("tumor", "x", "tumor"), b=("tumor",), gone=())
    (tmp_path / "gone.geojson").unlink()
    for table, rules, most_bad, part, message in (
        (TABLE, LabelRules(), 0, found[:2], r"a.geojson: .* that are not given: 'x' \(1 polygon\); give the"),
        (None, LabelRules(), 0, found[1:2], "b.geojson: the polygons of the data set have only the class 'tumor'"),
        (
            TABLE,
            LabelRules("nothing"),
            0,
            found[1:2],
            "'nothing' of what no polygon covers is none of background, tumor",
        ),
        (TABLE, LabelRules(), 0, found[1:2], "no pixel has the class 'background'"),
        (TABLE, LabelRules(), 0, found[1:], r"gone.geojson: cannot be read \(No such file"),
        (TABLE, LabelRules(), 1, found[1:], "no pixel has the class 'background'"),
    ):
        with pytest.raises(DataError, match=message) as raised:
            survey_labels(part, table, rules, most_bad=most_bad)
        assert "\n" not in str(raised.value)


def test_a_file_without_classes_is_a_slip_beside_others(tmp_path: Path) -> None:
    """Else one forgotten slide would make a class of its own."""
    found = [image for image, _ in samples(tmp_path, None, None, None)]
    files = [
        write_json(tmp_path / f"{number}.geojson", collection(feature(square(10, 5, 2), name)))
        for number, name in enumerate(("a", None, "object"))
    ]
    with pytest.raises(DataError, match=r"1\.geojson: its polygons have no class, but those of .*0\.geojson have"):
        survey_labels([*zip(found[:2], files[:2], strict=True)], None, LabelRules())
    for pairs, classes in (((0, 2), ("a", "object")), ((1, 1), ("ground", "object")), ((1, 2), ("ground", "object"))):
        rules = LabelRules(None if "a" in classes else "ground")
        surveyed = survey_labels([(found[each], files[each]) for each in pairs], None, rules)
        assert surveyed.table.names == classes


def test_the_class_elsewhere_is_for_polygons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels0\.tif: --elsewhere is the class of what no polygon covers, but"):
        survey_labels(samples(tmp_path, values(0, 1)), TABLE, LabelRules("background"))


def test_a_class_that_is_only_held_out_is_named(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0), None, values(0, 1))
    assert survey(found, TABLE).warnings == ()
    held_out = {found[2][0]}
    (warning,) = survey_labels(found, TABLE, LabelRules(), held_out=held_out).warnings
    assert warning.startswith("no training image shows 'tumor', only validation images do")
    assert survey_labels([*found, (found[1][0], found[2][1])], TABLE, LabelRules(), held_out=held_out).warnings == ()


def plain(positions: PositionsByImage) -> dict[str, list[list[list[int]]]]:
    return {image.name: [each.tolist() for each in classes] for image, classes in positions.items()}


def test_positions_of_label_images(tmp_path: Path) -> None:
    """Of the classes that an image has, in the order of the classes; 255 and nodata have none."""
    rare = np.full(SIZE, 9, "u1")
    rare[3, 4] = 5
    rare[0, 0] = 255
    found = samples(tmp_path, rare, None, values(255), values(9, 2), nodata=2)
    table = ClassTable(("a", "b"), (9, 5))
    surveyed = survey_labels(found, table, LabelRules(), positions=True)
    images = [image for image, _ in found]
    assert surveyed.positions.keys() == {images[0], images[2], images[3]}
    usual, single = surveyed.positions[images[0]]
    assert (len(usual), single.tolist()) == (32, [[3, 4]])
    assert surveyed.positions[images[2]] == ()
    (half,) = surveyed.positions[images[3]]
    assert half[:, 1].max() < SIZE[1] / 2
    assert survey(found, table).positions == {}
    again = draw_positions(found, table, LabelRules(), ReadAs(), 0)
    assert plain(again) == plain(surveyed.positions)
    # Without classes, those of the values.
    assert len(survey_labels(found, None, LabelRules(), positions=True).positions[images[0]]) == 2


def test_positions_of_polygons(tmp_path: Path) -> None:
    ((image, _),) = samples(tmp_path, None)
    inner = feature([[(10.0, 5.0), (12.0, 5.0), (12.0, 6.0), (10.0, 6.0)]], "b")
    labels = write_json(tmp_path / "labels.geojson", collection(inner))
    for elsewhere, number in (("a", 32), (None, 0)):
        rules, table = LabelRules(elsewhere), ClassTable(("a", "b"), (0, 1))
        if elsewhere is None:
            with pytest.raises(DataError, match="no pixel has the class 'a'"):
                survey_labels([(image, labels)], table, rules, positions=True)
        else:
            surveyed = survey_labels([(image, labels)], table, rules, positions=True)
            assert plain(surveyed.positions) == plain(draw_positions([(image, labels)], table, rules, ReadAs(), 0))
        drawn = draw_positions([(image, labels)], table, rules, ReadAs(), 0)[image]
        assert [len(each) for each in drawn] == [each for each in (number, 2) if each]
        assert drawn[-1].tolist() == [[5, 10], [5, 11]]


def test_positions_leave_out_unusable_labels(tmp_path: Path) -> None:
    found = samples(tmp_path, values(0, 1), values(0, 1))
    (tmp_path / "labels0.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"labels0.tif"):
        draw_positions(found, TABLE, LabelRules(), ReadAs(), 0)
    assert list(draw_positions(found, TABLE, LabelRules(), ReadAs(), 1)) == [found[1][0]]
    assert draw_positions(found[:0], TABLE, LabelRules(), ReadAs(), 0) == {}
