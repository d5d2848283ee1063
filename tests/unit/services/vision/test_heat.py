"""The heat map and the regions read off it."""

import io

import numpy as np
from PIL import Image

from models.services.vision.heat import heat_png, regions


def a_map() -> np.ndarray:
    heat = np.full((10, 12), -8.0, np.float32)
    heat[2:4, 3:6] = 5.0
    heat[7, 9:11] = 9.0
    heat[9, 0] = 20.0  # a single place
    return heat


def test_regions_are_boxes_in_pixels_strongest_first_and_single_places_are_none() -> None:
    assert regions(a_map(), (96, 80)) == [
        {"box": [72, 56, 88, 64], "log_odds": 9.0},
        {"box": [24, 16, 48, 32], "log_odds": 5.0},
    ]


def test_a_box_ends_where_the_picture_does() -> None:
    assert regions(a_map(), (84, 60))[0]["box"] == [72, 56, 84, 60]


def test_no_region_without_evidence() -> None:
    assert regions(np.full((4, 4), -1.0, np.float32), (32, 32)) == []


def test_the_png_has_the_size_of_the_picture_and_colour_only_where_it_is_hot() -> None:
    pixels = np.full((77, 93, 3), 200, np.uint8)
    content = heat_png(pixels, a_map())
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert shown.shape == (77, 93, 3)
    spread = shown.max(2) - shown.min(2)
    assert spread[20:28, 28:44].min() > 30
    assert spread[40:50, 0:60].max() <= 8
