"""From a flat page to a photograph or scan: perspective, lighting, shadow, blur, sensor noise, JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

SIDE = 512
"""Width and height of the canvas at scale 1."""


@dataclass(frozen=True, slots=True)
class Camera:
    """How one picture is taken.

    Attributes
    ----------
    corners
        (4, 2) corners of the page in the picture, clockwise from the top left, in pixels.
    size
        Width and height of the picture.
    matrix
        (8,) coefficients that take a picture's point to the page's, as Pillow wants them.
    blur
        Standard deviation of the lens blur in pixels.
    noise
        Standard deviation of the sensor noise in grey levels.
    quality
        JPEG quality of the camera.
    """

    corners: F32
    size: tuple[int, int]
    matrix: tuple[float, ...]
    desk: tuple[int, int, int]
    light: tuple[float, float, float]
    tint: tuple[float, float, float]
    shadow: tuple[float, float, float, float] | None
    blur: float
    noise: float
    quality: int
    seed: int


def homography(source: F32, target: F32) -> npt.NDArray[np.float64]:
    """Return the (3, 3) projective map that takes four points to four others (direct linear transform)."""
    rows = []
    for (x, y), (u, v) in zip(source.astype(np.float64), target.astype(np.float64), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solved = np.linalg.solve(np.array(rows), target.astype(np.float64).reshape(-1))
    return np.append(solved, 1.0).reshape(3, 3)


def draw_camera(page_size: tuple[int, int], rng: np.random.Generator, scale: float = 1.0) -> Camera:
    """Draw a camera for a page: a scanner in three of ten cases, else a phone."""
    width, height = page_size
    scan = rng.random() < 0.3
    tilt = 3.0 if scan else 12.0
    margin = rng.uniform(2, 6) if scan else rng.uniform(6, 20)
    border = np.float32(margin * scale)
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # The picture's sides are cut to the page and a border, never scaled: text keeps the size it was set in.
    size = (min(round(SIDE * scale), round(width + 2 * border)), min(round(SIDE * scale), round(height + 2 * border)))
    corners = flat + border + rng.uniform(-tilt / 2, tilt / 2, (4, 2)).astype(np.float32) * scale
    corners[:, 0] = np.clip(corners[:, 0], 0, size[0])
    corners[:, 1] = np.clip(corners[:, 1], 0, size[1])
    matrix = homography(corners, flat).reshape(-1)[:8]
    shadow = None
    if not scan and rng.random() < 0.5:
        shadow = tuple(
            float(v) for v in (rng.uniform(0, 6.3), rng.uniform(-0.3, 0.5), rng.uniform(0.62, 0.9), rng.uniform(4, 30))
        )
    return Camera(
        corners=corners,
        size=size,
        matrix=tuple(float(v) for v in matrix),
        desk=(250, 250, 250) if scan else tuple(int(v) for v in rng.integers(30, 200, 3)),  # type: ignore[arg-type]
        light=(
            float(rng.uniform(0, 6.3)),
            0.03 if scan else float(rng.uniform(0.02, 0.3)),
            float(rng.uniform(0.82, 1.02)),
        ),
        tint=(1.0, 1.0, 1.0) if scan else tuple(float(v) for v in rng.uniform(0.92, 1.06, 3)),  # type: ignore[arg-type]
        shadow=shadow,  # type: ignore[arg-type]
        blur=float(rng.uniform(0.6, 1.1)),
        noise=float(rng.uniform(4.0, 8.0)),
        quality=int(rng.integers(82, 93)),
        seed=int(rng.integers(2**31)),
    )


def expose(flat: Image.Image, camera: Camera, blur: float, noise: float, noise_seed: int) -> U8:
    """Project a flat page into the picture, light it, blur it and add noise: (h, w, 3), before any JPEG."""
    warped = flat.transform(
        camera.size, Image.Transform.PERSPECTIVE, camera.matrix, Image.Resampling.BILINEAR, fillcolor=camera.desk
    )
    lit = np.asarray(warped, np.float32) * illumination(camera)
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    if blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(image, np.float32)
    if noise > 0:
        rng = np.random.default_rng(noise_seed)
        height, width = pixels.shape[:2]
        grain = rng.standard_normal((height, width), dtype=np.float32) * noise
        colour = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32) * (0.5 * noise)
        pixels = pixels + grain[:, :, None] + colour.repeat(2, 0).repeat(2, 1)[:height, :width]
    clipped: U8 = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return clipped


def illumination(camera: Camera) -> F32:
    """Return the light that falls on every pixel, (h, w, 3), 1 for full."""
    width, height = camera.size
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    angle, slope, level = camera.light
    field = level + slope * (np.cos(np.float32(angle)) * x + np.sin(np.float32(angle)) * y)
    if camera.shadow is not None:
        direction, offset, depth, softness = camera.shadow
        along = np.cos(np.float32(direction)) * x + np.sin(np.float32(direction)) * y - np.float32(offset)
        field = field * (1 - (1 - depth) / (1 + np.exp(np.clip(-along * softness * 4, -40, 40))))
    light: F32 = (field[:, :, None] * np.array(camera.tint, np.float32)).astype(np.float32)
    return light


def photograph(flat: Image.Image, camera: Camera) -> U8:
    """Take the picture as the camera stores it: exposed, and through its JPEG once."""
    return through_jpeg(expose(flat, camera, camera.blur, camera.noise, camera.seed), camera.quality)


def to_jpeg(pixels: U8, quality: int) -> bytes:
    """Compress; 4:2:0 chroma, as cameras and messengers do."""
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=quality, subsampling=2)
    return packed.getvalue()


def through_jpeg(pixels: U8, quality: int) -> U8:
    """Compress and decompress."""
    return read_jpeg(to_jpeg(pixels, quality))


def read_jpeg(content: bytes) -> U8:
    """Decode a JPEG to (h, w, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def project(camera: Camera, page_size: tuple[int, int], box: tuple[int, int, int, int]) -> F32:
    """Return where a box of the flat page is in the picture, (4, 2)."""
    width, height = page_size
    page = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    forward = homography(page, camera.corners)
    left, top, right, bottom = box
    points = np.array([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]], np.float64)
    mapped = points @ forward.T
    return (mapped[:, :2] / mapped[:, 2:]).astype(np.float32)
