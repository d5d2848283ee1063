"""A block of touches sorted by part, and the memory that their results go to: laid out as it travels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.kernels.placing import count_touches, place_touches
from models.features.partials import HEADER_BYTES, Partials
from models.features.touches import LABEL, TOUCH
from schemas.columns import F64, I32, I64, U8
from schemas.layout import read_only


@dataclass(frozen=True, slots=True)
class PlacedTouches:
    """Touches of one block on their way into the parts of a store.

    Attributes
    ----------
    touches
        (n,) by part; within a part in the order in which they happen.
    ends
        (parts,) where each part's touches end.
    values_at
        (n,) where in `values` the results of each touch begin.
    values
        Results of all touches, role by role.
    """

    touches: npt.NDArray[np.void]
    ends: I64
    values_at: I64
    values: F64
    _events: I32
    _sequences: I64
    _rows: I64  # (3,) touches of each role
    _columns: I64  # (3,) results of a touch of each role
    _first: int
    _wire: U8

    @classmethod
    def of(cls, touches: npt.NDArray[np.void], columns: I64, first: int, parts: int = 1) -> PlacedTouches:
        """Sort a block of touches.

        Parameters
        ----------
        touches
            Rows of `TOUCH`, in the order in which they happen.
        columns
            (3,) how many results a touch of each role has.
        first
            Number of the first touch.
        parts
            Of the store.

        Raises
        ------
        ValueError
            If these are no touches, or one has a role that there is not.
        """
        if touches.dtype != TOUCH or touches.ndim != 1:
            raise ValueError(f"touches are {touches.dtype} of shape {touches.shape}; expected rows of TOUCH")
        touches = read_only(np.ascontiguousarray(touches))
        of_part, of_role = np.zeros(parts, np.int64), np.zeros(LABEL + 2, np.int64)
        count_touches(touches, of_part, of_role)
        if of_role[LABEL + 1]:
            raise ValueError(f"a touch has role {touches['role'].max()}; the largest is {LABEL}")
        rows = of_role[:LABEL]
        row_ends, value_ends, ends = np.cumsum(rows), np.cumsum(rows * columns), np.cumsum(of_part)
        in_rows, in_values = int(row_ends[-1]), int(value_ends[-1])
        wire = np.empty(HEADER_BYTES + 8 * in_values + 12 * in_rows, np.uint8)
        at = HEADER_BYTES + 8 * in_values
        values = wire[HEADER_BYTES:at].view(np.float64)
        sequences, events = wire[at : at + 8 * in_rows].view(np.int64), wire[at + 8 * in_rows :].view(np.int32)
        by_part, values_at = np.empty(len(touches), TOUCH), np.empty(len(touches), np.int64)
        place_touches(
            touches, first, ends - of_part, row_ends - rows, value_ends - rows * columns, columns, by_part, values_at,
            events, sequences,
        )  # fmt: skip
        return cls(by_part, ends, values_at, values, events, sequences, rows, columns, first, wire)

    def of_part(self, part: int) -> slice:
        """Return which of the touches are of a part."""
        return slice(int(self.ends[part - 1]) if part else 0, int(self.ends[part]))

    def results(self, history_start_ms: int) -> Partials:
        """Return the results, once they are written."""
        rows, values = np.cumsum(self._rows)[:-1], np.cumsum(self._rows * self._columns)[:-1]
        shapes = zip(self._rows.tolist(), self._columns.tolist(), strict=True)
        tables = [part.reshape(shape) for part, shape in zip(np.split(self.values, values), shapes, strict=True)]
        events, sequences = np.split(self._events, rows), np.split(self._sequences, rows)
        return Partials(
            tables[0], events[0], sequences[0],
            tables[1], events[1], sequences[1],
            tables[2], events[2], sequences[2],
            np.arange(self._first, self._first + len(self.touches)), history_start_ms, self._wire,
        )  # fmt: skip
