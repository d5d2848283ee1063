"""Raw instances, as a protocol decoded them, become instances that a model may be given."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.services.base.dataplane.request import ImageReference, InlineImage, RawInstance
from models.services.base.errors import InvalidRequestError, ReferenceUnavailableError, TextTooLongError
from models.services.base.evidence.images import check_image
from models.services.base.evidence.references import References
from models.services.base.model import Field, FieldKind, Instance, ServedModel
from models.services.base.settings import ServiceSettings


class InstanceReader:
    """Fetch what instances point to, and check what they hold."""

    def __init__(self, settings: ServiceSettings, references: References | None = None) -> None:
        self._settings = settings
        self._references = references or References(settings)

    async def fetch(self, model: ServedModel, instances: Sequence[RawInstance]) -> list[RawInstance]:
        """Replace references by what they point to, all at once."""
        images = {field.name for field in model.fields if field.kind is FieldKind.IMAGE}
        if not any(isinstance(one.get(name), ImageReference) for one in instances for name in images):
            return list(instances)
        return list(await asyncio.gather(*(self._fetched(one) for one in instances)))

    async def _fetched(self, instance: RawInstance) -> RawInstance:
        fetched: dict[str, Any] = dict(instance)
        for name, value in instance.items():
            if isinstance(value, ImageReference):
                content = await self._references.fetch(value.uri)
                if value.sha256 is not None and hashlib.sha256(content).hexdigest() != value.sha256.lower():
                    raise ReferenceUnavailableError(
                        f"what field {name!r} points to has another SHA-256 than the request says: it was changed"
                    )
                fetched[name] = InlineImage(content)
        return fetched

    def check(self, model: ServedModel, instance: RawInstance) -> Instance:
        """Check one instance against the model's fields; for any thread."""
        fields = {field.name: field for field in model.fields}
        if unknown := instance.keys() - fields.keys():
            raise InvalidRequestError(f"unknown fields {_shown(unknown)}; model {model.name} has: {', '.join(fields)}")
        checked: dict[str, Any] = {}
        for name, field in fields.items():
            value = instance.get(name)
            if value is None:
                if field.required:
                    raise InvalidRequestError(f"field {name!r} is missing: model {model.name} needs it")
                continue
            checked[name] = self._checked(field, value)
        return checked

    def _checked(self, field: Field, value: Any) -> Any:
        longest = self._settings.max_text_characters
        if field.kind is FieldKind.IMAGE:
            if not isinstance(value, InlineImage):
                raise InvalidRequestError(f'field {field.name!r} should be an image: {{"b64": ...}} or {{"uri": ...}}')
            return check_image(value.content, self._settings)
        if field.kind is FieldKind.TEXT:
            if not isinstance(value, str):
                raise InvalidRequestError(f"field {field.name!r} should be text")
            if len(value) > longest:
                raise TextTooLongError(f"field {field.name!r} has {len(value)} characters; at most {longest}: cut it")
            return value
        if len(json.dumps(value)) > longest:
            raise TextTooLongError(f"field {field.name!r} is longer than {longest} characters of JSON: send less")
        return value

    def warm_up(self) -> None:
        """Load what checks need."""


def _shown(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(repr(name[:50]) for name in sorted(names)[:5])
