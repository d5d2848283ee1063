"""Whether bytes are an image that a model may be given: size, structure, content and pixels, in the order of cost."""

from __future__ import annotations

from models.services.base.errors import ImageTooLargeError, UnsupportedContentError
from models.services.base.evidence.content_kind import content_kind
from models.services.base.evidence.image_structure import read_structure
from models.services.base.model import ImageContent
from models.services.base.settings import ServiceSettings

_KINDS = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}


def check_image(content: bytes, settings: ServiceSettings) -> ImageContent:
    """Accept an image, or say why not. Nothing is decoded: an image bomb costs no memory.

    Raises
    ------
    ImageTooLargeError
        More bytes or pixels than the settings allow.
    UnsupportedContentError
        Not a PNG, JPEG or WebP by structure and by content, or more than that.
    """
    if len(content) > settings.max_image_bytes:
        raise ImageTooLargeError(
            f"the image has {len(content)} bytes, and at most {settings.max_image_bytes} are accepted: scale it down"
        )
    structure = read_structure(content)
    if structure.width * structure.height > settings.max_image_pixels:
        raise ImageTooLargeError(
            f"the image has {structure.width} x {structure.height} pixels, and at most {settings.max_image_pixels} are "
            "accepted: scale it down"
        )
    kind = content_kind(content)
    if kind != _KINDS[structure.media_type]:
        raise UnsupportedContentError(
            f"the content looks like {kind} and is built like {structure.media_type}: send one PNG, JPEG or WebP image"
        )
    return ImageContent(content, structure.media_type, structure.width, structure.height)
