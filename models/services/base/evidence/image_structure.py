"""The structure of PNG, JPEG and WebP files, read without decoding a pixel.

It tells the size of the image, and whether the file is an image and nothing else: what stands behind the end of the
image, or in its comments and metadata, is how a file is made that another program takes for a page, an archive or a
document (a polyglot).

References
----------
PNG: https://www.w3.org/TR/png-3/#5DataRep · JPEG: ITU-T T.81, annex B · WebP: RFC 9649
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from models.services.base.errors import UnsupportedContentError

PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS_OF_PNG = frozenset({b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"IEND"})

# What other programs look for; none of it belongs in the metadata of a photograph.
_FOREIGN = (
    b"%pdf-",
    b"<svg",
    b"<html",
    b"<script",
    b"<!doctype",
    b"<iframe",
    b"<?php",
    b"pk\x03\x04",
    b"pk\x05\x06",
    b"rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
    b"#!/",
)


@dataclass(frozen=True, slots=True)
class ImageStructure:
    """What a file's structure says of it."""

    media_type: str
    width: int
    height: int


def read_structure(content: bytes) -> ImageStructure:
    """Walk through an image file.

    Raises
    ------
    UnsupportedContentError
        If it is no PNG, JPEG or WebP, is cut off, moves, or holds anything but the image.
    """
    try:
        if content.startswith(PNG):
            return _png(content)
        if content.startswith(b"\xff\xd8\xff"):
            return _jpeg(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp(content)
    except (struct.error, IndexError):
        raise UnsupportedContentError("the image is cut off or damaged: send it again") from None
    raise UnsupportedContentError("this is no PNG, JPEG or WebP image: convert it to one of them")


def _png(content: bytes) -> ImageStructure:
    width = height = 0
    at = len(PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            raise UnsupportedContentError("the PNG is cut off: send it again")
        if at == len(PNG):
            if kind != b"IHDR":
                raise UnsupportedContentError("the PNG does not begin with its header: it is damaged")
            width, height = struct.unpack_from(">II", content, at + 8)
        if kind == b"acTL":
            raise UnsupportedContentError("the PNG moves: send a still image")
        if kind not in _PIXELS_OF_PNG:
            _refuse_foreign(content[at:end], "PNG")
        at = end
        if kind == b"IEND":
            break
    _refuse_rest(content, at, "PNG")
    return _sized("image/png", width, height)


def _jpeg(content: bytes) -> ImageStructure:
    width = height = 0
    at = 2
    while True:
        if content[at] != 0xFF:
            raise UnsupportedContentError("the JPEG's segments are damaged: send it again")
        while content[at] == 0xFF:  # any number of fill bytes may stand before a marker
            at += 1
        marker = content[at]
        at += 1
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        (length,) = struct.unpack_from(">H", content, at)
        end = at + length
        if length < 2 or end > len(content):
            raise UnsupportedContentError("the JPEG is cut off: send it again")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 3)
        elif marker == 0xFE or 0xE0 <= marker <= 0xEF:
            _refuse_foreign(content[at:end], "JPEG")
        at = _after_scan(content, end) if marker == 0xDA else end
    _refuse_rest(content, at, "JPEG")
    return _sized("image/jpeg", width, height)


def _after_scan(content: bytes, at: int) -> int:
    """Skip entropy-coded data: it ends at a marker that is neither stuffing (FF 00) nor a restart (FF D0-D7)."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            raise UnsupportedContentError("the JPEG is cut off: send it again")
        following = content[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at


def _webp(content: bytes) -> ImageStructure:
    (size,) = struct.unpack_from("<I", content, 4)
    end_of_file = 8 + size
    if end_of_file > len(content):
        raise UnsupportedContentError("the WebP is cut off: send it again")
    width = height = 0
    at = 12
    while at < end_of_file:
        kind, length = struct.unpack_from("<4sI", content, at)
        body, end = at + 8, at + 8 + length + (length & 1)
        if end > end_of_file:
            raise UnsupportedContentError("the WebP is cut off: send it again")
        if kind == b"VP8X":
            if content[body] & 0x02:
                raise UnsupportedContentError("the WebP moves: send a still image")
            width = 1 + int.from_bytes(content[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(content[body + 7 : body + 10], "little")
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", content, body + 1)
            width, height = max(width, 1 + (bits & 0x3FFF)), max(height, 1 + (bits >> 14 & 0x3FFF))
        elif kind == b"VP8 ":
            across, down = struct.unpack_from("<HH", content, body + 6)
            width, height = max(width, across & 0x3FFF), max(height, down & 0x3FFF)
        elif kind != b"ALPH":
            _refuse_foreign(content[at:end], "WebP")
        at = end
    _refuse_rest(content, end_of_file, "WebP")
    return _sized("image/webp", width, height)


def _sized(media_type: str, width: int, height: int) -> ImageStructure:
    if width < 1 or height < 1:
        raise UnsupportedContentError("the image has no pixels: it is damaged")
    return ImageStructure(media_type, width, height)


def _refuse_rest(content: bytes, end: int, name: str) -> None:
    if end != len(content):
        raise UnsupportedContentError(
            f"{len(content) - end} bytes stand behind the end of the {name}: save the image anew, without them"
        )


def _refuse_foreign(metadata: bytes, name: str) -> None:
    lowered = metadata.lower()
    if any(mark in lowered for mark in _FOREIGN):
        raise UnsupportedContentError(
            f"the {name}'s metadata hold a document, an archive or a script: save the image anew, without metadata"
        )
