"""Where a command may write is found out before any work, and nothing is left by finding out."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.privileges import no_privileges, public_folder
from support.system_calls import names

from fitcli.errors import FitError
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.files.publish import Publication


def test_the_folder_of_a_file_has_to_exist(tmp_path: Path) -> None:
    check_output_file("--csv", tmp_path / "a.csv")
    with pytest.raises(FitError, match=r"--csv .*a.csv: no folder .*nowhere; make it first"):
        check_output_file("--csv", tmp_path / "nowhere" / "a.csv")
    assert names(tmp_path) == []


def test_a_folder_can_be_made_with_those_above_it(tmp_path: Path) -> None:
    check_output_folder("--out", tmp_path / "x" / "y")
    (tmp_path / "file").touch()
    with pytest.raises(FitError, match=r"--out .*y: cannot be written to \(Not a directory\); choose another place"):
        check_output_folder("--out", tmp_path / "file" / "y")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_takes_no_files(tmp_path: Path) -> None:
    with public_folder() as folder:
        folder.chmod(0o500)
        with no_privileges():
            for check in (check_output_file, check_output_folder):
                with pytest.raises(FitError, match=r"--out .*a: cannot be written to \(Permission denied\); choose"):
                    check("--out", folder / "a")


@pytest.mark.parametrize("linked", [False, True])
def test_what_a_killed_process_had_moved_away_is_put_back(tmp_path: Path, linked: bool) -> None:
    """Before anybody looks whether something stands there that must not be replaced."""
    path = tmp_path / "link" if linked else tmp_path / "a"
    if linked:
        path.symlink_to("a")
    killed = Publication(tmp_path / "a", folder=True)
    killed.path.with_name("old").mkdir()
    (killed.path.with_name("old") / "a").write_text("old")
    check_output_file("--out", path)
    assert not (tmp_path / "a").exists(), "another process is at it"
    killed._staging.close()
    check_output_file("--out", path)
    assert path.read_text() == "old"
    assert names(tmp_path) == (["a", "link"] if linked else ["a"])


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "image.tif").touch()
    (tmp_path / "link.tif").symlink_to("image.tif")
    check_not_replaced("--out", [tmp_path / "a.tif"], [tmp_path / "image.tif"])
    for target in ("image.tif", "link.tif", "../" + tmp_path.name + "/image.tif"):
        with pytest.raises(FitError, match=r"--out .* would replace what this command reads or writes"):
            check_not_replaced("--out", [tmp_path / "a.tif", tmp_path / target], [tmp_path / "image.tif"])
