"""The page in a real browser: what is seen, where, at several zooms; keys; layers; and no word on the console.

Needs Playwright and a Chromium of the system: `pytest -m browser`. FIT_CHROMIUM names another than the usual ones.
"""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.pictures import save
from support.polygons import collection, feature, square, write

from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.tasks.classify.color_scale import EVIDENCE
from fitcli.view.answers import Answers
from fitcli.view.raster_layer import OPACITY
from fitcli.view.scene import ViewScene
from fitcli.view.server import ViewServer

pytestmark = pytest.mark.browser

PATIENCE = 200
"""Seconds after which a page that shows nothing has failed."""

GREEN, ORANGE, BLUE = (20, 160, 60), (230, 159, 0), (86, 180, 233)

UTM = GeoReference(scale=(10, 10, 0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0), keys=(1, 1, 0, 1, 3072, 0, 1, 32633))
PART = GeoReference(scale=(20, 20, 0), tiepoints=(0, 0, 0, 4e5 + 3000, 5.7e6 - 2000, 0), keys=UTM.keys)

SHOWN = """() => window.fitView && fitView.ready && fitView.panes.every((pane) => {
  const rasters = pane.layers.filter((layer) => layer.kind !== "features");
  const shapes = pane.layers.filter((layer) => layer.kind === "features" && layer.shown);
  const seen = [pane.viewer.world.getItemAt(0), ...rasters.filter((layer) => layer.shown).map((layer) => layer.item)];
  return pane.viewer.world.getItemCount() === 1 + rasters.length
    && seen.every((item) => item && item.getFullyLoaded())
    && shapes.every((layer) => layer.state !== "reading" && !layer.waiting && layer.wanted
      && [...layer.wanted].map((key) => layer.tiles.get(key)).every((t) => t?.canvas && t.asked === layer.version));
})"""
"""Whether all that is in view is there."""

BOUNDS = "JSON.stringify(fitView.panes[{}].viewer.viewport.getBounds(true))"
"""The part of the image that a pane shows."""


