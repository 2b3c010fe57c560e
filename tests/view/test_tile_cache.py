"""The cache keeps what was used last, within its bytes."""

from __future__ import annotations

from fitcli.view.tile_cache import OVERHEAD, TileCache


def test_the_least_recently_used_tile_goes_first() -> None:
    cache = TileCache(3 * (100 + OVERHEAD))
    for name in "abc":
        cache.put(name, bytes(100))
    assert cache.get("a") == bytes(100)
    cache.put("d", bytes(100))
    assert cache.get("b") is None
    assert None not in (cache.get("a"), cache.get("c"), cache.get("d"))
    assert cache.size_bytes == 3 * (100 + OVERHEAD)


def test_a_tile_above_the_limit_is_not_kept() -> None:
    cache = TileCache(1000)
    cache.put("a", bytes(10))
    cache.put("b", bytes(2000))
    assert cache.get("b") is None
    assert cache.get("a") == bytes(10)


def test_putting_twice_counts_once() -> None:
    cache = TileCache()
    cache.put("a", bytes(10))
    cache.put("a", bytes(10))
    assert cache.size_bytes == 10 + OVERHEAD
