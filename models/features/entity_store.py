"""The entity store: what every account, counterparty and device did lately, and what a touch reads of it.

One array of 64-bit words holds the whole state: tables, track blocks and counters. Kernels mark the pages they
write, so a snapshot is the pages written since the last one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.features.partials import Partials
from models.features.store_spec import StoreSpec


class EntityStore:
    """Exact sliding-window features of all entities of one shard.

    Parameters
    ----------
    spec
        What to keep and what to read. The same spec must be given when a snapshot is restored.
    """

    def __init__(self, spec: StoreSpec) -> None:
        self.spec = spec

    def apply(self, touches: npt.NDArray[np.void]) -> Partials:
        """Let the touches read and then update their entities, one after the other."""
        raise NotImplementedError

    def dirty_pages(self) -> dict[int, bytes]:
        """Return the pages written since the last call, and forget that they were."""
        raise NotImplementedError

    def meta(self) -> bytes:
        """Return what is needed beside the pages to restore the store."""
        raise NotImplementedError

    @classmethod
    def restore(cls, spec: StoreSpec, meta: bytes, pages: Mapping[int, bytes]) -> EntityStore:
        """Rebuild a store from its meta data and the newest version of every page."""
        raise NotImplementedError
