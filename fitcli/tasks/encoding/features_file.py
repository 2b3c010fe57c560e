"""Features of an image as a file: a zarr 3 group (`.zarr`) or safetensors (`.safetensors`).

Both hold the same arrays and say the same of where they come from; both are written under a temporary name, in any
order and more than once where need be, and renamed when they are complete. Knows neither models nor images.
"""

from __future__ import annotations

import glob
import json
import math
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError
from fitcli.files.scratch import write_all

SUFFIXES = (".zarr", ".safetensors")
"""Of what is written."""

CHUNK_BYTES = 4 << 20
"""Of a chunk of a zarr array, at most, where a group is not larger."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Shape and dtype ("float32" or "int64") of an array; the first axis counts groups."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def group_bytes(self) -> int:
        """Of what belongs to one group."""
        return math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize


class EmbeddingsWriter(ABC):
    """Arrays under a temporary name beside their target. Leaving the context publishes them, or discards them after an
    error.

    Args:
        target: Where they will be.
        specs: The arrays by name.
        attributes: What they are features of; JSON.
        token: Of the temporary name.
        keep: After an error what was written stays, for another writer of the same arrays and `token`.
        continues: What another writer left is completed, not discarded.

    Raises:
        FitError: It cannot be written, or something else is there.
    """

    def __init__(
        self,
        target: Path,
        specs: Mapping[str, ArraySpec],
        attributes: Mapping[str, Any],
        token: str,
        keep: bool = False,
        continues: bool = False,
    ) -> None:
        self.target, self._specs, self._attributes, self._keep = target, dict(specs), dict(attributes), keep
        self.temporary = temporary_name(target, token)
        try:
            if not continues:
                self._discard()
            self._open()
        except OSError as error:
            raise self._cannot(error) from error

    def write(self, name: str, part: slice, values: NDArray[Any]) -> None:
        """Put the values [part ...] of a slice of the groups into an array.

        Raises:
            FitError: The disk is full, ...
        """
        spec = self._specs[name]
        expected = (part.stop - part.start, *spec.shape[1:])
        if values.shape != expected:
            raise ValueError(f"{name} of groups {part.start} to {part.stop} is {expected}, not {values.shape}")
        try:
            self._write(name, part, np.ascontiguousarray(values, spec.dtype))
        except OSError as error:
            raise self._cannot(error) from error

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _write(self, name: str, part: slice, values: NDArray[Any]) -> None: ...

    @abstractmethod
    def _publish(self) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._publish()
            except OSError as failure:
                self._discard()
                raise self._cannot(failure) from failure
        elif not self._keep:
            self._discard()

    def _cannot(self, error: OSError) -> FitError:
        size = sum(spec.shape[0] * spec.group_bytes for spec in self._specs.values())
        return FitError(
            f"{self.target}: cannot be written ({error.strerror or error}); "
            f"{size / 1e6:,.1f} MB are needed there, in a folder that exists and can be written to"
        )


class ZarrWriter(EmbeddingsWriter):
    """A zarr 3 group of arrays without compression: floats hardly shrink."""

    def _open(self) -> None:
        import zarr

        if self.target.exists() and not (self.target / "zarr.json").is_file():
            raise FitError(f"{self.target}: is no zarr group, so it is not replaced; choose another name")
        group = zarr.open_group(self.temporary, mode="a", zarr_format=3)
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

    def _publish(self) -> None:
        old = self.target.with_name(f"{self.temporary.name}-replaced")
        if self.target.exists():
            os.rename(self.target, old)
        os.rename(self.temporary, self.target)
        shutil.rmtree(old, ignore_errors=True)

    def _discard(self) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)


class SafetensorsWriter(EmbeddingsWriter):
    """A safetensors file: its header says where every array begins, so that they can be written in any order."""

    def _open(self) -> None:
        if self.target.is_dir():
            raise FitError(f"{self.target}: is a folder; choose another name")
        header: dict[str, Any] = {"__metadata__": {name: _text(value) for name, value in self._attributes.items()}}
        names, offset = {"float32": "F32", "int64": "I64"}, 0
        self._offsets = {}
        for name, spec in self._specs.items():
            end = offset + spec.shape[0] * spec.group_bytes
            self._offsets[name] = offset
            header[name] = {"dtype": names[spec.dtype], "shape": list(spec.shape), "data_offsets": [offset, end]}
            offset = end
        document = json.dumps(header).encode()
        document += b" " * (-len(document) % 8)
        self._begin = 8 + len(document)
        self._file = os.open(self.temporary, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        write_all(self._file, len(document).to_bytes(8, "little") + document, 0)
        os.ftruncate(self._file, self._begin + offset)

    def _write(self, name: str, part: slice, values: NDArray[Any]) -> None:
        if values.size:
            offset = self._begin + self._offsets[name] + part.start * self._specs[name].group_bytes
            write_all(self._file, values.data, offset)

    def _publish(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        os.replace(self.temporary, self.target)

    def _discard(self) -> None:
        self.temporary.unlink(missing_ok=True)


def create_embeddings(
    target: Path,
    specs: Mapping[str, ArraySpec],
    attributes: Mapping[str, Any],
    token: str,
    keep: bool = False,
    continues: bool = False,
) -> EmbeddingsWriter:
    """Begin a file of features: of the format that the suffix of `target` names, see `EmbeddingsWriter`.

    Raises:
        FitError: There is no such format, or it cannot be written.
    """
    kinds = {".zarr": ZarrWriter, ".safetensors": SafetensorsWriter}
    kind = kinds.get(target.suffix.lower())
    if kind is None:
        raise FitError(f"{target}: features are written as {' or '.join(SUFFIXES)}")
    return kind(target, specs, attributes, token, keep, continues)


def temporary_name(target: Path, token: str) -> Path:
    """Where features are until they are complete."""
    return target.with_name(f".{target.name}.partial-{token}")


def discard_partial(target: Path) -> None:
    """Remove what processes that were killed left of a target; for whoever is the only one to write it."""
    for left in target.parent.glob(glob.escape(temporary_name(target, "").name) + "*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _text(value: Any) -> str:
    """The metadata of safetensors are texts."""
    return value if isinstance(value, str) else json.dumps(value)
