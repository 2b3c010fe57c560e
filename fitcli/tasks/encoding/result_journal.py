"""Opens the journal of a job that processes many images, and computes the key of each result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue, ResultJournal
from fitcli.files.names import short_enough
from fitcli.files.path_choice import stored_path
from fitcli.images.open import stored_bytes
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.encoding.encode import EncodingSettings


def open_result_journal(
    queue: ImageQueue,
    command: str,
    checkpoint: Checkpoint[Any],
    runtime: Runtime,
    settings: EncodingSettings,
    paths: Sequence[Path],
    outputs: Sequence[Path | None],
    *,
    output: Path | None,
    details: Mapping[str, Any] | None = None,
    per_image: Sequence[Any] | None = None,
) -> ResultJournal | None:
    """Open the journal of a job that torchrun may start again: in the folder of `--state`, else beside the output.

    A result belongs to its image file (path, bytes and time), the version of fit, the command, the model, the device,
    the precision, the background threshold, what is read of each image, and the details.

    Args:
        queue: The processes of the job.
        command: Name of the command.
        checkpoint: The model.
        runtime: Device and precision.
        settings: Settings with which the model reads images.
        paths: The images.
        outputs: The file that is written for each image; None for none.
        output: The file or folder of all results.
        details: Other values that all results depend on, as JSON data.
        per_image: Further values that results depend on, one per image; None for none.

    Returns:
        The journal; None if torchrun did not start the job, or if there is neither `--state` nor an output.
    """
    if not queue.restartable or (output is None and settings.state is None):
        return None
    if settings.state is not None:
        folder = settings.state / "done"
    else:
        assert output is not None
        folder = output.absolute().with_name(short_enough(f".{output.name}.done"))
    threshold = settings.threshold(checkpoint.config)
    job = [command, model_hash(checkpoint), runtime.device.type, runtime.arithmetic, threshold, details]
    if settings.read_as is not None:
        job.append(asdict(settings.read_as))
    jobs = [job] * len(paths) if per_image is None else [[*job, value] for value in per_image]
    keys = [_key(path, each) for path, each in zip(paths, jobs, strict=True)]
    return ResultJournal(folder, keys, outputs)


def _key(path: Path, job: Sequence[Any]) -> str | None:
    """Return a hash of an image file, in its current state, and of the job; None if the file does not exist."""
    try:
        file = [os.path.realpath(path), stored_bytes(path), stored_path(path).stat().st_mtime_ns]
    except OSError:
        return None
    # Targets of images may be paths.
    return sha256(json.dumps([__version__, file, job], sort_keys=True, default=os.fspath).encode()).hexdigest()
