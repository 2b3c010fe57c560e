"""Makes a picture of docs/segmentation.md: an image, the probability of a class as a heat map, the map of classes.

    python -m benchmarks.segmentation_pictures --checkpoint RUN --image IMAGE --name CLASS [--out FILE.jpg]

All three come from one pass of `fit segment`, with `--probabilities`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fitcli.commands.segment import segment
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.classify.color_scale import EVIDENCE, HIGHEST
from fitcli.tasks.load import load_config

PANEL, GAP = 440, 12
"""Side of a panel and the distance between two, in pixels."""


def panel(pixels: NDArray[Any]) -> Image.Image:
    """Shrink pixels [height width 3] to the side of a panel."""
    return Image.fromarray(pixels.astype(np.uint8)).resize((PANEL, PANEL), Image.Resampling.BOX)


def heat(grey: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[Any]:
    """Colour grey pixels [height width 1] by a probability [height width]: 0 has the first colour, 1 the last."""
    # The scale is logarithmic: these values lie on it as the probabilities lie between 0 and 1.
    return EVIDENCE.blend(grey, np.expm1(share * np.log1p(np.float32(HIGHEST))).astype(np.float32))


def read(path: Path) -> NDArray[Any]:
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--name", required=True, help="class whose probability is shown")
    parser.add_argument("--out", type=Path, default=Path("docs/segmentation-heat.jpg"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shares, classes = Path(folder) / "shares.tif", Path(folder) / "map.png"
        segment([str(given.image)], given.checkpoint, classes, probabilities=shares)
        number = load_config(given.checkpoint).classes.index(given.name)
        share = read(shares)[..., number].astype(np.float32) / np.float32(255)
        colored = np.asarray(Image.open(classes).convert("RGB"))
    pixels = read(given.image)
    panels = [pixels, heat(pixels.mean(axis=-1, keepdims=True).astype(np.float32), share), colored]
    picture = Image.new("RGB", (len(panels) * (PANEL + GAP) - GAP, PANEL), "white")
    for place, each in enumerate(panels):
        picture.paste(panel(each), (place * (PANEL + GAP), 0))
    picture.save(given.out, quality=82, optimize=True)
    print(f"{given.out}: {picture.width} x {picture.height}, {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
