"""Parts by name: registered in Python or by installed packages, of which broken ones disturb nobody but their users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.packages import install

from fitcli.plugins.registry import PluginError, Registry

GROUP = "fit.tests"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def registry() -> Registry[object]:
    return Registry("brush", GROUP, {"flat": min}, wanted="a function")


def test_registered_parts() -> None:
    brushes = registry()
    assert brushes.register("round", max) is max
    assert brushes.registers("fan")(sum) is sum
    assert (brushes.names(), brushes.added()) == (["flat", "round", "fan"], ["round", "fan"])
    assert (brushes.find("flat"), brushes.find("round"), brushes.find("fan")) == (min, max, sum)
    with pytest.raises(ValueError, match="there is a brush 'flat' already"):
        brushes.register("flat", max)
    with pytest.raises(ValueError, match="brush 'three' must be a function, not 3"):
        brushes.register("three", 3)


def test_parts_of_packages_are_imported_when_they_are_used(site: Path) -> None:
    install(
        site, "fit-brushes", {GROUP: {"wide": "fit_brushes:wide", "flat": "fit_brushes:other"}}, "wide = other = max\n"
    )
    brushes = registry()
    assert brushes.names() == ["flat", "wide"]
    assert "fit_brushes" not in sys.modules
    assert not brushes.load("round")
    assert brushes.load("wide")
    assert brushes.find("wide") is max
    assert brushes.find("flat") is min, "a package replaces no part of fit"
    sys.modules.pop("fit_brushes")


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(PluginError, match=r"^no brush 'oval'; there is flat; install the package that has it$"):
        registry().find("oval")


BROKEN = {
    "import": (
        "import no_such_module\n",
        r"cannot be imported \(ModuleNotFoundError: No module named 'no_such_module'\)",
    ),
    "raises": ("raise RuntimeError('no license')\n", r"cannot be imported \(RuntimeError: no license\)"),
    "exits": ("import sys\n\nsys.exit(3)\n", r"cannot be imported \(SystemExit: 3\)"),
    "object": ("other = 1\n", r"cannot be imported \(AttributeError: "),
    "kind": ("wide = 3\n", "must be a function, not 3"),
}


@pytest.mark.parametrize(("source", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_named(site: Path, source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "fit-broken", {GROUP: {"wide": "fit_broken:wide"}}, source, "2.1")
    brushes = registry()
    assert brushes.names() == ["flat", "wide"]
    assert brushes.find("flat") is min
    with pytest.raises(
        PluginError, match=f"^brush 'wide' {message}.*update or uninstall fit-broken 2.1, which adds it"
    ):
        brushes.find("wide")
    sys.modules.pop("fit_broken", None)


def test_two_packages_with_one_name(site: Path) -> None:
    for name in ("fit-one", "fit-two"):
        install(site, name, {GROUP: {"wide": f"{name.replace('-', '_')}:wide"}}, "wide = max\n")
    with pytest.raises(PluginError, match=r"brush 'wide' is in fit-\w+ 1.0 and in fit-\w+ 1.0; uninstall one of them"):
        registry().find("wide")


@pytest.mark.walk(2)
@pytest.mark.parametrize(
    "group", ["fit.losses", "fit.heads", "fit.formats", "fit.presets", "fit.denoisers", "fit.decoders"]
)
def test_help_imports_no_package(tmp_path: Path, group: str) -> None:
    install(tmp_path, "fit-broken", {group: {"wide": "fit_broken:wide"}}, "raise SystemExit(3)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fitcli.app import app; app(['train', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
