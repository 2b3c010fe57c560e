"""Opens the images that a run is used on, and names those whose scale or colours are not those of training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fitcli import console
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError, OverLimit, UnreadableAs
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader
from fitcli.images.patch_size import guessed_difference, patch_size
from fitcli.images.read_as import ReadAs, open_as
from fitcli.images.scale import same_scale
from fitcli.memory.budget import size_text
from fitcli.patches.preprocessing import Preprocessing

UNREADABLE, OTHER_SCALE = "images that cannot be read as chosen", "images of another scale"
RECOLORED, TOO_LARGE = "images of other colours", "images that exceed the memory limit"
FAR_LARGER = "images far larger than those of training"
OTHER_PATCHES = "features of patches of another size"
NEEDED = "memory that an image needs"
"""Events that the queue counts over all processes, and bytes of which it keeps the most."""

FAR = 4.0
"""How many times as long as the longest training image an image may be without a warning."""


@dataclass(frozen=True, slots=True)
class ImageOpener:
    """Opens the images of one command as in training, or as the user wants them read.

    Attributes:
        queue: The processes that share the images.
        preprocessing: The pixels that the model was trained on.
        chosen: Choice of the user; None for that of training.
        answers: Whether the command says what an image shows, so that its size matters.
    """

    queue: ImageQueue
    preprocessing: Preprocessing
    chosen: ReadAs | None = None
    answers: bool = True

    @property
    def how(self) -> ReadAs:
        """What is read of each image: the choices of the user, else those of training.

        Only a user who asks for a scale needs images that have one.
        """
        trained = replace(self.preprocessing.read_as, needs_scale=False)
        return trained if self.chosen is None else self.chosen.over(trained)

    def open(self, path: Path) -> ImageReader:
        """Open an image.

        The first one of another scale than in training is warned of, and the first one that is far larger; the first
        one whose colours are converted is named; `finish` counts the others.

        Raises:
            ImageError: It cannot be opened, or does not have the level or the scale that the user asks for.
        """
        image = open_as(path, self.how)
        self._note_colors(image)
        self._note_size(image)
        self._note_patches(image)
        scale, trained = image.info.mpp, self.preprocessing.mpp
        if scale is None and self.how.mpp is not None:
            self._warn(
                f"{path}: does not say its microns per pixel and is read as it is; training images were read at "
                f"{self.how.mpp:g}"
            )
        # An image or a run without a scale cannot be compared.
        elif scale is not None and trained is not None and not self._was_trained(scale, trained):
            self._warn(
                f"{path}: has {scale:g} microns per pixel, the run was trained at {trained:g}, so things have another "
                f"size in pixels; --mpp {trained:g} reads images at the scale of the run"
            )
        return image

    def report(self, error: FitError) -> None:
        """Print why an image cannot be used. Of images that one option makes unusable, only the first is named."""
        if isinstance(error, OverLimit):
            self.queue.largest(NEEDED, error.needed_bytes)
        event = {UnreadableAs: UNREADABLE, OverLimit: TOO_LARGE}.get(type(error))
        if event is None:
            console.error(str(error))
        elif self.queue.tally(event) == 1:
            console.error(f"{error}{self._others}")

    def finish(self) -> None:
        """Print how many further images were not named; call on the first process after all images."""
        if (more := self.queue.tally(UNREADABLE, 0) - 1) > 0:
            console.error(f"{counted(more, 'more image')} cannot be read as chosen, like the first")
        if (more := self.queue.tally(TOO_LARGE, 0) - 1) > 0:
            most = size_text(self.queue.largest(NEEDED))
            need = counted(more, "more image needs", "more images need")
            console.error(f"{need} more memory than is allowed; {most} are enough, with --memory")
        if (more := self.queue.tally(OTHER_SCALE, 0) - 1) > 0:
            console.warning(f"the scale of {counted(more, 'more image')} is another than in training, or unknown")
        if (more := self.queue.tally(FAR_LARGER, 0) - 1) > 0:
            longer = counted(more, "more image is", "more images are")
            console.warning(f"{longer} over {FAR:g} times as long as any training image")
        if (more := self.queue.tally(OTHER_PATCHES, 0) - 1) > 0:
            console.warning(f"{counted(more, 'more file has', 'more files have')} features at another distance, too")
        if (more := self.queue.tally(RECOLORED, 0) - 1) > 0:
            console.log(f"the colours of {counted(more, 'more image')} are converted, too")

    @property
    def _others(self) -> str:
        """What stands behind the message for the first of several images."""
        return " (further images are not named)" if self.queue.count > 1 else ""

    def _note_colors(self, image: ImageReader) -> None:
        change = "" if self.preprocessing.mismatch(image.info) else self.preprocessing.channel_change(image.info)
        if change and self.queue.tally(RECOLORED) == 1:
            console.log(f"{image.path}: {change}, as in training{self._others}")

    def _note_size(self, image: ImageReader) -> None:
        side, trained = max(image.info.size), self.preprocessing.trained_sides
        if self.answers and trained is not None and side > FAR * trained[1] and self.queue.tally(FAR_LARGER) == 1:
            console.warning(
                f"{image.path}: is {side / trained[1]:.1f} times as long as any training image ({side:,} pixels, the "
                f"longest had {trained[1]:,}); the model may be sure and wrong, so check its answers on images of this "
                f"size that you know{self._others}"
            )

    def _note_patches(self, image: ImageReader) -> None:
        size, trained = patch_size(image.info.features), self.preprocessing.trained_patch
        # Sizes that are stated and differ make the image unusable.
        if size is None or trained is None or (size.stated and trained.stated) or size.agrees(trained):
            return
        if self.queue.tally(OTHER_PATCHES) == 1:
            console.warning(
                f"{image.path}: {guessed_difference(size, trained, 'the run was trained on')}{self._others}"
            )

    def _was_trained(self, scale: float, usual: float) -> bool:
        """Return whether training images had a scale: the usual one, or one that augmentation gave them."""
        least, most = self.preprocessing.trained_scales or (usual, usual)
        return least <= scale <= most or same_scale(scale, usual)

    def _warn(self, text: str) -> None:
        if self.queue.tally(OTHER_SCALE) == 1:
            console.warning(f"{text}{self._others}")
