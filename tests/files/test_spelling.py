"""Files whose names are stored in another Unicode form than written."""

from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path

import pytest

from fitcli.files.spelling import existing_spelling

NFC, NFD = "K\u00e4se", "Ka\u0308se"


@pytest.mark.parametrize(("folder", "file"), list(product(("NFC", "NFD"), repeat=2)))
@pytest.mark.parametrize(("asked_folder", "asked_file"), list(product(("NFC", "NFD"), repeat=2)))
def test_each_part_of_a_path_has_a_form_of_its_own(
    tmp_path: Path, folder: str, file: str, asked_folder: str, asked_file: str
) -> None:
    def path(one: str, other: str) -> Path:
        return tmp_path / unicodedata.normalize(one, NFC) / "plain" / unicodedata.normalize(other, f"{NFC}.png")  # type: ignore[arg-type]

    path(folder, file).parent.mkdir(parents=True)
    path(folder, file).touch()
    found = existing_spelling(path(asked_folder, asked_file))
    assert found is not None
    assert found.samefile(path(folder, file))


def test_a_path_that_exists_is_as_it_is(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        (tmp_path / name).touch()
        assert str(existing_spelling(tmp_path / name)) == str(tmp_path / name)


def test_both_forms_of_a_folder_are_searched(tmp_path: Path) -> None:
    for folder, file in ((NFC, "a"), (NFD, "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    assert existing_spelling(tmp_path / NFC / "b") == tmp_path / NFD / "b"


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NFD).touch()
    monkeypatch.chdir(tmp_path)
    assert existing_spelling(Path(NFC)) == Path(NFD)


@pytest.mark.parametrize("name", ["gone", f"{NFC}/gone", NFC * 200, "a\0b", "\u00e4\0b"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    (tmp_path / NFC).mkdir()
    assert existing_spelling(tmp_path / name) is None


def test_links_in_circles_come_to_an_end(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        (tmp_path / name).symlink_to(".")
    assert existing_spelling(tmp_path.joinpath(*[NFC] * 30, "gone")) is None
