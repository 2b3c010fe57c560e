"""Everything that is published: files and folders of any kind, written with a value that is read from them again."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import zarr
from safetensors.torch import load_file

from fitcli.annotations.features import open_features
from fitcli.annotations.rings import Polygon
from fitcli.files.publish import publish_csv, publish_folder, write_text
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.runs.weights import save_weights
from fitcli.tasks.encoding.features_file import ArraySpec, create_embeddings

SIDE = 16
SPECS = {"latents": ArraySpec((2, 1, 3), "float32"), "coordinates": ArraySpec((2, 2), "int64")}


def text(path: Path, value: int) -> None:
    write_text(path, f"{value}\n")


def table(path: Path, value: int) -> None:
    with publish_csv(path) as rows:
        rows.write_rows([[value]])


def read_text(path: Path) -> int:
    return int(path.read_text())


def folder(path: Path, value: int) -> None:
    with publish_folder(path) as new:
        (new / "deep").mkdir()
        for name in ("deep/a", "b"):
            (new / name).write_text(str(value))


def read_folder(path: Path) -> int:
    values = {(path / name).read_text() for name in ("deep/a", "b")}
    assert len(values) == 1
    return int(values.pop())


def weights(path: Path, value: int) -> None:
    model = torch.nn.Linear(2, 2, bias=False)
    model.weight.data.fill_(value)
    save_weights(path.parent, model, path.name)


def read_weights(path: Path) -> int:
    (tensor,) = load_file(path).values()
    return int(tensor.unique())


def features(path: Path, value: int) -> None:
    with create_embeddings(path, SPECS, {"image": "a"}) as file:
        for name, spec in SPECS.items():
            file.write(name, slice(0, 2), np.full(spec.shape, value, spec.dtype))


def read_features(path: Path) -> int:
    arrays: Any = (
        {name: tensor.numpy() for name, tensor in load_file(path).items()}
        if path.suffix == ".safetensors"
        else {name: array[...] for name, array in zarr.open_group(path, mode="r").arrays()}
    )
    (value,) = {int(value) for name in SPECS for value in np.unique(arrays[name])}
    return value


def image(path: Path, value: int) -> None:
    info = ImageInfo(height=SIDE, width=SIDE, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(path, info, chunk=16, threads=1) as canvas:
        canvas.write(Window(0, 0, SIDE, SIDE), np.full((SIDE, SIDE, 3), value, np.uint8))


def read_image(path: Path) -> int:
    with open_image(path) as opened:
        (value,) = np.unique(opened.read(Window(0, 0, SIDE, SIDE)))
        return int(value)


def polygons(path: Path, value: int) -> None:
    info = ImageInfo(height=SIDE, width=SIDE, channels=3, dtype=np.dtype("u1"))
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    with open_features(path, SimpleNamespace(names=("a",), colors=(None,)), info) as file:
        file.write([Polygon(0, (square,), value)])


def read_polygons(path: Path) -> int:
    if path.suffix == ".gpkg":
        with closing(sqlite3.connect(path)) as database:
            return int(database.execute("SELECT area_px FROM polygons").fetchone()[0])
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return int(document["features"][0]["properties"]["area_px"])


@dataclass(frozen=True)
class Kind:
    """Something that is published: its name, and functions that write and read it with a value.

    `follows`: It is an output of a command, for which a link is followed. Within a run folder, links are replaced.
    """

    name: str
    write: Callable[[Path, int], None]
    read: Callable[[Path], int]
    follows: bool = True

    def __str__(self) -> str:
        return f"{self.write.__name__} {self.name}"


PLAIN = [Kind("a.txt", text, read_text, False), Kind("a.csv", table, read_text), Kind("a", folder, read_folder, False)]
KINDS = [
    *PLAIN,
    Kind("model.safetensors", weights, read_weights, False),
    Kind("f.safetensors", features, read_features),
    Kind("f.zarr", features, read_features),
    *(Kind(name, image, read_image) for name in ("i.png", "i.tif", "i.ome.tif", "i.zarr")),
    *(Kind(name, polygons, read_polygons) for name in ("p.geojson", "p.geojson.gz", "p.gpkg")),
]
INTERNAL = [kind for kind in PLAIN if not kind.follows]
FOLDERS = [kind for kind in KINDS if kind.read is read_folder or kind.name.endswith("zarr")]
