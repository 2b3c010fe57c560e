"""JSON that is read piece by piece is what `json` reads whole, in bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcli.annotations import json_stream as module
from fitcli.annotations.json_stream import JsonStream
from fitcli.errors import ImageError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def read(path: Path) -> Any:
    with JsonStream(path) as stream:
        if stream.peek() == "[":
            value: Any = list(stream.elements())
        elif stream.peek() == "{":
            value = {name: stream.value() for name in stream.members()}
        else:
            value = stream.value()
        stream.end()
    return value


@settings(max_examples=60)
@given(value=values, chunk=st.integers(1, 9), indent=st.sampled_from([None, 0, 3]), ascii=st.booleans())
def test_any_value_is_read_in_chunks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, value: Any, chunk: int, indent: int | None, ascii: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    path.write_bytes(text.encode("utf-8", "surrogatepass" if ascii else "replace"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        patch.setattr(module, "MAX_BLANKS", 100)
        assert read(path) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("compressed", [False, True])
def test_encodings_and_compression_are_told_by_the_first_bytes(tmp_path: Path, encoding: str, compressed: bool) -> None:
    data = '[{"name": "Grün 腫瘍"}, 7]'.encode(encoding)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if compressed else data)
    assert read(path) == [{"name": "Grün 腫瘍"}, 7]


BROKEN = {
    "": "Expecting value at character 0",
    "[1, 2": "end of the file",
    "[1 2]": "']' expected and '2' found at character 3",
    "[1, ]": "Expecting value at character 4",
    '[{"a": }]': "Expecting value at character 7",
    '{"a": 1, "a": 2}': "two members 'a'",
    "{1: 2}": "the name of a member is no text",
    '{"a" 1}': "':' expected",
    "[1] [2]": "goes on after the end of its JSON, at character 4",
    '{"a": 1}\n{"a": 2}': "lines of GeoJSON",
    '["text': "Unterminated string starting at character 1",
    "[tru]": "Expecting value",
    "[" * 100_000: "nested too deeply",
    '[{"a":' * 10_000: "nested too deeply",
    "[" + "1" * 5000 + "]": "a number that cannot be read",
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:12])
def test_broken_json_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ImageError, match=BROKEN[text]) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "; " in str(caught.value), "what to do"
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(b"[" + b"1," * 100_000 + b"1]")
    cases = {
        "cut.gz": (whole[:100], "it may be cut off"),
        "damaged.gz": (whole[:60] + b"\xff" * 20 + whole[80:], "cannot be read"),
        "latin": ("[\"Gr\xfcn\"]".encode("latin-1"), "not text in UTF-8"),
        "binary": (bytes(range(128, 256)) * 9, "not text in UTF-8"),
    }  # fmt: skip
    for name, (data, reason) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=reason):
            read(tmp_path / name)
    with pytest.raises(ImageError, match="No such file"):
        read(tmp_path / "missing")
    with pytest.raises(ImageError, match="directory"):
        read(tmp_path)


def test_bombs_are_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"CHUNK": 1 << 12, "MAX_BYTES": 1 << 19, "MAX_VALUE": 1 << 18, "MAX_PARTS": 1 << 13, "MAX_BLANKS": 1 << 16}
    for name, limit in limits.items():
        monkeypatch.setattr(module, name, limit)
    bombs = {
        "numbers": (b"[" + b"1," * (1 << 19), "GiB of text"),
        "blanks": (b"[" + b" " * (1 << 17) + b"1]", "blank characters in a row"),
        "text": (b'["' + b"a" * (1 << 19) + b'"]', "single value of more than 262,144 characters"),
        "lists": (b"[[" + b"[]," * (1 << 17) + b"1]]", "single value of more than 8,192 numbers and lists"),
        "members": (b"{" + b",".join(b'"%d":1' % n for n in range(2000)) + b"}", "more than 1,000 members"),
    }
    for name, (data, reason) in bombs.items():
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, 1))
        del data
        tracemalloc.start()
        try:
            with pytest.raises(ImageError, match=reason):
                read(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 << 20, name


def test_memory_is_that_of_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1 << 12)
    path = tmp_path / "long.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"[" + b"[1.25,2.5,3.75]," * 20_000 + b"0]")
    with JsonStream(path) as stream:
        tracemalloc.start()
        try:
            assert sum(1 for _ in stream.elements()) == 20_001
            assert tracemalloc.get_traced_memory()[1] < 1 << 18
        finally:
            tracemalloc.stop()


def read_together(path: Path) -> tuple[list[Any], int]:
    """Read an array with its values taken as text where that is possible; return them and the number of texts."""
    texts: list[str] = []
    values: list[Any] = []

    def take(text: str) -> None:
        values.extend(json.loads(text))
        texts.append(text)

    with JsonStream(path) as stream:
        for value in stream.elements(take):
            if value is not module.TAKEN:
                values.append(value)
        stream.end()
    return values, len(texts)


objects = st.dictionaries(st.sampled_from(["a", "b", "}, {"]), values, min_size=1, max_size=3)


@settings(max_examples=60)
@given(items=st.lists(objects | values, max_size=20), chunk=st.integers(4, 99), indent=st.sampled_from([None, 0, 3]))
def test_values_are_the_same_together(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps(items, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        patch.setattr(module, "BATCH", 60)
        patch.setattr(module, "MAX_BLANKS", 100)
        assert read_together(path)[0] == items


def test_objects_are_taken_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1000)
    path = tmp_path / "file.json"
    items = [{"a": [{"b": n}, {"b": n}], "b": "}, {"} for n in range(500)]
    path.write_text(json.dumps(items))
    values, texts = read_together(path)
    assert values == items
    assert 20 < texts < 100


@pytest.mark.parametrize("place", [5, 77, 99])
def test_an_error_has_its_place_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    monkeypatch.setattr(module, "BATCH", 1000)
    path, parts = tmp_path / "file.json", ['{"a": 1}'] * 100
    parts[place] = '{"a": }'
    path.write_text(f"[{','.join(parts)}]")
    with pytest.raises(ImageError, match=f"Expecting value at character {1 + 9 * place + 6}"):
        read_together(path)


def test_what_only_looks_like_an_end_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1000)
    path, tried = tmp_path / "file.json", []
    path.write_text(json.dumps([{"a": n} for n in range(3000)]))

    def refuse(text: str) -> None:
        tried.append(text)
        raise ValueError

    with JsonStream(path) as stream:
        assert list(stream.elements(refuse)) == [{"a": n} for n in range(3000)]
    assert len(tried) == module.MOST_FAILURES
