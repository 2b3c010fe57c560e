"""`fit embed IMAGE... --checkpoint RUN --out FILE|FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.commands.options import (
    BackgroundThreshold,
    CheckpointFolder,
    Compile,
    DeviceName,
    Images,
    InferencePrecisionName,
    Json,
    Memory,
    Mpp,
    PyramidLevel,
    SkipBackground,
    StateFolder,
    Timeout,
    background_choice,
    reading_choice,
)
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD


def embed(
    images: Images,
    checkpoint: CheckpointFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="A .zarr or .safetensors file, or a folder for one .zarr per image.", metavar="OUT"),
    ],
    patches: Annotated[bool, typer.Option("--patches", help="Also write the features of every patch.")] = False,
    json: Json = False,
    mpp: Mpp = None,
    level: PyramidLevel = None,
    skip_background: SkipBackground = None,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    memory: Memory = None,
    state: StateFolder = None,
    device: DeviceName = "auto",
    precision: InferencePrecisionName = "auto",
    compile: Compile = False,
    timeout: Timeout = TIMEOUT_MINUTES,
) -> None:
    """Write the features of whole images of any size: the latents of every group, with their coordinates."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.image_queue import open_queue
    from fitcli.images.open import matching_paths
    from fitcli.tasks.classify.task import TASK as CLASSIFY
    from fitcli.tasks.encoding.embed_files import embed_files
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.load import load_run

    background, how = background_choice(skip_background, background_threshold), reading_choice(level, mpp)
    paths = matching_paths(images)
    with open_queue(device, 60 * timeout) as queue:
        runtime = choose_runtime(device, precision, inference=True, compiled=compile, memory_bytes=memory)
        model = load_run(checkpoint, runtime, CLASSIFY)
        settings = EncodingSettings(background=background, memory_bytes=memory, state=state, read_as=how)
        done = list(embed_files(queue, model, paths, out, runtime, settings, patches))
    if not queue.world.is_first:
        return
    good = [embedded for embedded in done if embedded is not None]
    if json:
        console.json(good)
    elif good:
        rows = [(e["path"], f"{e['groups']}", f"{e['latents']} x {e['width']}", e["out"]) for e in good]
        console.table(("image", "groups", "latents", "features"), rows)
    if len(good) < len(done):
        raise typer.Exit(1)
