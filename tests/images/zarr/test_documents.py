"""Documents of zarr with lists without end are refused before they are parsed further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fitcli.errors import ImageError
from fitcli.images.zarr.documents import MAX_AXES, MAX_CODECS, group_attributes, read_document


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "document",
    [
        {"shape": [1] * (MAX_AXES + 1)},
        {"codecs": [{"name": "bytes"}] * (MAX_CODECS + 1)},
        {"filters": [{"id": "delta"}] * (MAX_CODECS + 1)},
        {"chunk_grid": {"configuration": {"chunk_shape": [1] * (MAX_AXES + 1)}}},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{}] * (MAX_CODECS + 1)}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"index_codecs": [{}] * (MAX_CODECS + 1)}}]},
    ],
)
def test_lists_without_end(tmp_path: Path, document: dict[str, Any]) -> None:
    write(tmp_path, "zarr.json", document)
    with pytest.raises(ImageError, match="in its metadata; fit reads at most"):
        read_document(tmp_path)


def test_attributes_may_be_long(tmp_path: Path) -> None:
    document = {"shape": [1, 1], "attributes": {"values": [1] * 1000}, "consolidated_metadata": {"x": [1] * 1000}}
    write(tmp_path, "zarr.json", document)
    assert read_document(tmp_path) == document
    assert group_attributes(tmp_path) == document["attributes"]


def test_nothing_and_no_object(tmp_path: Path) -> None:
    assert (read_document(tmp_path), group_attributes(tmp_path)) == ({}, {})
    write(tmp_path, ".zattrs", {"a": 1})
    assert group_attributes(tmp_path) == {"a": 1}
    write(tmp_path, ".zarray", [1])
    with pytest.raises(ValueError, match="no JSON object"):
        read_document(tmp_path)
