"""`Authorization: Bearer`, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr

from models.services.base.errors import UnauthorizedError


class Tokens:
    """The tokens that are accepted; none at all accepts every request."""

    def __init__(self, tokens: Iterable[SecretStr]) -> None:
        # Digests are of one length, so that not even the length of a token shows in the time.
        self._digests = [_digest(token.get_secret_value().encode()) for token in tokens]

    def check(self, authorization: str | None) -> None:
        """Accept a header, or raise `UnauthorizedError`."""
        if not self._digests:
            return
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip().encode("latin-1", "replace"))
        # Every token is compared, whichever fits.
        fits = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            raise UnauthorizedError("a bearer token is needed: send 'Authorization: Bearer TOKEN'")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
