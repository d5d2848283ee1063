"""What is accepted as an image, by content; nothing here is decoded."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.services.base.errors import ImageTooLargeError, UnsupportedContentError
from models.services.base.evidence.image_structure import PNG, read_structure
from models.services.base.evidence.images import check_image
from models.services.base.settings import ServiceSettings
from tests.toy_service import an_image

SETTINGS = ServiceSettings()
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_accepted_with_its_size(kind: str) -> None:
    image = check_image(an_image(kind, (80, 50)), SETTINGS)
    assert (image.media_type, image.width, image.height) == (KINDS[kind], 80, 50)


@pytest.mark.parametrize("options", [{"progressive": True}, {"quality": 20}, {"subsampling": 2, "optimize": True}])
def test_jpegs_of_all_sorts_are_walked_through(options: dict[str, object]) -> None:
    structure = read_structure(an_image("JPEG", (123, 45), **options))
    assert (structure.width, structure.height) == (123, 45)


def test_lossless_webp_has_its_size() -> None:
    structure = read_structure(an_image("WEBP", (123, 45), lossless=True))
    assert (structure.width, structure.height) == (123, 45)


def test_an_image_bomb_is_refused_by_its_header() -> None:
    bomb = png_of(100_000, 100_000, bytes(100_000))
    assert len(bomb) < 1000
    with pytest.raises(ImageTooLargeError, match="100000 x 100000"):
        check_image(bomb, SETTINGS)


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(ImageTooLargeError, match="bytes"):
        check_image(b"\0" * (SETTINGS.max_image_bytes + 1), SETTINGS)


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"%PDF-1.7\n1 0 obj\n",
        b"GIF89a" + bytes(40),
        b"II*\0" + bytes(40),
        b"BM" + bytes(60),
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    ],
)
def test_what_is_no_whole_image_of_an_accepted_format_is_refused(content: bytes) -> None:
    with pytest.raises(UnsupportedContentError):
        check_image(content, SETTINGS)


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("run.sh", "echo")
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"%PDF-1.4", b"<script>alert(1)</script>", a_zip(), b"\0"])
def test_nothing_may_stand_behind_an_image(kind: str, tail: bytes) -> None:
    with pytest.raises(UnsupportedContentError, match="behind the end"):
        check_image(an_image(kind) + tail, SETTINGS)


@pytest.mark.parametrize("foreign", [b"%PDF-1.4", b"<ScRiPt>", b"<?php eval", a_zip()])
def test_metadata_that_hold_another_file_are_refused(foreign: bytes) -> None:
    png = an_image("PNG")
    end = len(PNG) + 25  # behind the header chunk
    with pytest.raises(UnsupportedContentError, match="metadata"):
        check_image(png[:end] + chunk(b"tEXt", b"Comment\0" + foreign) + png[end:], SETTINGS)
    jpeg = an_image("JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", len(foreign) + 2) + foreign
    with pytest.raises(UnsupportedContentError, match="metadata"):
        check_image(jpeg[:2] + comment + jpeg[2:], SETTINGS)


def test_a_harmless_comment_is_accepted() -> None:
    jpeg = an_image("JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 14) + b"taken by Ann"
    assert check_image(jpeg[:2] + comment + jpeg[2:], SETTINGS).media_type == "image/jpeg"


def test_moving_images_are_refused() -> None:
    still = an_image("PNG")
    end = len(PNG) + 25
    moving = still[:end] + chunk(b"acTL", struct.pack(">II", 2, 0)) + still[end:]
    with pytest.raises(UnsupportedContentError, match="moves"):
        check_image(moving, SETTINGS)


@settings(max_examples=200)
@given(kind=st.sampled_from(sorted(KINDS)), cut=st.floats(0, 1))
def test_a_file_that_is_cut_off_is_refused(kind: str, cut: float) -> None:
    content = an_image(kind, (24, 16))
    with pytest.raises(UnsupportedContentError):
        read_structure(content[: int(cut * (len(content) - 1))])


@settings(max_examples=300)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_end_in_an_answer_and_never_in_another_error(kind: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(an_image(kind, (24, 16)))
    for at, value in changes:
        content[at % len(content)] = value
    with contextlib.suppress(UnsupportedContentError):
        assert read_structure(bytes(content)).width > 0


@settings(max_examples=200)
@given(st.sampled_from([b"", PNG, b"\xff\xd8\xff\xe0", b"RIFF\x40\0\0\0WEBP"]), st.binary(max_size=200))
def test_arbitrary_bytes_end_in_a_refusal_or_an_image(head: bytes, rest: bytes) -> None:
    try:
        structure = read_structure(head + rest)
    except UnsupportedContentError:
        return
    assert structure.width > 0