def chromium() -> str:
    """Path of the browser."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("FIT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("there is no Chromium here (apt-get install chromium, or set FIT_CHROMIUM)")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing (pip install 'fitcli[browser]')")
    path = chromium()
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


class Page:
    """A page of `fit view`, and what the browser said about it."""

    def __init__(self, page: Any, server: ViewServer) -> None:
        self.page, self.url, self.said = page, server.url, list[str]()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(server.url)
        self.wait()

    def wait(self) -> None:
        """Wait until all is shown and nothing moves."""
        end = time.monotonic() + PATIENCE
        still = 0
        place: Any = None
        while still < 3:
            assert time.monotonic() < end, "the page does not come to rest"
            time.sleep(0.05)
            now = self.page.evaluate(
                "fitView.ready && JSON.stringify(fitView.panes[0].viewer.viewport.getBounds(true))"
            )
            still = still + 1 if now and now == place and self.page.evaluate(SHOWN) else 0
            place = now

    def look(self, x: float, y: float, zoom: float) -> None:
        """Show a place of the image in the middle, `zoom` pixels of the screen per pixel of it."""
        self.page.evaluate(
            "([x, y, zoom]) => { const pane = fitView.panes[0], viewport = pane.viewer.viewport, w = pane.image.width;"
            "viewport.zoomTo(zoom * w / viewport.getContainerSize().x, null, true);"
            "viewport.panTo(new OpenSeadragon.Point(x / w, y / w), true); pane.viewer.forceRedraw(); }",
            [x, y, zoom],
        )
        self.wait()

    def screen(self, x: float, y: float, pane: int = 0) -> tuple[float, float]:
        """Return where a place of the image is on the screen."""
        found = self.page.evaluate(
            "([x, y, n]) => { const pane = fitView.panes[n], box = pane.viewer.element.getBoundingClientRect();"
            "const p = pane.viewer.viewport.pixelFromPoint("
            "new OpenSeadragon.Point(x / pane.image.width, y / pane.image.width), true);"
            "return [p.x + box.left, p.y + box.top]; }",
            [x, y, pane],
        )
        return found[0], found[1]

    def pixels(self) -> NDArray[np.uint8]:
        """Return the screen [height width 3]."""
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))

    def color(self, x: float, y: float, pane: int = 0) -> NDArray[np.int64]:
        """Return the colour of the screen at a place of the image."""
        left, top = self.screen(x, y, pane)
        return self.pixels()[int(top), int(left)].astype(np.int64)

    def is_close(self, x: float, y: float, color: Any, within: int = 8, pane: int = 0) -> bool:
        return bool(np.abs(self.color(x, y, pane) - np.rint(color)).max() <= within)


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Page]]:
    """Opens a page of some files; at the end, no page has said anything."""
    closing: list[Callable[[], object]] = []
    pages: list[Page] = []

    def open_page(*paths: Path, **options: Any) -> Page:
        scene = ViewScene(list(paths), scales={"Evidence": EVIDENCE}, **options)
        server = ViewServer(Answers(scene))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": 1100, "height": 700}, bypass_csp=False)
        closing.extend((context.close, server.shutdown, server.server_close, lambda: scene.__exit__()))
        pages.append(Page(context.new_page(), server))
        return pages[-1]

    yield open_page
    for close in closing:
        close()
    assert [page.said for page in pages] == [[]] * len(pages)


def plain_image(path: Path, side: int = 2048, color: tuple[int, int, int] = GREEN, **settings: Any) -> Path:
    """Write an image of one colour with a white square from (512, 768) to (576, 832)."""
    pixels = np.full((side, side, 3), color, np.uint8)
    pixels[768:832, 512:576] = 255
    info = ImageInfo(height=side, width=side, channels=3, dtype=pixels.dtype, color=True, **settings)
    with create_image(path, info, compression="deflate") as canvas:
        canvas.write(Window(0, 0, side, side), pixels)
    return path


def class_map(path: Path, side: int = 512) -> Path:
    """Write a map at a quarter of the size: tumor on the left half, stroma on the right."""
    values = np.ones((side, side, 1), np.uint8)
    values[:, side // 2 :] = 2
    values[-64:] = 255
    info = ImageInfo(height=side, width=side, channels=1, dtype=values.dtype, nodata=255)
    text = "classes: 0=background, 1=tumor, 2=stroma; 255=not looked at"
    with create_image(path, info, description=text, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, side, side), values)
    return path


def mixed(over: Any, below: Any, opacity: float) -> NDArray[np.float64]:
    return np.array(over) * opacity + np.array(below) * (1 - opacity)


def test_pixels_are_where_they_are_at_three_zooms(tmp_path: Path, show: Callable[..., Page]) -> None:
    page = show(plain_image(tmp_path / "image.tif"))
    for zoom in (0.3, 1, 6):
        page.look(544, 800, zoom)
        assert page.is_close(544, 800, (255, 255, 255), 3)
        assert page.is_close(508, 800, GREEN, 3)
        shot = page.pixels().astype(int)
        row, (left, _), (right, _) = int(page.screen(0, 800)[1]), page.screen(512, 0), page.screen(576, 0)
        white = np.flatnonzero((shot[row, :800] > 230).all(axis=-1))
        white = white[(white > left - 5) & (white < right + 5)]
        assert abs(white[0] - left) <= 1.01
        assert abs(white[-1] + 1 - right) <= 1.01


def test_layers_their_opacity_and_their_legend(tmp_path: Path, show: Callable[..., Page]) -> None:
    heat = np.full((64, 64, 1), 100, np.float32)
    heat[:, 32:] = np.nan
    info = ImageInfo(height=64, width=64, channels=1, dtype=heat.dtype, nodata=float("nan"))
    with create_image(tmp_path / "heat.tif", info, description="Evidence: times the even share") as canvas:
        canvas.write(Window(0, 0, 64, 64), heat)
    page = show(plain_image(tmp_path / "image.tif"), class_map(tmp_path / "map.tif"), tmp_path / "heat.tif")
    color, alpha = EVIDENCE.shades(heat[:1, :1, 0])
    below = mixed(ORANGE, GREEN, OPACITY["classes"])
    assert page.is_close(300, 300, mixed(color[0, 0], below, alpha[0, 0] * OPACITY["values"]))
    assert page.is_close(1500, 300, mixed(BLUE, GREEN, OPACITY["classes"]))
    assert page.is_close(1500, 2000, GREEN), "nothing was looked at there"
    # The second layer goes, by its key; the first becomes opaque, by its slider.
    page.page.keyboard.press("2")
    page.wait()
    assert page.is_close(300, 300, below)
    page.page.locator("section.layer input[type=range]").first.fill("1")
    page.wait()
    assert page.is_close(300, 300, ORANGE)
    page.page.keyboard.press("[")
    page.wait()
    assert page.is_close(300, 300, mixed(ORANGE, GREEN, 0.9))
    names = page.page.locator("section.layer").first.locator(".classes .name").all_inner_texts()
    assert names == ["background", "tumor", "stroma"]
    swatch = page.page.locator("section.layer .swatch").nth(1)
    shown = swatch.evaluate("each => getComputedStyle(each).backgroundColor")
    assert shown == "rgb({}, {}, {})".format(*ORANGE)
    assert page.page.locator("section.layer").nth(1).locator(".ticks span").count() == 5
    # A class goes, by its line in the legend.
    page.page.locator("section.layer .classes input").nth(1).uncheck()
    page.wait()
    assert page.is_close(300, 300, GREEN)
    assert page.is_close(1500, 300, mixed(BLUE, GREEN, 0.9))


def test_objects_lie_within_a_pixel(tmp_path: Path, show: Callable[..., Page]) -> None:
    shapes = collection(feature(square(900.4, 700.2, 120), "tumor"), feature(square(1200, 650, 2), "stroma"))
    page = show(plain_image(tmp_path / "image.tif"), write(tmp_path / "a.geojson", shapes))
    color = np.array(ORANGE)
    for zoom in (0.4, 1.3, 9):
        page.look(900.4, 760, zoom)
        shot = page.pixels().astype(int)
        row = int(page.screen(0, 760)[1])
        near = np.flatnonzero(np.abs(shot[row, :800] - color).sum(axis=-1) < 90)
        left = page.screen(900.4, 0)[0]
        near = near[np.abs(near - left) < 20]
        assert len(near), zoom
        assert abs((near[0] + near[-1] + 1) / 2 - left) <= 1, zoom
    assert page.page.locator("section.layer .count").all_inner_texts() == ["1", "1"]


def test_keys_and_the_link_to_a_view(tmp_path: Path, show: Callable[..., Page]) -> None:
    page = show(plain_image(tmp_path / "image.tif", mpp=0.5), class_map(tmp_path / "map.tif"))
    where = "fitView.panes[0].viewer.viewport.getCenter().x"
    zoom = "fitView.panes[0].viewer.viewport.getZoom()"
    centre, first = page.page.evaluate(where), page.page.evaluate(zoom)
    page.page.keyboard.press("+")
    page.page.keyboard.press("+")
    page.wait()
    assert page.page.evaluate(zoom) == pytest.approx(first * 2.25, rel=1e-3)
    page.page.keyboard.press("ArrowRight")
    page.wait()
    assert page.page.evaluate(where) > centre
    page.page.keyboard.press("f")
    page.wait()
    assert page.page.locator(".bar").inner_text() == "50 µm"
    page.page.keyboard.press("l")
    page.wait()
    link = page.page.evaluate("location.href")
    seen = page.page.evaluate(where)
    page.page.keyboard.press("0")
    page.page.keyboard.press("1")
    page.wait()
    assert page.page.evaluate(zoom) == pytest.approx(first, rel=1e-3)
    assert page.is_close(300, 300, mixed(ORANGE, GREEN, OPACITY["classes"]))
    page.page.goto("about:blank")
    page.page.goto(link)
    page.wait()
    assert page.page.evaluate(where) == pytest.approx(seen, abs=1e-4)
    assert not page.page.evaluate("fitView.panes[0].layers[0].shown")


def test_values_and_coordinates_under_the_pointer(tmp_path: Path, show: Callable[..., Page]) -> None:
    page = show(plain_image(tmp_path / "image.tif", geo=UTM), class_map(tmp_path / "map.tif"))
    page.look(544, 800, 2)
    page.page.mouse.move(*page.screen(540.5, 800.5))
    readout = page.page.locator(".readout")
    end = time.monotonic() + PATIENCE
    while "map.tif" not in readout.inner_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    lines = readout.inner_text().splitlines()
    assert lines == ["x 540, y 800   405405.00, 5691995.00 EPSG:32633", "255, 255, 255", "map.tif: tumor"]


def test_an_image_of_16_bits_and_its_range(tmp_path: Path, show: Callable[..., Page]) -> None:
    pixels = np.full((512, 512, 1), 1000, np.uint16)
    pixels[:, 256:] = 3000
    page = show(save(tmp_path / "image.tif", pixels))
    assert page.is_close(100, 100, (0, 0, 0), 3)
    assert page.is_close(400, 100, (255, 255, 255), 3)
    high = page.page.locator(".channel input[type=number]").nth(1)
    assert high.input_value() == "3000"
    high.fill("5000")
    high.press("Enter")
    end = time.monotonic() + PATIENCE
    while not page.is_close(400, 100, (128, 128, 128), 3):
        assert time.monotonic() < end
    assert page.is_close(100, 100, (0, 0, 0), 3)


def test_a_georeferenced_layer_lies_by_its_coordinates(tmp_path: Path, show: Callable[..., Page]) -> None:
    info = ImageInfo(height=100, width=100, channels=3, dtype=np.dtype(np.uint8), color=True, geo=PART)
    with create_image(tmp_path / "part.tif", info, compression="deflate") as canvas:
        canvas.write(Window(0, 0, 100, 100), np.full((100, 100, 3), (200, 0, 0), np.uint8))
    page = show(plain_image(tmp_path / "image.tif", geo=UTM), tmp_path / "part.tif")
    red = mixed((200, 0, 0), GREEN, OPACITY["picture"])
    for x, y, color in ((304, 204, red), (496, 396, red), (295, 300, GREEN), (400, 195, GREEN), (506, 300, GREEN)):
        assert page.is_close(x, y, color), (x, y)


def test_images_side_by_side_move_together(tmp_path: Path, show: Callable[..., Page]) -> None:
    other = plain_image(tmp_path / "other.tif", 1024, (90, 20, 120))
    page = show(plain_image(tmp_path / "image.tif"), other, class_map(tmp_path / "map.tif"), side_by_side=True)
    assert page.is_close(300, 300, (90, 20, 120), pane=1)
    assert page.is_close(100, 100, ORANGE, pane=2)
    zoom = "fitView.panes[0].viewer.viewport.getZoom(true)"
    first = page.page.evaluate(zoom)
    for key in ("+", "ArrowDown", "+"):
        page.page.keyboard.press(key)
        page.wait()
    assert page.page.evaluate(zoom) == pytest.approx(first * 2.25, rel=1e-3)
    # Any of them leads.
    page.page.mouse.move(*page.screen(300, 300, pane=1))
    page.page.mouse.wheel(0, -300)
    page.wait()
    assert page.page.evaluate(zoom) > first * 2.5
    bounds = [page.page.evaluate(BOUNDS.format(pane)) for pane in range(3)]
    assert bounds[0] == bounds[1] == bounds[2]


def test_a_hundred_thousand_polygons_can_be_moved(tmp_path: Path, show: Callable[..., Page]) -> None:
    random = np.random.default_rng(0)
    places = random.uniform(5, 8180, (100_000, 2)).round(1).tolist()
    names = ("tumor", "stroma", "immune")
    content = collection(*(feature(square(x, y, 5), names[n % 3]) for n, (x, y) in enumerate(places)))
    image = tmp_path / "image.tif"
    save(image, np.zeros((8192, 8192, 3), np.uint8))
    page = show(image, write(tmp_path / "a.geojson", content))
    assert page.page.locator("section.layer .about").inner_text().startswith("100,000 shapes")
    assert (page.pixels()[:, :750].max(axis=-1) > 100).mean() > 0.1
    for zoom in (0.3, 1.5):
        page.look(4000, 4000, zoom)
        for _ in range(3):
            page.page.mouse.move(600, 500)
            page.page.mouse.down()
            page.page.mouse.move(200, 150, steps=15)
            page.page.mouse.up()
        page.wait()
        x, y = places[int(np.argmin(np.abs(np.array(places) - seen_middle(page)).sum(axis=1)))]
        assert np.abs(page.color(x, y + 2.5) - 0).max() > 60, "the outline of the polygon in the middle"


def seen_middle(page: Page) -> NDArray[np.float64]:
    found = page.page.evaluate(
        "(() => { const c = fitView.panes[0].viewer.viewport.getCenter(); return [c.x, c.y]; })()"
    )
    return np.array(found) * 8192


def test_a_picture_of_the_view(tmp_path: Path, show: Callable[..., Page]) -> None:
    shapes = collection(feature(square(600, 900, 400), "tumor"))
    page = show(plain_image(tmp_path / "image.tif"), write(tmp_path / "a.geojson", shapes))
    with page.page.expect_download() as download:
        page.page.keyboard.press("s")
    path = tmp_path / "view.png"
    download.value.save_as(path)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    size = page.page.evaluate(
        "(() => { const s = fitView.panes[0].viewer.viewport.getContainerSize(); return [s.y, s.x]; })()"
    )
    assert list(picture.shape[:2]) == size
    for x, y, color in ((544, 800, (255, 255, 255)), (100, 100, GREEN)):
        left, top = page.screen(x, y)
        assert np.abs(picture[int(top), int(left)] - color).max() <= 3
    left, top = page.screen(600, 1100)
    assert np.abs(picture[int(top), int(left) - 1 : int(left) + 2] - ORANGE).sum(axis=-1).min() < 120


def test_names_with_markup_are_text(tmp_path: Path, show: Callable[..., Page]) -> None:
    name = "<img src=x onerror=alert(1)>"
    shapes = write(tmp_path / f"{name}.geojson", collection(feature(square(600, 900, 400), f"<b>{name}")))
    page = show(plain_image(tmp_path / "image.tif"), shapes)
    assert page.page.locator("section.layer .classes .name").inner_text() == f"<b>{name}"
    assert name in page.page.locator("section.layer h2").inner_text()
    assert page.page.locator("section img").count() == 0


def test_a_file_that_breaks_meanwhile_says_so(
    tmp_path: Path, show: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = show(plain_image(tmp_path / "image.tif"))
    (tmp_path / "image.tif").write_bytes(b"II*\0" + bytes(100))
    page.look(1700, 1700, 8)
    shot = page.pixels()[100:600, 100:700].astype(int)
    assert (np.abs(shot - (72, 20, 20)).max(axis=-1) < 12).mean() > 0.3


def test_another_page_of_the_browser_reaches_nothing(tmp_path: Path, show: Callable[..., Page]) -> None:
    page = show(plain_image(tmp_path / "image.tif"))
    origin = page.url.split("/", 3)
    base = "/".join(origin[:3])
    request = page.page.request
    assert request.get(f"{base}/scene.json").status == 403
    assert request.get(f"{base}/{'x' * 22}/scene.json").status == 403
    assert request.get(f"{page.url}scene.json", headers={"Host": "evil.example"}).status == 403
    assert request.post(f"{page.url}scene.json").status == 405
    assert request.get(f"{page.url}../etc/passwd").status in (403, 404)
    # A page of another origin neither reads an answer nor frames a script of this one.
    other = page.page.context.new_page()
    other.goto(f"data:text/html,<script src='{page.url}view.js'></script>")
    assert other.evaluate("window.fitView === undefined")
    assert other.evaluate(f"fetch('{page.url}scene.json').then(() => 'read', () => 'refused')") == "refused"
