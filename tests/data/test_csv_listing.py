"""CSV files that list images: their variants, and errors that name the line."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from support.data_sets import labelled, table, touch
from support.zarr_labels import zarr_with_labels

from fitcli.data.csv_listing import Labels, read_csv
from fitcli.data.dataset import Sample, load_dataset
from fitcli.data.splitting import HELD_OUT, Splitting
from fitcli.errors import DataError
from fitcli.files.publish import publish_csv
from fitcli.tasks.classify.task import TASK


def test_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.png", "sub/b, c.png", "d.png", "e.png")
    lines = [
        "path,label",
        "sub/a.png,cat",
        '"sub/b, c.png","cat"',
        "",
        "  d.png , dog ",
        f"{tmp_path / 'e.png'},dog",
        "",
    ]
    data = load_dataset(table(tmp_path, *lines))
    assert labelled(data) == {"a.png": "cat", "b, c.png": "cat", "d.png": "dog", "e.png": "dog"}
    assert len(data.validation) == 2


def test_a_table_with_line_breaks_in_its_fields(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c\nd")
    lines = ["path,label,split", '"a","two\nwords",train', "b,y\u2028z,train", '"c\nd",y\u2028z,val']
    data = load_dataset(table(tmp_path, *lines))
    assert data.classes == ("two\nwords", "y\u2028z")
    assert [sample.path.name for sample in data.validation] == ["c\nd"]
    with pytest.raises(DataError, match=r"data\.csv, line 7: no file"):
        load_dataset(table(tmp_path, *lines, "gone,x,train"))


def test_a_table_from_a_spreadsheet(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    text = "Split;x,Label, PATH,split\r\n1,Käse,a.png,Train\r\n2,Brot,b.png,train\r\n"
    (tmp_path / "data.csv").write_bytes(codecs.BOM_UTF8 + text.encode())
    data = load_dataset(tmp_path / "data.csv")
    assert data.classes == ("Brot", "Käse")
    assert len(data.train) == 2


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_table_with_other_separators(tmp_path: Path, separator: str, quote: str) -> None:
    touch(tmp_path, "a, b.png", "c;d.png", "e.png", "f;g.png")
    rows = [("a, b.png", "1,5"), ("c;d.png", "2;5"), ("e.png", "1,5"), ("f;g.png", "2;5")]
    lines = [f"{quote}path{quote}{separator}{quote}label{quote}"]
    lines += [separator.join(f'"{field}"' for field in row) for row in rows]
    (tmp_path / "data.csv").write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    data = load_dataset(tmp_path / "data.csv")
    assert labelled(data) == {"a, b.png": "1,5", "c;d.png": "2;5", "e.png": "1,5", "f;g.png": "2;5"}


def test_a_table_from_windows(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.png", "sub/b.png", "c\\d.png", "e.png")
    lines = ["path,label", "sub\\a.png,x", ".\\sub\\b.png,y", "c\\d.png,x", "e.png,y"]
    data = load_dataset(table(tmp_path, *lines))
    assert labelled(data) == {"a.png": "x", "b.png": "y", "c\\d.png": "x", "e.png": "y"}
    with pytest.raises(DataError, match="listed as 'x' and as 'y'"):
        load_dataset(table(tmp_path, *lines, "sub/a.png,y"))
    with pytest.raises(DataError, match="line 2: no file"):
        load_dataset(table(tmp_path, "path,label", "C:\\images\\a.png,x"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "a,x", "b,y", "gone.png,x"], r"data\.csv, line 4: no file .*gone\.png"),
        (["path,label", "a,x", "", "", "gone.png,x"], r"data\.csv, line 5: no file .*gone\.png"),
        (["path,label", "a,x", f"{'long' * 100},y"], r"data\.csv, line 3: no file"),
        (["path,label,split", "a,x,train", "b,y,trian"], r"data\.csv, line 3: split 'trian' is none of train, val"),
        (["path,label", "a,x", "b,"], r"data\.csv, line 3: label must not be empty"),
        (["path,label", "a,x", "b"], r"data\.csv, line 3: label must not be empty.* \(the line has 1 of 2 fields\)"),
        (["path,split,label", "a,x"], r"data\.csv, line 2: label must not be empty.* \(the line has 2 of 3 fields\)"),
        (["path,label,split,fold", "a,x,b"], r"line 2: split 'b' is none of .* \(the line has 3 of 4 fields\)"),
        (["path,label", "a,x", "b,y, z"], r"data\.csv, line 3: has more fields than the first line"),
        (["file,class", "a,x"], r"data\.csv: needs the columns path,label\[,split\], has file,class"),
        ([""], r"data\.csv: needs the columns path,label\[,split\], has none"),
        (["path,label", "a,x", "a,x"], r"data\.csv: .*a is listed twice"),
        (["path,label", "a,x", "./a,y"], r"data\.csv: .*a is listed as 'x' and as 'y'"),
        (["path,label,split", "a,x,train", "b,y,train", "a,x,val"], r"a is listed twice, in lines 2 and 4; keep one"),
        (["path,label", "a,x", "b\0c,y"], r"data\.csv, line 3"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, lines: list[str], message: str) -> None:
    touch(tmp_path, "a", "b")
    with pytest.raises(DataError, match=message):
        load_dataset(table(tmp_path, *lines))


CELLS: dict[str, tuple[str, str, Splitting]] = {
    "no path": ("path,label", ",x", HELD_OUT),
    "no label": ("path,label", "sub/1.png,", HELD_OUT),
    "no answer": ("path,label:a,value:b", "sub/1.png,,", HELD_OUT),
    "too many fields": ("path,label", "sub/1.png,x,y", HELD_OUT),
    "no file": ("path,label", "sub/2.png,x", HELD_OUT),
    "two files": ("path,label", "sub/two,x", HELD_OUT),
    "no such split": ("path,label,split", "sub/1.png,x,old", HELD_OUT),
    "no such level": ("path,label,level", "sub/1.png,x,high", HELD_OUT),
    "two levels": ("path,label,level", "sub/1.png#level=1,x,2", HELD_OUT),
    "no such choice": ("path,label", "sub/1.png#level=x,x", HELD_OUT),
    "no scale": ("path,label,mpp", "sub/1.png,x,-1", HELD_OUT),
    "an empty label": ("path,labels", "sub/1.png,x||y", HELD_OUT),
    "no number": ("path,value:a", "sub/1.png,many", HELD_OUT),
    "too large": ("path,value:a", "sub/1.png,1e999", HELD_OUT),
    "not in the order": ("path,order:a=low|high", "sub/1.png,middle", HELD_OUT),
    "an event alone": ("path,event:a,time:a", "sub/1.png,1,", HELD_OUT),
    "no event": ("path,event:a,time:a", "sub/1.png,2,1", HELD_OUT),
    "before the beginning": ("path,event:a,time:a", "sub/1.png,1,-1", HELD_OUT),
    "no such fold": ("path,label,fold", "sub/1.png,x,one", Splitting(fold=1)),
    "a fold below 0": ("path,label,fold", "sub/1.png,x,-1", Splitting(fold=1)),
    "an empty fold": ("path,label,fold", "sub/1.png,x,", Splitting(fold=1)),
    "split and fold": ("path,label,fold,split", "sub/1.png,x,1,train", Splitting(fold=1)),
    "named splits": ("path,label,split", "sub/1.png,x,train", Splitting(2, 1)),
    "a single image": ("path,label", "sub/1.png,alone", HELD_OUT),
    "a file of labels": ("path,labels", "sub/1.png,sub/none.geojson", HELD_OUT),
    "NUL": ("path,label", "sub/1.png\0,x", HELD_OUT),
}
"""Columns, a row that is wrong, and the splits in which it is."""


@pytest.mark.parametrize("wrong", CELLS)
def test_every_error_of_a_row_names_the_file_and_the_line(tmp_path: Path, wrong: str) -> None:
    headings, line, splitting = CELLS[wrong]
    touch(tmp_path, "sub/1.png", "sub/two.png", "sub/two.tif", *(f"{n}.png" for n in range(4)))
    right = {"label": "x", "label:a": "x", "labels": "x", "fold": "1", "value:a": "1", "value:b": "1", "time:a": "1",
             "event:a": "1", "order:a=low|high": "low"}  # fmt: skip
    usual = [",".join([f"{n}.png", *(right.get(name, "") for name in headings.split(",")[1:])]) for n in range(4)]
    data = table(tmp_path, headings, *usual, line)
    labels: Labels = "files" if wrong == "a file of labels" else "needed"
    if labels == "files":
        data = table(tmp_path, headings, "0.png,", line)
    with pytest.raises(DataError) as caught:
        load_dataset(data, labels, splitting=splitting, kinds=TASK.target_kinds)
    number = len(data.read_text().splitlines())
    assert str(caught.value).startswith(f"{data}, line {number}: ")
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("path,label\na,Käse\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"data\.csv: not UTF-8 text .*; save it as UTF-8"):
        load_dataset(tmp_path / "data.csv")


NFC, NFD = "K\u00e4se", "Ka\u0308se"


@pytest.mark.parametrize(("written", "stored"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_names_in_both_unicode_forms(tmp_path: Path, written: str, stored: str) -> None:
    touch(tmp_path, *(f"{stored}/{stored}{number}.png" for number in range(4)))
    lines = [f"{written}/{written}{number}.png,{name},{name}|x" for number, name in enumerate((NFC, NFD, "x", "x"))]
    data = load_dataset(table(tmp_path, f"path,label:{written},labels:b", *lines))
    assert [target.classes for target in data.targets] == [(NFC, "x"), (NFC, "x")]
    assert data.targets[0].name == NFC
    assert all(sample.path.exists() for sample in data.train + data.validation)
    assert all(name.startswith(f"{NFC}/{NFC}") for name, _, _ in data.listed)


def test_one_file_in_both_unicode_forms_is_listed_twice(tmp_path: Path) -> None:
    touch(tmp_path, NFD, "b")
    with pytest.raises(DataError, match="listed as 'x' and as 'y'"):
        load_dataset(table(tmp_path, "path,label", f"{NFC},x", f"{NFD},y", "b,y"))


def test_a_table_that_fit_wrote(tmp_path: Path) -> None:
    """Names and labels that look like formulas have an apostrophe there, which is not part of them."""
    names = ["=1.png", "+a.png", "-a.png", "@a.png", "'=2.png", "plain.png"]
    touch(tmp_path, *names)
    with publish_csv(tmp_path / "data.csv") as rows:
        rows.write_rows(
            [["path", "label"], *([name, "=x" if number % 2 else "-1"] for number, name in enumerate(names))]
        )
    assert "'=1.png" in (tmp_path / "data.csv").read_text()
    data = load_dataset(tmp_path / "data.csv", training=False)
    assert sorted(name for name, _, _ in data.listed) == sorted(names)
    assert data.classes == ("-1", "=x")


def test_a_name_with_an_apostrophe_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "'=a.png", "b.png")
    data = load_dataset(table(tmp_path, "path,label", "'=a.png,x", "b.png,y"), training=False)
    assert {name for name, _, _ in data.listed} == {"'=a.png", "b.png"}


def test_files_of_labels(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n}.tif" for n in "abcd"), "sub/a.png", "b.png", "sub/c.png")
    lines = ["path,Labels,split,note,patient,", "a.tif,sub\\a.png,train,x,p,", "b.tif,b.png,val,,q,", "c.tif,,train,,,"]
    data = load_dataset(table(tmp_path, *lines, "d.tif,sub/c.png,test,,,"), "files")
    assert data.train == (Sample(tmp_path / "a.tif", tmp_path / "sub/a.png"), Sample(tmp_path / "c.tif", None))
    assert data.validation == (Sample(tmp_path / "b.tif", tmp_path / "b.png"),)
    assert data.test == (Sample(tmp_path / "d.tif", tmp_path / "sub/c.png"),)
    assert data.listed == (("a.tif", "sub/a.png", "train"), ("b.tif", "b.png", "val"), ("c.tif", "", "train"))
    assert data.notes == ("columns of data.csv passed over: note", "1 of 4 images has no labels")
    assert (data.classes, data.targets) == ((), ())
    # A column of this name holds classes for the other tasks.
    several = load_dataset(table(tmp_path, "path,labels,split", "a.tif,x|y,train", "b.tif,x,val"))
    assert several.targets[0].classes == ("x", "y")


def test_the_fingerprint_covers_files_of_labels(tmp_path: Path) -> None:
    def load(*lines: str, folder: str = "one") -> str:
        touch(tmp_path / folder, "a", "b", "x.png", "y.png")
        return load_dataset(table(tmp_path / folder, "path,labels,split", *lines), "files").fingerprint

    first = load("a,x.png,train", "b,y.png,val")
    assert first == load("a,x.png,train", "b,y.png,val", folder="two")
    others = [load("a,y.png,train", "b,x.png,val"), load("a,x.png,val", "b,y.png,train"), load("a,x.png,train")]
    assert len({first, *others}) == 4


def test_labels_inside_of_listed_images(tmp_path: Path) -> None:
    for name in "abc":
        zarr_with_labels(tmp_path / f"{name}.zarr", "cells", *(["tissue"] if name == "c" else []))
    data = load_dataset(table(tmp_path, "path,split", "a.zarr,train", "b.zarr,val"), "files")
    assert [s.target for s in data.train + data.validation] == [tmp_path / f"{n}.zarr/labels/cells" for n in "ab"]
    assert data.listed[0] == ("a.zarr", "a.zarr/labels/cells", "train")
    lines = ["path,labels,split", "c.zarr,c.zarr#labels/tissue,train", "a.zarr,,val"]
    assert load_dataset(table(tmp_path, *lines), "files").train[0].target == tmp_path / "c.zarr/labels/tissue"
    with pytest.raises(DataError, match="name one in the column labels"):
        load_dataset(table(tmp_path, "path,split", "c.zarr,train"), "files")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,labels", "a,x.png", "b,gone.png"], r"data\.csv, line 3: no file .*gone\.png"),
        (["file,labels", "a,x.png"], r"needs the columns path,labels\[,split\], has file,labels"),
        (["path,label", "a,x", "b,y"], "no image has labels; name them in the column labels"),
        (["path,labels", "a,x.png", "b,x.json"], r"polygons \(x\.json\) and others label images \(x\.png\)"),
        (["path,labels", "a,x.png", "b,"], "there is one image; it needs two"),
        (["path,labels,patient", "a,x.png,p", "b,y.png,p"], "there is one patient, p; it needs two"),
    ],
)
def test_unusable_files_of_labels(tmp_path: Path, lines: list[str], message: str) -> None:
    touch(tmp_path, "a", "b", "x.png", "y.png", "x.json")
    with pytest.raises(DataError, match=message):
        load_dataset(table(tmp_path, *lines), "files")


def test_the_images_of_a_patient_and_those_without_labels_are_not_torn_apart(tmp_path: Path) -> None:
    names = [f"{patient}{number}" for patient in range(10) for number in range(3)]
    touch(tmp_path, *names, "labels.png", "u1", "u2")
    lines = [f"{name},labels.png,{name[0]}" for name in names]
    data = load_dataset(table(tmp_path, "path,labels,patient", *lines, "u1,,", "u2,,"), "files")
    train, held = ({s.path.name[0] for s in samples} for samples in (data.train, data.validation))
    assert len(held) == 2
    assert not train & held
    assert {"u1", "u2"} <= {s.path.name for s in data.train}


def test_files_of_labels_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "a-labels.png", "b.geojson")
    files = table(tmp_path, "path,labels", "a.png,a-labels.png", "b.png,b.geojson")
    with pytest.raises(DataError, match="the column labels names files such as a-labels"):
        read_csv(files, "needed", several=True)
    assert [row.labels for row in read_csv(files, "ignored", several=True).rows] == [(), ()]
    classes = table(tmp_path, "path,labels", "a.png,a-labels.png", "b.png,c")
    assert [row.labels for row in read_csv(classes, "needed", several=True).rows] == [("a-labels.png",), ("c",)]


def test_other_tasks_refuse_a_column_that_is_there_twice(tmp_path: Path) -> None:
    for labels in ("needed", "welcome"):
        with pytest.raises(DataError, match="has the column 'label' twice"):
            load_dataset(table(tmp_path, "path,label,label", "a.png,x,x", "b.png,y,y"), labels)


def test_columns_of_further_kinds_are_passed_over_without_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    data = load_dataset(table(tmp_path, "path,label,value:x,time:y", "a.png,x,1,", "b.png,y,nan,-3"), training=False)
    assert (data.classes, data.targets) == (("x", "y"), ())


@pytest.mark.parametrize(
    ("columns", "row", "ending"),
    [
        ("path,label", "a.tif#z=3,x", "#z=3"),
        ("path,label,z,t", "a.tif,x,max,1", "#z=max&t=1"),
        ("path,label,Series", "a.tif,x,A/1/0", "#series=A/1/0"),
        ("path,label,channels", 'a.tif#z=0,x,"0,Cy#5"', "#z=0&channels=0,Cy%235"),
        ("path,label,level", "a.tif,x,", ""),
        ("path,label", "b#z=3.tif,x", ""),
        ("path,label,z", "b#z=3.tif,x,1", "#z=1"),
    ],
)
def test_a_choice_of_planes_per_image(tmp_path: Path, columns: str, row: str, ending: str) -> None:
    for name in ("a.tif", "b#z=3.tif"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(f"{columns}\n{row}\n")
    (image,) = read_csv(tmp_path / "list.csv", "needed", False).rows
    name = row.split(",")[0] if row.startswith("b#") else "a.tif"
    assert image.path == Path(f"{tmp_path / name}{ending}")
    assert image.key == f"{name}{ending}"


@pytest.mark.parametrize(
    ("columns", "row", "match"),
    [
        ("path,label,z", "a.tif#z=3,x,4", "line 2: z stands in the path and in a column"),
        ("path,label,z", "a.tif,x,min", "line 2: --z must be a number of at least 0, max or mean, not min"),
        ("path,label,t", "a.tif,x,1.5", "line 2: t must be a number, not 1.5"),
        ("path,label,level,mpp", "a.tif,x,1,0.5", "line 2: --level and --mpp both choose"),
        ("path,label", "a.tif#level=1&mpp=2,x", "line 2: --level and --mpp both choose"),
        ("path,label", "gone.tif#z=3,x", "line 2: no file .*gone.tif"),
        ("path,label", "a.tif#foo=3,x", "line 2: no file .*a.tif#foo=3"),
    ],
)
def test_an_impossible_choice_of_planes(tmp_path: Path, columns: str, row: str, match: str) -> None:
    (tmp_path / "a.tif").touch()
    (tmp_path / "list.csv").write_text(f"{columns}\n{row}\n")
    with pytest.raises(DataError, match=match):
        read_csv(tmp_path / "list.csv", "needed", False)
