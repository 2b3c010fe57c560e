"""Reads how much memory and how many cores this process may use: in a container or a job, less than the machine has.

A control group (cgroup) limits its own processes and those of all groups within it, so the smallest limit on the way up
from the group of this process counts. Groups come in two versions, which a machine may mix: version 1 has one tree of
groups per controller ("memory", "cpu"), version 2 has one tree for all. See `man 7 cgroups`, and `cgroup-v1/memory.rst`
and `cgroup-v2.rst` in the documentation of Linux.

Imports the standard library only. All functions take the root of the file system, for tests.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
"""Root of the file system that holds /proc and /sys."""

LIMITS = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}
"""Per version, the files with a memory limit, in bytes. Beyond `memory.high` processes are slowed down to a halt."""

USED = {1: "memory.usage_in_bytes", 2: "memory.current"}
"""Per version, the file with the memory that a group uses, in bytes, page cache included."""

RECLAIMABLE = {
    1: ("total_inactive_file", "total_active_file"),
    2: ("inactive_file", "active_file", "slab_reclaimable"),
}
"""Per version, the entries of memory.stat that the kernel frees when memory is short: page cache above all."""


class _Group(NamedTuple):
    """A control group: its folder and its version."""

    folder: Path
    version: int


def available_bytes(root: Path = ROOT) -> int:
    """Return the bytes of host memory that this process may still take without swapping."""
    return min([_machine_bytes(root), *_group_bytes(root), *_process_bytes(root)])


def available_cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use: those that it may run on, or fewer if time is limited.

    A part of a core counts as one.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return min(count, _granted_cores(root) or count)


def limit_threads(root: Path = ROOT) -> None:
    """Limit the threads of torch to the granted cores; call before the first import of torch.

    OpenMP starts a thread for every core that the process may run on, whatever share of their time a group grants. The
    kernel then stops all threads for most of the time. A number that the user chose stays.
    """
    if _granted_cores(root) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores(root)))


def _machine_bytes(root: Path) -> int:
    available = _entries(root / "proc/meminfo").get("MemAvailable")
    if available is not None:
        return available * 1024
    # Without /proc the free memory is unknown: assume half of the total.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _group_bytes(root: Path) -> Iterator[int]:
    """Yield the bytes left below each limit of the groups."""
    for folder, version in _groups(root, "memory"):
        limits = [limit for name in LIMITS[version] if (limit := _number(folder / name)) is not None]
        used = _number(folder / USED[version])
        if not limits or used is None:
            continue
        entries = _entries(folder / "memory.stat")
        reclaimable = sum(entries.get(name, 0) for name in RECLAIMABLE[version])
        yield max(min(limits) - max(used - reclaimable, 0), 0)


def _process_bytes(root: Path) -> Iterator[int]:
    """Yield the bytes left below each limit of the process itself, see `ulimit -v` and `ulimit -d`."""
    if sys.platform == "win32":
        return
    import resource

    entries = _entries(root / "proc/self/status")
    for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and name in entries:
            yield max(limit - entries[name] * 1024, 0)


@lru_cache(maxsize=1)
def _granted_cores(root: Path) -> int | None:
    """Return the number of cores whose time the groups grant, rounded up; None without a limit.

    Cached: the decoder asks for every chunk, and the limit of a running job rarely changes.
    """
    granted: list[int] = []
    for folder, version in _groups(root, "cpu"):
        if version == 2:
            quota, period = (*_words(folder / "cpu.max"), "", "")[:2]
        else:
            quota, period = (" ".join(_words(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        # Without a limit the quota is "max" or -1.
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            granted.append(math.ceil(int(quota) / int(period)))
    return min(granted, default=None)


def _groups(root: Path, controller: str) -> Iterator[_Group]:
    """Yield the groups of this process that a controller may limit, from the innermost one to the outermost visible."""
    groups = _own_groups(root)
    for version, key in ((1, controller), (2, "")):
        mounts, own = _mounts(root, version, controller), groups.get(key, PurePosixPath("/"))
        if not mounts:
            continue
        within = [(mount, own.relative_to(top)) for top, mount in mounts if own.is_relative_to(top)]
        # A container may see only its own group, at the mount point, but the path as the machine sees it.
        mount, path = within[0] if within else (mounts[0][1], PurePosixPath())
        path = PurePosixPath() if ".." in path.parts else path
        yield from (_Group(mount / part, version) for part in (path, *path.parents))


def _own_groups(root: Path) -> dict[str, PurePosixPath]:
    """Return the path of the group of this process per controller of version 1, and under "" that of version 2."""
    paths: dict[str, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        paths |= {name: PurePosixPath(path) for name in controllers.split(",")}
    return paths


def _mounts(root: Path, version: int, controller: str) -> list[tuple[PurePosixPath, Path]]:
    """Return (path of the group, folder) per place where groups are visible; see `man 5 proc_pid_mountinfo`."""
    kind, mounts = {1: "cgroup", 2: "cgroup2"}[version], []
    lines = _lines(root / "proc/self/mountinfo")
    if not lines:
        usual = root / "sys/fs/cgroup"
        return [(PurePosixPath("/"), usual if version == 2 else usual / controller)]
    for line in lines:
        mount, _, system = (part.split() for part in line.partition(" - "))
        if len(mount) > 4 and len(system) > 2 and system[0] == kind:
            top, folder = (_unescaped(text) for text in mount[3:5])
            if version == 2 or controller in system[2].split(","):
                mounts.append((PurePosixPath(top), root / folder.lstrip("/")))
    return mounts


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; [] if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _number(path: Path) -> int | None:
    """Return the number in a file; None for "max" or without the file."""
    words = _words(path)
    return int(words[0]) if words and words[0].isdecimal() else None


def _entries(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number per line, such as /proc/meminfo or memory.stat."""
    lines = (line.split() for line in _lines(path))
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
