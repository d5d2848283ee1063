"""From a picture to the squares that the network looks at: at its own size where it fits, else in tiles and once as a
whole.

Traces of editing live in single pixels, so a large picture is cut, not made smaller, for the forensic branch; what
kind of document it is shows when it is small.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

U8 = npt.NDArray[np.uint8]

SIDE = 512
STRIDE = 448
"""Distance of tiles: 64 pixels of overlap, so that an edit on a border is whole in one of them."""
MAX_TILES = 12
"""Larger pictures are made smaller first; 12 tiles are about 1,900 x 1,400 pixels."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture, ready for the network.

    Attributes
    ----------
    pixels
        (h, w, 3) RGB as the forensic branch sees it.
    squares
        (n, 3, 512, 512) uint8, 0 beside the page: the whole page first, then its tiles; one square alone where the
        page fits it.
    corners
        Left and top of each tile in `pixels`, as many as there are forensic squares.
    factor
        By how much the picture was made smaller to keep `MAX_TILES`.
    """

    pixels: U8
    squares: U8
    corners: tuple[tuple[int, int], ...]
    factor: float

    @property
    def is_tiled(self) -> bool:
        """Whether the first square is the page made small, of no use to the forensic branch."""
        return len(self.squares) > 1


def decode(content: bytes) -> U8:
    """Decode a picture, (h, w, 3) RGB, turned as its EXIF data say, transparent places white.

    Raises
    ------
    ValueError
        The content cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("RGBA", "LA", "P", "PA"):
                layered = image.convert("RGBA")
                image = Image.new("RGBA", layered.size, (255, 255, 255, 255))
                image.alpha_composite(layered)
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as cause:
        raise ValueError(
            f"the image cannot be decoded ({type(cause).__name__}): send a whole PNG, JPEG, WebP or TIFF"
        ) from cause


def prepare(pixels: U8) -> Prepared:
    """Cut a picture into squares."""
    height, width = pixels.shape[:2]
    factor = 1.0
    while _tiles(round(height / factor)) * _tiles(round(width / factor)) > MAX_TILES:
        factor *= 1.05
    if factor > 1.0:
        pixels = resized(pixels, (max(1, round(width / factor)), max(1, round(height / factor))))
        height, width = pixels.shape[:2]
    if height <= SIDE and width <= SIDE:
        return Prepared(pixels, square(pixels)[None], ((0, 0),), factor)
    shrink = SIDE / max(height, width)
    whole = resized(pixels, (max(1, round(width * shrink)), max(1, round(height * shrink))))
    corners = tuple((x, y) for y in _starts(height) for x in _starts(width))
    tiles = [square(pixels[y : y + SIDE, x : x + SIDE]) for x, y in corners]
    return Prepared(pixels, np.stack([square(whole), *tiles]), corners, factor)


def square(pixels: U8) -> U8:
    """Place at most 512 x 512 pixels in the upper left of a square, (3, 512, 512); zero means no page."""
    out = np.zeros((3, SIDE, SIDE), np.uint8)
    out[:, : pixels.shape[0], : pixels.shape[1]] = np.maximum(pixels, 1).transpose(2, 0, 1)
    return out


def resized(pixels: U8, size: tuple[int, int]) -> U8:
    """Resize to (width, height)."""
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _tiles(length: int) -> int:
    return len(_starts(length))


def _starts(length: int) -> list[int]:
    if length <= SIDE:
        return [0]
    count = -(-(length - SIDE) // STRIDE) + 1
    # Starts on multiples of 8 keep the grid of the last JPEG where training had it.
    return sorted({min(length - SIDE, i * STRIDE) // 8 * 8 for i in range(count - 1)} | {(length - SIDE + 7) // 8 * 8})
