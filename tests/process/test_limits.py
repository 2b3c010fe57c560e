"""Memory and cores of a process: the smallest limit of its groups counts, page cache is free.

Every test lays out /proc and /sys of a machine in a folder.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from fitcli.images.decode_pool import usable_cores
from fitcli.memory import machine
from fitcli.process import limits
from fitcli.process.limits import available_bytes, available_cores, limit_threads

GIB = 1 << 30
UNLIMITED = 0x7FFFFFFFFFFFF000
"""The limit that version 1 shows for none."""

CORES = 64
"""Cores that the process may run on."""

MOUNTS = {
    1: "31 24 0:28 {top} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "32 24 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct\n",
    2: "30 24 0:27 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
}
FOLDERS = {(1, "memory"): "memory", (1, "cpu"): "cpu,cpuacct", (2, "memory"): ".", (2, "cpu"): "."}


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on 64 cores and has no limit of its own."""
    limits._granted_cores.cache_clear()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def system(root: Path, groups: str, mounts: str, free: int = 250 * GIB) -> Path:
    """Lay out /proc of a machine with some free memory."""
    write(root / "proc/meminfo", f"MemTotal: {300 * GIB >> 10} kB\nMemAvailable:   {free >> 10} kB")
    write(root / "proc/self/cgroup", groups)
    write(root / "proc/self/mountinfo", f"22 1 0:5 / /proc rw - proc proc rw\n{mounts}")
    return root


def own_group(version: int, path: str) -> str:
    return f"0::{path}" if version == 2 else f"9:name=systemd:/x\n4:cpu,cpuacct:{path}\n2:memory:{path}"


def limit_memory(root: Path, version: int, group: str, limit: object, used: int, cache: int = 0) -> None:
    """Write the files of a group; half of its page cache is active."""
    folder = root / "sys/fs/cgroup" / FOLDERS[version, "memory"] / group
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, used), strict=True):
        write(folder / name, value)
    total = "" if version == 2 else "total_"
    # Version 1 also lists the page cache of the group alone, without the groups within.
    own = "" if version == 2 else "inactive_file 7\nactive_file 7\n"
    write(
        folder / "memory.stat",
        f"cache {cache}\n{own}{total}shmem 5000\n{total}inactive_file {cache - cache // 2}\n"
        f"{total}active_file {cache // 2}",
    )


def limit_cores(root: Path, version: int, group: str, quota: object, period: int = 100_000) -> None:
    folder = root / "sys/fs/cgroup" / FOLDERS[version, "cpu"] / group
    if version == 2:
        write(folder / "cpu.max", f"{quota} {period}")
        return
    write(folder / "cpu.cfs_quota_us", -1 if quota == "max" else quota)
    write(folder / "cpu.cfs_period_us", period)


def none(version: int) -> object:
    return "max" if version == 2 else UNLIMITED


@pytest.mark.parametrize("version", [1, 2])
def test_page_cache_is_free(tmp_path: Path, version: int) -> None:
    root = system(tmp_path, own_group(version, "/job"), MOUNTS[version].format(top="/"))
    limit_memory(root, version, "job", 16 * GIB, used=16 * GIB - 4096, cache=14 * GIB)
    assert available_bytes(root) == 14 * GIB + 4096


def test_reclaimable_kernel_memory_is_free(tmp_path: Path) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_memory(root, 2, "job", 16 * GIB, used=10 * GIB, cache=2 * GIB)
    with (root / "sys/fs/cgroup/job/memory.stat").open("a") as file:
        file.write(f"slab_reclaimable {GIB}\nslab_unreclaimable {3 * GIB}\n")
    assert available_bytes(root) == 9 * GIB


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("level", range(4))
def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path, version: int, level: int) -> None:
    """As in Slurm: the limit may be that of the job, of the step, or of the slice around it."""
    path = "system.slice/slurmstepd.scope/job_7/step_0"
    root = system(tmp_path, own_group(version, f"/{path}"), MOUNTS[version].format(top="/"))
    for number in range(4):
        group = "/".join(path.split("/")[: number + 1])
        limit_memory(root, version, group, 16 * GIB if number == level else none(version), used=GIB)
        limit_cores(root, version, group, 300_000 if number == level else "max")
    # A sibling is none of its business.
    limit_memory(root, version, "system.slice/other", GIB, used=GIB)
    assert available_bytes(root) == 15 * GIB
    assert available_cores(root) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_a_full_group_around_a_wide_one(tmp_path: Path, version: int) -> None:
    """What counts is the room that is left, not the limit."""
    root = system(tmp_path, own_group(version, "/outer/inner"), MOUNTS[version].format(top="/"))
    limit_memory(root, version, "outer", 100 * GIB, used=99 * GIB)
    limit_memory(root, version, "outer/inner", 16 * GIB, used=0)
    assert available_bytes(root) == GIB
    limit_memory(root, version, "outer", 100 * GIB, used=101 * GIB)
    assert available_bytes(root) == 0


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("top", "path"), [("/", "/"), ("/docker/abc", "/docker/abc"), ("/../..", "/"), ("/..", "/../x")]
)
def test_a_container_sees_its_group_at_the_mount_point(tmp_path: Path, version: int, top: str, path: str) -> None:
    root = system(tmp_path, own_group(version, path), MOUNTS[version].format(top=top))
    limit_memory(root, version, "", 8 * GIB, used=GIB)
    limit_cores(root, version, "", 150_000)
    assert available_bytes(root) == 7 * GIB
    assert available_cores(root) == 2, "a part of a core counts as one"


