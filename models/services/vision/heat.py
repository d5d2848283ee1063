"""The heat map: where the network saw traces of editing, over the picture, as PNG.

The network's map holds, for every place of 8 x 8 pixels, the log-odds of an edit that its last linear layer gives
that place. This is a class activation map (Zhou et al.), and for the target "mean of this map over the page" it is
Grad-CAM exactly, but for the constant of the bias: the gradient of the target by a channel of the last features is
that channel's weight in the linear layer at every place, so the weighted sum of channels that Grad-CAM forms is the
linear layer's own output (Selvaraju et al., section 3.1). With six kinds of forgery the map is the log-sum-exp of
their log-odds, so each kind's gradient enters by its share at that place. It says where, not why; and the page's
score is formed by attention over the same places, not by their mean.

References
----------
Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, https://arxiv.org/abs/1512.04150
Selvaraju et al., Grad-CAM, ICCV 2017, https://arxiv.org/abs/1610.02391
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

PLACE = 8
_STOPS = np.array([[0, 0, 0], [90, 0, 120], [230, 40, 40], [255, 170, 0], [255, 255, 160]], np.float32)


def heat_png(pixels: U8, heat: F32) -> bytes:
    """Lay a map over a picture.

    Parameters
    ----------
    pixels
        (h, w, 3).
    heat
        Log-odds of each place, (ceil(h / 8), ceil(w / 8)) or larger.
    """
    height, width = pixels.shape[:2]
    probability = 1.0 / (1.0 + np.exp(-np.clip(heat, -30, 30)))
    places = Image.fromarray((probability * 255).astype(np.uint8))
    large = places.resize((places.width * PLACE, places.height * PLACE), Image.Resampling.BILINEAR)
    strength = np.asarray(large, np.float32)[:height, :width] / 255
    position = strength * (len(_STOPS) - 1)
    low = np.minimum(position.astype(int), len(_STOPS) - 2)
    colour = _STOPS[low] + (_STOPS[low + 1] - _STOPS[low]) * (position - low)[:, :, None]
    alpha = (0.75 * np.sqrt(strength))[:, :, None]
    grey = pixels.astype(np.float32).mean(2, keepdims=True)
    packed = io.BytesIO()
    Image.fromarray((grey * (1 - alpha) + colour * alpha).astype(np.uint8)).save(packed, "PNG")
    return packed.getvalue()


def regions(heat: F32, size: tuple[int, int], least: float = 0.0, most: int = 5) -> list[dict[str, Any]]:
    """Return boxes around connected places above `least` log-odds, strongest first.

    Parameters
    ----------
    heat
        Log-odds of places.
    size
        Width and height of the picture; boxes end there.

    Returns
    -------
    list of dict
        `{"box": [left, top, right, bottom], "log_odds": strongest place}`; single places are left out.
    """
    hot = heat > least
    seen = np.zeros_like(hot)
    found: list[dict[str, Any]] = []
    for start_y, start_x in np.argwhere(hot):
        if seen[start_y, start_x]:
            continue
        stack, members = [(int(start_y), int(start_x))], []
        seen[start_y, start_x] = True
        while stack:
            y, x = stack.pop()
            members.append((y, x))
            for ny in range(max(0, y - 1), min(hot.shape[0], y + 2)):
                for nx in range(max(0, x - 1), min(hot.shape[1], x + 2)):
                    if hot[ny, nx] and not seen[ny, nx]:
                        seen[ny, nx] = True
                        stack.append((ny, nx))
        if len(members) < 2:
            continue
        ys, xs = zip(*members, strict=True)
        box = [
            min(xs) * PLACE,
            min(ys) * PLACE,
            min(size[0], (max(xs) + 1) * PLACE),
            min(size[1], (max(ys) + 1) * PLACE),
        ]
        found.append({"box": box, "log_odds": round(float(max(heat[y, x] for y, x in members)), 3)})
    return sorted(found, key=lambda region: -region["log_odds"])[:most]
