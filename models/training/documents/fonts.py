"""Free fonts from pinned packages: DejaVu (matplotlib), Roboto, Caladea (Apache-2.0), Source (OFL-1.1)."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

_DEJAVU = "matplotlib", "mpl-data/fonts/ttf"

FAMILIES: dict[str, tuple[tuple[str, str], str, str]] = {
    "dejavu-sans": (_DEJAVU, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    "dejavu-serif": (_DEJAVU, "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    "dejavu-mono": (_DEJAVU, "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    "roboto": (("font_roboto", "files"), "Roboto-Regular.ttf", "Roboto-Bold.ttf"),
    "source-sans": (("font_source_sans_pro", "files"), "SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf"),
    "source-serif": (("font_source_serif_pro", "files"), "SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf"),
    "caladea": (("font_caladea", "files"), "Caladea-Regular.ttf", "Caladea-Bold.ttf"),
}
"""Family -> (package and folder in it, regular file, bold file)."""

TYPE: dict[str, str] = {
    "dejavu-sans": "sans",
    "roboto": "sans",
    "source-sans": "sans",
    "dejavu-serif": "serif",
    "source-serif": "serif",
    "caladea": "serif",
    "dejavu-mono": "mono",
}


@lru_cache(maxsize=512)
def font(family: str, size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Open a font at a size in pixels. Basic layout: what is drawn must not depend on whether Raqm is installed.

    Raises
    ------
    ModuleNotFoundError
        The package that carries the font is not installed.
    """
    (package, folder), regular, heavy = FAMILIES[family]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the font {family!r} comes with {package!r}: pip install 'weir[documents]'")
    path = Path(spec.origin).parent / folder / (heavy if bold else regular)
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)
