"""`fit embed IMAGE... --checkpoint RUN --out FILE|FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli.commands.image_pass import PassOptions, finish
from fitcli.commands.options import CheckpointFolder, Images, Json
from fitcli.commands.signature import with_fields


@with_fields
def embed(
    images: Images,
    checkpoint: CheckpointFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="A .zarr or .safetensors file, or a folder for one .zarr per image.", metavar="OUT"),
    ],
    patches: Annotated[bool, typer.Option("--patches", help="Also write the features of every patch.")] = False,
    json: Json = False,
    *,
    options: PassOptions,
) -> None:
    """Write the features of whole images of any size: the latents of every group, with their coordinates."""
    from fitcli.images.open import matching_paths
    from fitcli.tasks.classify.task import TASK as CLASSIFY
    from fitcli.tasks.encoding.embed_files import embed_files

    paths = matching_paths(images)
    with options.connect() as queue:
        run = options.open(queue, checkpoint, CLASSIFY)
        done = list(embed_files(queue, run.model, paths, out, run.runtime, run.settings, patches))
    if not queue.world.is_first:
        return
    columns = ("image", "groups", "latents", "features")
    finish(done, json, columns, lambda e: (e["path"], f"{e['groups']}", f"{e['latents']} x {e['width']}", e["out"]))
