"""Damages and forges files. Each mutation is a function of the bytes of a file and a random generator."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random, list[bytes]], bytes]
"""Maps (file, random generator, other files to take pieces from) to the damaged file."""

INTEGERS = (0, 1, 2, 3, 7, 8, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
"""Numbers that are written into a file."""

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 2**31, 2**53, 10**12, 10**40, 0.5, 1e300, "", "..", "../..", "/etc/passwd", "NaN",
    "zstd", "bytes", "lzma", "pickle", "float64", "uint8", "|O", "\0", [], {}, [[]], [0], [1, 1, 1], [10**9] * 3,
)  # fmt: skip
"""Values that replace a value of a JSON document."""


def truncate(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Cut the file off anywhere."""
    return data[: rng.randrange(len(data) + 1)]


def flip(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Flip one to eight bits."""
    damaged = bytearray(data)
    for _bit in range(rng.randint(1, 8)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def scribble(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Overwrite a run of bytes with zeros, ones or noise."""
    start = rng.randrange(len(data))
    count = min(rng.choice((1, 4, 16, 64, 512, 4096)), len(data) - start)
    fill = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))
    return data[:start] + fill + data[start + count :]


def splice(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Insert a piece of this or another file anywhere, or overwrite with it."""
    source = rng.choice([data, *others])
    start = rng.randrange(len(source) or 1)
    piece = source[start : start + rng.choice((1, 8, 64, 1024, 65536))]
    at = rng.randrange(len(data) + 1)
    return data[:at] + piece + data[at + rng.choice((0, len(piece))) :]


def cut_out(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Remove a piece."""
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 2, 8, 100, 1000)) :]


def forge_number(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Write a number of 1 to 8 bytes anywhere, most often near the beginning or the end."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(INTEGERS) % 2 ** (8 * size)
    near = min(len(data), 300)
    at = rng.choice((rng.randrange(near), max(len(data) - rng.randrange(1, near + 1), 0), rng.randrange(len(data))))
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def forge_text(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Replace a number that is written in digits: a count in a description, an attribute, or a text header."""
    places = list(re.finditer(rb"\d+", data))
    if not places:
        return forge_number(data, rng, [])
    place = rng.choice(places)
    value = rng.choice((0, 1, 2, 255, 4095, 65535, 10**6, 10**8, 2**31, 10**12, 10**18))
    return data[: place.start()] + str(value).encode() + data[place.end() :]


def forge_tag(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Change the code, type, count or value of an entry of a TIFF directory."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    entry, form, counter = (20, "HHQQ", "Q") if big else (12, "HHII", "H")
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + counter, data, start)
        at = start + struct.calcsize(order + counter) + entry * rng.randrange(min(count, 100))
        fields = list(struct.unpack_from(order + form, data, at))
    except (struct.error, ValueError):
        return forge_number(data, rng, [])
    place = rng.choice((0, 1, 2, 3, 3, 3))
    limit = 2 ** (16 if place < 2 else 64 if big else 32)
    fields[place] = (
        rng.choice((*INTEGERS, fields[place] + 1, fields[place] - 1, fields[place] * 2, 258, 259, 322)) % limit
    )
    damaged = bytearray(data)
    struct.pack_into(order + form, damaged, at, *fields)
    return bytes(damaged)


def forge_json(data: bytes, rng: random.Random, _: list[bytes]) -> bytes:
    """Replace, remove or double a value anywhere in a JSON document."""
    document = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            visit(node[key])

    visit(document)
    if not places:
        return b"[]"
    home, key = rng.choice(places)
    what = rng.randrange(6)
    if what == 0:
        del home[key]
    elif what == 1 and isinstance(home, list):
        home.append(home[key])
    else:
        home[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Apply one to three mutations that suit the file."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        fitting: list[Mutation] = [truncate, flip, scribble, splice, cut_out, forge_number, forge_text]
        if data[:2] in (b"II", b"MM"):
            fitting += [forge_tag] * 6 + [forge_text] * 2
        if data[:1] == b"{":
            fitting += [forge_json] * 12
        if not data:
            return rng.randbytes(rng.randrange(100))
        try:
            data = rng.choice(fitting)(data, rng, others)
        except ValueError:  # damaged JSON cannot be forged
            data = flip(data, rng, others)
    return data
