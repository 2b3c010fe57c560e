"""Shows an image and its layers in a notebook, on the page of `fit view`."""

from __future__ import annotations

import html
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from fitcli import console
from fitcli.images.open import matching_paths
from fitcli.images.read_as import AS_STORED, ReadAs
from fitcli.tasks.registry import value_scales
from fitcli.view.answers import Answers
from fitcli.view.scene import ViewScene
from fitcli.view.server import ViewServer

HEIGHT = 600
"""Height of the page in a notebook, in pixels of the screen."""


class NotebookView:
    """A page that is served until it is closed. A notebook shows it as the value of a cell.

    Args:
        files: Scene and server, which are closed with it.
        server: The server.
        height: Height of the page in a notebook, in pixels of the screen.

    Attributes:
        url: Address of the page, for this machine alone.
    """

    def __init__(self, files: ExitStack, server: ViewServer, height: int) -> None:
        self.url, self._files, self._server, self._height = server.url, files, server, height
        self._is_open = True
        self._thread = threading.Thread(target=server.serve_forever, daemon=True, name="fit-view")
        self._thread.start()

    def close(self) -> None:
        """End the server and close the files; the page then shows nothing new."""
        if self._is_open:
            self._is_open = False
            self._server.shutdown()
            self._thread.join()
            self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<fit view at {self.url}>" if self._is_open else "<fit view, closed>"

    def _repr_html_(self) -> str:
        if not self._is_open:
            return "<p>This view was closed.</p>"
        return (
            f'<iframe src="{html.escape(self.url)}" width="100%" height="{self._height}" style="border: 0" '
            'allow="clipboard-write"></iframe>'
        )


def show(
    image: str | Path,
    layers: str | Path | Sequence[str | Path] = (),
    *,
    side_by_side: bool = False,
    how: ReadAs = AS_STORED,
    height: int = HEIGHT,
    port: int = 0,
) -> NotebookView:
    """Show an image with layers over it, as `fit view` does.

    Args:
        image: Image file or zarr folder.
        layers: Heat maps, maps of classes, pictures, polygons, objects; a single one needs no list.
        side_by_side: Show further images beside the first, with one zoom.
        how: Planes, channels and scale to read.
        height: Height of the page, in pixels of the screen.
        port: Port of the server; 0 for any that is free.

    Returns:
        The page, which a notebook shows. It is served until `close`, or the end of the process.

    Raises:
        FitError: A file cannot be read, a layer does not fit the image, or the port is in use.
    """
    over = [layers] if isinstance(layers, str | Path) else layers
    paths = matching_paths([str(image), *map(str, over)])
    with ExitStack() as files:
        scene = files.enter_context(
            ViewScene(paths, how, side_by_side=side_by_side, scales=value_scales(), report=console.warning)
        )
        server = files.enter_context(ViewServer(Answers(scene), port))
        return NotebookView(files.pop_all(), server, height)
