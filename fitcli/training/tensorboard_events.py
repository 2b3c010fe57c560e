"""Event files for TensorBoard, written in the thread that trains: what cannot be written is lost, and said once.

tensorboard has a writer of its own, a thread that prints a traceback when it cannot write; its records are used here.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path


class EventFile:
    """An event file of its own in a folder, which TensorBoard shows as one with those of earlier processes.

    Args:
        folder: Made when it is not there.
        first_step: That will be added: TensorBoard forgets what other files in the folder have of it and later ones.
        lost: Told the reason when an event cannot be written; from then on none is.
    """

    def __init__(self, folder: Path, first_step: int, lost: Callable[[OSError], None]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._event, self._summary, self._lost, self._whole = Event, Summary, lost, True
        # Read in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            self._lose(error)
        begin = SessionLog(status=SessionLog.START)
        self._write(file_version="brain.Event:2")
        self._write(step=first_step, session_log=begin)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers of a step, by name. They are in the file when this returns."""
        entries = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self._summary(value=entries))

    def _write(self, **fields: object) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if not self._whole:
            return
        record = BytesIO()
        RecordWriter(record).write(self._event(wall_time=time.time(), **fields).SerializeToString())
        try:
            # Opened every time: what is written to a file that was removed would be lost without a word.
            with self._path.open("ab") as file:
                file.write(record.getvalue())
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._whole = False
        self._lost(error)
