"""What a file is, judged by its content: Google's Magika, a small network over the first and last bytes.

References
----------
Magika: https://github.com/google/magika (Apache-2.0)
"""

from __future__ import annotations

import functools

from magika import Magika


@functools.cache
def _magika() -> Magika:
    return Magika()


def content_kind(content: bytes) -> str:
    """Name the kind of content: png, jpeg, webp, svg, pdf, html, zip, ... or unknown."""
    return str(_magika().identify_bytes(content).output.label)
