"""The parts of a dry run cover all groups."""

from __future__ import annotations

from itertools import pairwise

from fitcli.memory.dry_execution import part_slices
from fitcli.memory.sizes import IMAGE_GROUPS, IMAGES, dry_sizes


def test_parts_are_slices_of_all_groups() -> None:
    for some_kept in (False, True):
        parts = part_slices(dry_sizes(IMAGES, True, some_kept))
        assert parts[0].start == 0
        assert parts[-1].stop == IMAGES * IMAGE_GROUPS
        assert all(one.stop == other.start for one, other in pairwise(parts))
    assert part_slices(dry_sizes(1, handfuls=False)) == [slice(0, IMAGE_GROUPS)]