def test_both_versions_at_once(tmp_path: Path) -> None:
    """As systemd sets up a machine in its hybrid mode: version 2 has no controllers."""
    mounts = MOUNTS[1].format(top="/") + "33 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    root = system(tmp_path, f"{own_group(1, '/job')}\n0::/job", mounts)
    write(root / "sys/fs/cgroup/unified/job/cgroup.procs", 1)
    limit_memory(root, 1, "job", 16 * GIB, used=GIB)
    limit_cores(root, 1, "job", 400_000)
    assert (available_bytes(root), available_cores(root)) == (15 * GIB, 4)


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_limit_the_machine_counts(tmp_path: Path, version: int) -> None:
    root = system(tmp_path, own_group(version, "/job"), MOUNTS[version].format(top="/"))
    limit_memory(root, version, "job", none(version), used=200 * GIB)
    limit_cores(root, version, "job", "max")
    assert (available_bytes(root), available_cores(root)) == (250 * GIB, CORES)


@pytest.mark.parametrize("meminfo", ["MemTotal: 90 kB", None], ids=["old kernel", "not Linux"])
def test_without_a_number_half_of_the_machine_is_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meminfo: str | None
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    if meminfo is not None:
        write(tmp_path / "proc/meminfo", meminfo)
    assert available_bytes(tmp_path) == 1000 * 4096 // 2
    # Nor does it take /proc to see the limit of a container.
    write(tmp_path / "sys/fs/cgroup/memory.max", 40_000)
    write(tmp_path / "sys/fs/cgroup/memory.current", 30_000)
    assert available_bytes(tmp_path) == 10_000


def test_the_machine_may_have_less_than_the_limit(tmp_path: Path) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"), free=3 * GIB)
    limit_memory(root, 2, "job", 16 * GIB, used=GIB)
    assert available_bytes(root) == 3 * GIB


def test_the_limit_that_slows_a_process_down(tmp_path: Path) -> None:
    """`MemoryHigh=` of systemd: beyond it, processes hardly run."""
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_memory(root, 2, "job", "max", used=GIB)
    write(root / "sys/fs/cgroup/job/memory.high", 5 * GIB)
    assert available_bytes(root) == 4 * GIB


def test_names_with_spaces_and_colons(tmp_path: Path) -> None:
    mounts = MOUNTS[2].format(top="/").replace("/sys/fs/cgroup", r"/sys/fs/cgroup/of\040all")
    root = system(tmp_path, own_group(2, "/a: b/c"), mounts)
    limit_memory(root, 2, "of all/a: b/c", 16 * GIB, used=GIB)
    assert available_bytes(root) == 15 * GIB


@pytest.mark.parametrize(
    "missing",
    ["proc/self/cgroup", "sys/fs/cgroup/job/memory.max", "sys/fs/cgroup/job/memory.current",
     "sys/fs/cgroup/job/cpu.max"],
)  # fmt: skip
@pytest.mark.parametrize("content", [None, "", "garbage\n", "0::\n", "max\n"])
def test_unreadable_files_limit_nothing(tmp_path: Path, missing: str, content: str | None) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_memory(root, 2, "job", 16 * GIB, used=GIB)
    limit_cores(root, 2, "job", 200_000)
    (root / missing).unlink()
    if content is not None:
        (root / missing).write_text(content)
    assert available_bytes(root) == (15 * GIB if missing.endswith("cpu.max") else 250 * GIB)
    assert available_cores(root) == (2 if "/memory." in missing else CORES)


@pytest.mark.parametrize("version", [1, 2])
def test_without_mountinfo_the_usual_places_are_read(tmp_path: Path, version: int) -> None:
    root = system(tmp_path, own_group(version, "/job"), "")
    (root / "proc/self/mountinfo").unlink()
    limit_memory(root, version, "job", 16 * GIB, used=GIB)
    assert available_bytes(root) == 15 * GIB


def test_without_statistics_all_that_is_used_counts(tmp_path: Path) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_memory(root, 2, "job", 16 * GIB, used=10 * GIB, cache=9 * GIB)
    (root / "sys/fs/cgroup/job/memory.stat").unlink()
    assert available_bytes(root) == 6 * GIB


@pytest.mark.parametrize(("kind", "name"), [(resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")])
def test_limits_of_the_process_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, name: str) -> None:
    """`ulimit -v`, which Grid Engine and PBS set."""
    root = system(tmp_path, "", "")
    write(root / "proc/self/status", f"Name:\tfit\n{name}:\t {3 * GIB >> 10} kB")
    monkeypatch.setattr(resource, "getrlimit", lambda each: (10 * GIB if each == kind else -1, -1))
    assert available_bytes(root) == 7 * GIB


def test_memory_and_readers_ask_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_memory(root, 2, "job", 16 * GIB, used=16 * GIB, cache=14 * GIB)
    limit_cores(root, 2, "job", 200_000)
    monkeypatch.setattr(limits.available_bytes, "__defaults__", (root,))
    monkeypatch.setattr(limits.available_cores, "__defaults__", (root,))
    assert machine.available_bytes() == 14 * GIB
    assert usable_cores() == 2


@pytest.mark.parametrize(
    ("quota", "chosen", "threads"), [(200_000, None, "2"), (200_000, "5", "5"), ("max", None, None)]
)
def test_torch_gets_as_many_threads_as_are_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: object, chosen: str | None, threads: str | None
) -> None:
    root = system(tmp_path, own_group(2, "/job"), MOUNTS[2].format(top="/"))
    limit_cores(root, 2, "job", quota)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    limit_threads(root)
    assert os.environ.get("OMP_NUM_THREADS") == threads
