"""PASCAL VOC files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.annotations.objects.voc_reader import read_voc
from fitcli.errors import ImageError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6.5</ymax></bndbox>"
TREE = f"<object><name> Tree </name><difficult>1</difficult>{BOX}</object>"


def written(folder: Path, content: str) -> Path:
    (folder / "a.xml").write_text(content)
    return folder / "a.xml"


def test_boxes(tmp_path: Path) -> None:
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    found = read_voc(written(tmp_path, f"<annotation>{size}{TREE}{TREE.replace('Tree', 'Car')}</annotation>"))
    assert found.outlines.boxes().tolist() == [[1, 2, 4, 6.5]] * 2
    assert found.counts() == {"Tree": 1, "Car": 1}
    assert found.size == (40, 60)
    assert read_voc(written(tmp_path, "<annotation/>")).size is None
    assert read_voc(written(tmp_path, "<annotation/>")).image == ""
    assert read_voc(written(tmp_path, "<annotation><filename> a.jpg\n</filename></annotation>")).image == "a.jpg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "is not valid XML"),
        ("<html/>", "outermost element is 'html'"),
        (f"<annotation><object>{BOX}</object></annotation>", "object 1 has no name or no bndbox"),
        (f"<annotation>{TREE.replace('6.5', 'x')}</annotation>", "object 1 has a side that is no number"),
        (f"<annotation>{TREE.replace('<xmin>1', '<xmin>9')}</annotation>", "object 1 has its sides exchanged"),
        (
            '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><annotation>&d;</annotation>',
            "declares a document type",
        ),
    ],
)
def test_impossible_files(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_voc(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        read_voc(tmp_path / "none.xml")
