"""New kinds from a few samples."""

import numpy as np
import pytest

from models.services.vision.prototypes import Prototypes


def samples(kind: int, count: int, seed: int) -> np.ndarray:
    centre = np.random.default_rng(kind).standard_normal(32)
    return (centre + 0.3 * np.random.default_rng([kind, seed]).standard_normal((count, 32))).astype(np.float32)


def test_twenty_kinds_from_five_samples_each_are_told_apart() -> None:
    known = Prototypes()
    for kind in range(20):
        known = known.with_kind("document", f"kind-{kind}", samples(kind, 5, 0))
    for kind in range(20):
        nearest = known.nearest("document", samples(kind, 1, 1)[0])
        assert nearest is not None
        assert nearest[0] == f"kind-{kind}"
        assert nearest[1] > 0.8


def test_aspects_do_not_mix_and_enrolling_changes_no_older_version() -> None:
    empty = Prototypes()
    known = empty.with_kind("forgery", "stamp", samples(1, 5, 0))
    assert known.nearest("document", samples(1, 1, 1)[0]) is None
    assert empty.means == {}
    assert known.digest != empty.digest


def test_they_survive_a_round_trip_as_text() -> None:
    known = Prototypes().with_kind("document", "payslip", samples(2, 5, 0))
    again = Prototypes.from_json(known.to_json())
    assert again.digest == known.digest
    assert again.nearest("document", samples(2, 1, 1)[0])[0] == "payslip"


@pytest.mark.parametrize(
    ("aspect", "kind", "count"), [("colour", "a", 5), ("document", "", 5), ("document", "a/b", 5), ("document", "a", 2)]
)
def test_what_cannot_be_enrolled_is_refused(aspect: str, kind: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"aspect|name|samples"):
        Prototypes().with_kind(aspect, kind, samples(0, count, 0))
