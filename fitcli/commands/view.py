"""`fit view IMAGE [LAYER...]`: looks at an image and its layers in the browser."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from fitcli import console
from fitcli.commands.options import reading_choice

PANEL = "What is read"
"""Panel of the options that choose planes and scale."""


def view(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image file or zarr folder.")],
    layers: Annotated[
        list[str] | None,
        typer.Argument(metavar="LAYER", help="Heat maps, maps of classes, pictures, polygons, objects."),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Show further images beside the first, with one zoom.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port; 0: any.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, and open nothing.")] = False,
    mpp: Annotated[
        float | None, typer.Option("--mpp", metavar="X", help="Microns per pixel to read at.", rich_help_panel=PANEL)
    ] = None,
    level: Annotated[
        int | None,
        typer.Option("--level", min=0, metavar="N", help="Pyramid level to show at full zoom.", rich_help_panel=PANEL),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option("--series", metavar="NAME", help="Image in each file: number, name.", rich_help_panel=PANEL),
    ] = None,
    z: Annotated[
        str | None,
        typer.Option("--z", metavar="PLANE", help="Focal plane: number, max or mean.", rich_help_panel=PANEL),
    ] = None,
    t: Annotated[int | None, typer.Option("--t", min=0, metavar="N", help="Time point.", rich_help_panel=PANEL)] = None,
    channels: Annotated[
        str | None,
        typer.Option("--channels", metavar="LIST", help="Channels, as 0,2 or names, or all.", rich_help_panel=PANEL),
    ] = None,
) -> None:
    """Look at an image of any size in the browser, with its layers: heat maps, maps of classes, polygons, objects.

    Prints the address of the page, which only this machine can open, and ends with Ctrl-C.
    """
    from fitcli.images.open import matching_paths
    from fitcli.images.read_as import AS_STORED
    from fitcli.tasks.registry import value_scales
    from fitcli.view.answers import Answers
    from fitcli.view.scene import ViewScene
    from fitcli.view.server import ViewServer

    how = reading_choice(level, mpp, series, z, t, channels) or AS_STORED
    paths = matching_paths([image, *(layers or [])])
    with (
        ViewScene(paths, how, side_by_side=side_by_side, scales=value_scales(), report=console.warning) as scene,
        ViewServer(Answers(scene), port) as server,
    ):
        console.data(server.url)
        if not no_browser and not open_browser(server.url):
            console.hint("no browser was found: open the address in one, on this machine")
        console.hint("Ctrl-C ends")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            # Nothing is left to do: a second Ctrl-C must not change the exit code.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise


def open_browser(url: str) -> bool:
    """Open a page in the browser of the user; return False if there is none with a window."""
    import os
    import sys
    import webbrowser

    # Without a display, a browser of the terminal would take it over.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
