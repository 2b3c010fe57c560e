"""Reads JSON of any length piece by piece, in bounded memory. It decodes one value of an array at a time.

Files may be compressed (gzip), and encoded as UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from fitcli.errors import ImageError, first_line

CHUNK = 1 << 20
"""Bytes that are read at a time."""

MAX_BYTES = 4 << 30
"""Most bytes of a file, decompressed. It bounds the time."""

MAX_VALUE = 1 << 27
"""Most characters of a value that is decoded as a whole."""

MAX_PARTS = 4_500_000
"""Most numbers, texts and brackets of such a value: a ring of a million points with heights has four million."""

MAX_BLANKS, MAX_MEMBERS = 1 << 20, 1000
"""Most blank characters in a row, and members of the outermost object."""

BLANKS = re.compile(r"[ \t\n\r]*")

ADVICE = "export it again"
"""What to do about a file that cannot be read, for messages."""

BATCH = 1 << 18
"""Most characters of values that are decoded together: while they are, no other thread runs."""

MOST_ENDS, MOST_FAILURES = 100, 20
"""Brackets that are looked at for the end of a batch, and batches that cannot be decoded before each value is alone."""

TAKEN = object()
"""Stands for values that were taken as text."""

FIRST_NAME = re.compile(r'\{[ \t\n\r]*+"[^"\\]{1,100}+"')
"""How an object begins."""

COMMA = re.compile(r"[ \t\n\r]*+,[ \t\n\r]*+")

TAIL = 16
"""Characters before the end of the text in which an error may come from the cut: a number, a word, an escape."""


class JsonStream:
    """A JSON text that is read from its beginning to its end. Use it as a context manager.

    Args:
        path: The file.

    Raises:
        ImageError: From all methods: the file cannot be read, is no JSON, or is beyond a limit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text, self._place, self._before, self._bytes, self._ended = "", 0, 0, 0, False
        self._parser = json.JSONDecoder()
        try:
            self._file = _open(path)
        except OSError as error:
            raise ImageError(path, f"cannot be read ({error.strerror or error})") from None
        try:
            first = self._read(max(CHUNK, 4))
            self._decoder = codecs.getincrementaldecoder(json.detect_encoding(first[:4]))()
            self._text = self._decode(first)
        except ImageError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def peek(self) -> str:
        """Return the next character that is not blank, without passing it; an empty text at the end."""
        blanks = 0
        while True:
            found = BLANKS.match(self._text, self._place)
            end = found.end() if found else self._place
            blanks += end - self._place
            self._place = end
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                return ""
            if blanks > MAX_BLANKS:
                raise self.error(f"has more than {MAX_BLANKS:,} blank characters in a row")
            self._fill()

    def value(self) -> Any:
        """Decode the next value whole. Of members of the same name, the last one counts."""
        self.peek()
        while True:
            try:
                value, end = self._parser.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - TAIL or error.msg.startswith("Unterminated")
                if self._ended or not cut:
                    place = self._before + error.pos
                    what = error.msg.removesuffix(" at")
                    raise self.error(f"is not valid JSON ({what} at character {place:,})") from None
            except RecursionError:
                raise self.error("is nested too deeply to be polygons") from None
            except ValueError:
                # Python limits the digits of a number, as their conversion takes quadratic time.
                raise self.error("holds a number that cannot be read (it has thousands of digits)") from None
            else:
                # A number may go on behind the end of the text: the 1 of "1e+5" has been read, and "e+" follows.
                if end < len(self._text) - 2 or self._ended or not isinstance(value, int | float):
                    self._place = end
                    return value
            self._grow()

    def members(self) -> Iterator[str]:
        """Yield the names of the members of an object. Decode or iterate over the value of each before the next."""
        self._pass("{")
        names: set[str] = set()
        more = self.peek() != "}"
        while more:
            name = self.value()
            if not isinstance(name, str):
                raise self.error("is not valid JSON (the name of a member is no text)")
            if name in names:
                raise self.error(f"has two members {name!r}")
            names.add(name)
            if len(names) > MAX_MEMBERS:
                raise self.error(f"has more than {MAX_MEMBERS:,} members")
            self._pass(":")
            yield name
            more = self.peek() == ","
            if more:
                self._pass(",")
        self._pass("}")

    def elements(self, take: Callable[[str], object] | None = None) -> Iterator[Any]:
        """Decode and yield the values of an array, one by one.

        Args:
            take: Takes the text of an array of several values; `TAKEN` is yielded in their place. Where it raises
                ValueError or RecursionError, they are decoded one by one, which tells the place of an error.
        """
        self._pass("[")
        more, failures = self.peek() != "]", 0
        while more:
            end = self._batch_end() if take is not None and failures < MOST_FAILURES else 0
            if take is not None and end:
                try:
                    take(f"[{self._text[self._place : end]}]")
                except (ValueError, RecursionError):
                    failures, end = failures + 1, 0
            if end:
                self._place = end
                yield TAKEN
            else:
                yield self.value()
            more = self.peek() == ","
            if more:
                self._pass(",")
        self._pass("]")

    def end(self) -> None:
        """Check that nothing follows."""
        if self.peek():
            raise self.error(
                f"goes on after the end of its JSON, at character {self._before + self._place:,}",
                "lines of GeoJSON in one file have to become one FeatureCollection (ogr2ogr -f GeoJSON)",
            )

    def error(self, reason: str, advice: str = ADVICE) -> ImageError:
        return ImageError(self.path, f"{reason}; {advice}")

    def _pass(self, character: str) -> None:
        found = self.peek()
        if found != character:
            place = self._before + self._place
            what = repr(found) if found else "the end of the file"
            raise self.error(f"is not valid JSON ({character!r} expected and {what} found at character {place:,})")
        self._place += 1

    def _batch_end(self) -> int:
        """Return where one of the next objects of an array seems to end, far behind this place; 0 if it is not known.

        It ends at a bracket, before a comma and an object with the same first name. If that is no end of an object of
        this array, what is before it is no JSON.
        """
        self.peek()
        name = FIRST_NAME.match(self._text, self._place)
        end = self._place + BATCH
        for _ in range(MOST_ENDS if name else 0):
            end = self._text.rfind("}", self._place, end)
            if end < 0:
                break
            comma = COMMA.match(self._text, end + 1)
            if name and comma and self._text.startswith(name[0], comma.end()):
                return end + 1
        return 0

    def _grow(self) -> None:
        """Read on because a value is cut, and check that it may be decoded."""
        self._fill()
        length = len(self._text) - self._place
        if length > MAX_VALUE:
            raise self.error(f"has a single value of more than {MAX_VALUE:,} characters")
        if length > MAX_PARTS and sum(self._text.count(mark, self._place) for mark in ",[{") > 2 * MAX_PARTS:
            raise self.error(f"has a single value of more than {MAX_PARTS:,} numbers and lists")

    def _fill(self) -> None:
        """Drop what has been passed and read at least as much as is left, so that a long value costs linear time."""
        parts = [self._text[self._place :]]
        self._before += self._place
        self._place = 0
        missing = max(1, len(parts[0]))
        while missing > 0 and not self._ended:
            parts.append(self._decode(self._read(CHUNK)))
            missing -= len(parts[-1])
        self._text = "".join(parts)

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise self.error(f"cannot be read ({first_line(error)})", f"it may be cut off: {ADVICE}") from None
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise self.error(f"has more than {MAX_BYTES >> 30} GiB of text", "split it")
        return data

    def _decode(self, data: bytes) -> str:
        self._ended = not data
        try:
            return self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError:
            raise self.error("is not text in UTF-8 or UTF-16") from None


def _open(path: Path) -> IO[bytes]:
    with open(path, "rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if is_compressed else open(path, "rb")
