"""Takes a picture of a page with Chromium, for the documentation.

python -m benchmarks.support.page_picture PAGE.html PICTURE.jpg [--height 1500] [--dark]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, SHOWN = 1160, 870
"""Width of the window, and of the picture, in pixels."""


def take_picture(page: Path, picture: Path, height: int, dark: bool = False) -> None:
    """Write a picture of the upper part of a page.

    Raises:
        OSError, subprocess.CalledProcessError: Chromium is not installed, or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   f"--window-size={WIDTH},{height}", f"--screenshot={shot}", page.resolve().as_uri()]  # fmt: skip
        if dark:
            command[1:1] = ["--blink-settings=preferredColorScheme=0"]
        subprocess.run(command, check=True, capture_output=True)
        with Image.open(shot) as image:
            size = SHOWN, round(image.height * SHOWN / image.width)
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(picture, quality=80, optimize=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    take_picture(arguments.page, arguments.picture, arguments.height, arguments.dark)


if __name__ == "__main__":
    main()
