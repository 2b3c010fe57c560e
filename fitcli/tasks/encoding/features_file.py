"""Writes the features of an image to a file: a zarr 3 group (`.zarr`) or safetensors (`.safetensors`).

Both hold the same arrays and the same attributes. Arrays can be written in any order, and parts of them more than
once. The file is published when it is complete, see `files/publish.py`.
"""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError
from fitcli.files.publish import Publication, followed
from fitcli.files.scratch import write_all
from fitcli.files.staging import token_path
from fitcli.files.write_errors import reason_and_advice

SUFFIXES = (".zarr", ".safetensors")
"""Suffixes of the formats that are written."""

CHUNK_BYTES = 4 << 20
"""Largest chunk of a zarr array, unless a single group is larger."""

SAFETENSORS_NAMES = {"float32": "F32", "int64": "I64"}
"""Names that safetensors gives to dtypes."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Shape and dtype of an array.

    Attributes:
        shape: Lengths of the axes; the first axis counts groups.
        dtype: "float32" or "int64".
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def group_bytes(self) -> int:
        """Bytes per group."""
        return math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize


class EmbeddingsWriter(ABC):
    """Arrays of features that are being written. Leaving the context publishes them, or discards them after an error.

    Args:
        destination: Path of the finished file.
        specs: Arrays by name.
        attributes: Description of what the features belong to; JSON.
        token: Eight hexadecimal digits. With them, what was written stays after an error, for another writer of the
            same arrays with the same token.
        continues: Complete what another writer with this token left, instead of discarding it.

    Raises:
        FitError: The file cannot be written, or something else stands at its path.
    """

    is_folder: ClassVar[bool]

    def __init__(
        self,
        destination: Path,
        specs: Mapping[str, ArraySpec],
        attributes: Mapping[str, Any],
        token: str | None = None,
        continues: bool = False,
    ) -> None:
        self.destination, self._specs, self._attributes = destination, dict(specs), dict(attributes)
        self._check_target()
        old = None if token is None or token_path(destination, token).exists() else _old_token_path(destination, token)
        try:
            self._publication = Publication(destination, self.is_folder, token, continues)
            try:
                if continues and old is not None and old.exists():
                    os.rename(old, self._publication.path)
                self._open()
            except BaseException:
                self._close()
                self._publication.close() if continues else self._publication.discard()
                raise
        except OSError as error:
            raise self._cannot(error) from error

    def write(self, name: str, part: slice, values: NDArray[Any]) -> None:
        """Write the values [part ...] of a slice of the groups to an array.

        Raises:
            FitError: The disk is full, or another error of the system.
        """
        spec = self._specs[name]
        expected = (part.stop - part.start, *spec.shape[1:])
        if values.shape != expected:
            raise ValueError(f"{name} of groups {part.start} to {part.stop} is {expected}, not {values.shape}")
        try:
            self._write(name, part, np.ascontiguousarray(values, spec.dtype))
        except OSError as error:
            raise self._cannot(error) from error

    def sync(self) -> None:
        """Wait until what was written so far would survive a power cut.

        Raises:
            FitError: An error of the system.
        """
        try:
            self._publication.sync()
        except OSError as error:
            raise self._cannot(error) from error

    @abstractmethod
    def _check_target(self) -> None: ...

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _write(self, name: str, part: slice, values: NDArray[Any]) -> None: ...

    def _close(self) -> None:  # noqa: B027
        """Close what `_open` has opened. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
            if kind is None:
                self._check_target()
                self._publication.publish()
        except OSError as failure:
            raise self._cannot(failure) from failure
        finally:
            self._publication.close()

    def _cannot(self, error: OSError) -> FitError:
        size = sum(spec.shape[0] * spec.group_bytes for spec in self._specs.values())
        reason, advice = reason_and_advice(error)
        return FitError(
            f"{self.destination}: cannot be written: {reason} ({size / 1e6:,.1f} MB are needed there); {advice}"
        )


class ZarrWriter(EmbeddingsWriter):
    """Writes a zarr 3 group of arrays without compression, because floats hardly shrink."""

    is_folder = True

    def _check_target(self) -> None:
        if self.destination.exists() and not (self.destination / "zarr.json").is_file():
            raise FitError(f"{self.destination}: is no zarr group, so it is not replaced; choose another name")

    def _open(self) -> None:
        import zarr

        group = zarr.open_group(self._publication.path, mode="a", zarr_format=3)
        group.attrs.update(self._attributes)
        self._arrays: dict[str, Any] = {
            name: group.require_array(
                name, shape=spec.shape, dtype=spec.dtype, chunks=self._chunks(spec), compressors=None
            )
            for name, spec in self._specs.items()
        }

    def _write(self, name: str, part: slice, values: NDArray[Any]) -> None:
        self._arrays[name][part] = values

    def _chunks(self, spec: ArraySpec) -> tuple[int, ...]:
        return max(1, min(spec.shape[0], CHUNK_BYTES // spec.group_bytes)), *spec.shape[1:]


class SafetensorsWriter(EmbeddingsWriter):
    """Writes a safetensors file. Its header has the offset of each array, so they can be written in any order."""

    is_folder = False
    _file = -1

    def _check_target(self) -> None:
        if self.destination.is_dir():
            raise FitError(f"{self.destination}: is a folder; choose another name")

    def _open(self) -> None:
        header: dict[str, Any] = {"__metadata__": {name: _text(value) for name, value in self._attributes.items()}}
        offset = 0
        self._offsets = {}
        for name, spec in self._specs.items():
            end = offset + spec.shape[0] * spec.group_bytes
            self._offsets[name] = offset
            dtype = SAFETENSORS_NAMES[spec.dtype]
            header[name] = {"dtype": dtype, "shape": list(spec.shape), "data_offsets": [offset, end]}
            offset = end
        document = json.dumps(header).encode()
        document += b" " * (-len(document) % 8)
        self._begin = 8 + len(document)
        self._file = os.open(self._publication.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        write_all(self._file, len(document).to_bytes(8, "little") + document, 0)
        os.ftruncate(self._file, self._begin + offset)

    def _write(self, name: str, part: slice, values: NDArray[Any]) -> None:
        if values.size:
            offset = self._begin + self._offsets[name] + part.start * self._specs[name].group_bytes
            write_all(self._file, values.data, offset)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def create_embeddings(
    destination: Path,
    specs: Mapping[str, ArraySpec],
    attributes: Mapping[str, Any],
    token: str | None = None,
    continues: bool = False,
) -> EmbeddingsWriter:
    """Begin a file of features in the format that the suffix of `destination` names, see `EmbeddingsWriter`.

    A link at `destination` is followed.

    Raises:
        FitError: There is no such format, or the file cannot be written.
    """
    kinds = {".zarr": ZarrWriter, ".safetensors": SafetensorsWriter}
    kind = kinds.get(destination.suffix.lower())
    if kind is None:
        raise FitError(f"{destination}: features are written as {' or '.join(SUFFIXES)}")
    return kind(followed(destination), specs, attributes, token, continues)


def can_continue(destination: Path, token: str) -> bool:
    """Return whether a writer left something to be continued with a token."""
    destination = followed(destination)
    return token_path(destination, token).exists() or _old_token_path(destination, token).exists()


def _old_token_path(destination: Path, token: str) -> Path:
    """Return where older versions wrote features that were to be continued."""
    return destination.with_name(f".{destination.name}.partial-{token}")


def _text(value: Any) -> str:
    """Return metadata of safetensors, which are text."""
    return value if isinstance(value, str) else json.dumps(value)
