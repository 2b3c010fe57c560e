"""Packages that add parts to fit by entry points, as if they were installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitcli.plugins.registry import Registry


def install(site: Path, name: str, entries: Mapping[str, Mapping[str, str]], source: str, version: str = "1.0") -> None:
    """Write a distribution of one module into a folder that is in `sys.path` or will be.

    Args:
        site: The folder.
        name: Name of the distribution and, with "_" for "-", of its module.
        entries: "module:object" by name of the entry point, by group.
        source: Source of the module.
        version: Version of the distribution.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in each.items()) for group, each in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(lines) + "\n")
    (site / f"{name.replace('-', '_')}.py").write_text(source)


@contextmanager
def restored(*registries: Registry[Any]) -> Iterator[None]:
    """Forget, at the end, the parts that were added meanwhile."""
    before = [dict(each._parts) for each in registries]
    try:
        yield
    finally:
        for each, parts in zip(registries, before, strict=True):
            each._parts.clear()
            each._parts.update(parts)
