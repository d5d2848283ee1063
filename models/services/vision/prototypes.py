"""New kinds from a few samples each: the mean of their embeddings, compared by cosine; nothing is trained.

References
----------
Snell, Swersky and Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017, https://arxiv.org/abs/1703.05175
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

ASPECTS = ("document", "forgery")
MIN_SAMPLES = 3
"""Fewer samples say little of how a kind varies; 5 is what the card's accuracy was measured with."""


@dataclass(frozen=True, slots=True)
class Prototypes:
    """Kinds that were enrolled; never changes.

    Attributes
    ----------
    means
        (aspect, kind) -> unit vector.
    """

    means: dict[tuple[str, str], F32] = field(default_factory=dict)

    def with_kind(self, aspect: str, kind: str, embeddings: F32) -> Prototypes:
        """Return prototypes with a kind more, or with that kind learned anew.

        Raises
        ------
        ValueError
            The aspect is unknown, the name empty, or there are too few samples.
        """
        check_kind(aspect, kind, len(embeddings))
        unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
        mean = unit.mean(0)
        mean = (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)
        return Prototypes({**self.means, (aspect, kind): mean})

    def nearest(self, aspect: str, embedding: F32) -> tuple[str, float] | None:
        """Return the nearest kind and its cosine; None where none is enrolled."""
        names = [name for of, name in self.means if of == aspect]
        if not names:
            return None
        unit = embedding / max(float(np.linalg.norm(embedding)), 1e-9)
        cosines = [float(self.means[aspect, name] @ unit) for name in names]
        best = int(np.argmax(cosines))
        return names[best], cosines[best]

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that follow from the content: part of the model's version."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    def to_json(self) -> str:
        """Return the prototypes as text; `prototypes.json` in the model's folder is read at start."""
        kinds = [
            {"aspect": aspect, "kind": kind, "mean": [round(float(v), 6) for v in mean]}
            for (aspect, kind), mean in sorted(self.means.items())
        ]
        return json.dumps({"kinds": kinds})

    @classmethod
    def from_json(cls, text: str) -> Prototypes:
        """Read what `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        return cls({(k["aspect"], k["kind"]): np.array(k["mean"], np.float32) for k in content["kinds"]})


def check_kind(aspect: str, kind: str, samples: int) -> None:
    """Check what is to be enrolled, before a sample is looked at.

    Raises
    ------
    ValueError
        The aspect is unknown, the name empty, or there are too few samples.
    """
    if aspect not in ASPECTS:
        raise ValueError(f"no aspect {aspect!r}: name one of {', '.join(ASPECTS)}")
    if not kind or len(kind) > 64 or not kind.replace("_", "").replace("-", "").isalnum():
        raise ValueError("a kind's name is 1 to 64 letters, digits, '-' and '_'")
    if samples < MIN_SAMPLES:
        raise ValueError(f"{samples} samples are too few: send at least {MIN_SAMPLES}, better 5")
