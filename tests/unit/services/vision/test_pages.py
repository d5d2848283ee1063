"""Pictures cut into squares: nothing lost, tiles on the grid of 8, one square where the page fits."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.services.vision.pages import MAX_TILES, SIDE, decode, prepare


def a_picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1_500), st.integers(1, 1_500))
def test_tiles_cover_every_pixel_and_zero_means_no_page(height: int, width: int) -> None:
    page = prepare(a_picture(height, width))
    height, width = page.pixels.shape[:2]
    covered = np.zeros((height, width), bool)
    tiles = page.squares[page.is_tiled :]
    assert len(tiles) == len(page.corners) <= MAX_TILES
    for (x, y), tile in zip(page.corners, tiles, strict=True):
        assert x % 8 == y % 8 == 0
        inside = page.pixels[y : y + SIDE, x : x + SIDE]
        shown = tile[:, : inside.shape[0], : inside.shape[1]].transpose(1, 2, 0)
        np.testing.assert_array_equal(shown, np.maximum(inside, 1))
        assert not tile[:, inside.shape[0] :].any()
        assert not tile[:, :, inside.shape[1] :].any()
        covered[y : y + SIDE, x : x + SIDE] = True
    assert covered.all()


def test_a_page_that_fits_is_one_square_at_its_own_size() -> None:
    page = prepare(a_picture(512, 300))
    assert not page.is_tiled
    assert page.squares.shape == (1, 3, SIDE, SIDE)
    assert page.factor == 1.0


def test_a_huge_picture_is_made_smaller_before_it_is_cut() -> None:
    page = prepare(a_picture(2_400, 3_000))
    assert page.factor > 1.0
    assert len(page.corners) <= MAX_TILES


def a_file(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(a_picture(20, 30)).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_kind_of_raster_is_decoded(kind: str) -> None:
    assert decode(a_file(kind)).shape == (20, 30, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_every_mode_becomes_colours(mode: str) -> None:
    assert decode(a_file("PNG", mode)).shape == (20, 30, 3)


def test_a_picture_is_turned_as_its_exif_data_say() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(a_file("JPEG", exif=exif)).shape == (30, 20, 3)


def test_what_cannot_be_decoded_is_refused() -> None:
    for content in (b"", b"no image", a_file("PNG")[:60]):
        with pytest.raises(ValueError, match="cannot be decoded"):
            decode(content)
