"""Times on the command line."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class SinceType(click.ParamType):  # type: ignore[type-arg]
    """A time: ISO 8601, or so long ago as ``90s``, ``10m``, ``2h``, ``3d``. Becomes milliseconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        with contextlib.suppress(ValueError):
            if text[-1:] in _UNITS:
                ago = timedelta(**{_UNITS[text[-1]]: float(text[:-1])})
                return int((datetime.now(UTC) - ago).timestamp() * 1_000)
            moment = datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
        self.fail(
            f"{text!r} is neither a time such as 2026-01-31T12:00 (UTC) nor an age such as 10m, 2h, 3d", param, ctx
        )


SINCE = SinceType()
