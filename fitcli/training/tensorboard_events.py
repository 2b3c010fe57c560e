"""Writes event files for TensorBoard in the training thread; the first failure is reported, and no more are written.

The writer in the package tensorboard is not used: it is a thread that prints a traceback when it cannot write.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path


class EventFile:
    """A new event file in a folder. TensorBoard shows it as a continuation of the files of earlier processes.

    Args:
        folder: Folder of event files; it is made if it is missing.
        first_step: First step that will be added. TensorBoard ignores this and later steps in the earlier files.
        on_failure: Called when an event cannot be written; no more are written afterwards.
    """

    def __init__(self, folder: Path, first_step: int, on_failure: Callable[[OSError], None]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._event, self._summary, self._on_failure, self._failed = Event, Summary, on_failure, False
        # TensorBoard reads the files in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            self._fail(error)
        begin = SessionLog(status=SessionLog.START)
        self._write(file_version="brain.Event:2")
        self._write(step=first_step, session_log=begin)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers of a step, by name. They are in the file when this returns."""
        entries = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self._summary(value=entries))

    def _write(self, **fields: object) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._failed:
            return
        record = BytesIO()
        RecordWriter(record).write(self._event(wall_time=time.time(), **fields).SerializeToString())
        try:
            # Opened every time: writing to an open file that was removed would succeed, and lose the record.
            with self._path.open("ab") as file:
                file.write(record.getvalue())
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._on_failure(error)
