"""What `make models-evidence` builds for the multimodal model. All of it fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.training.multimodal.network import NetworkConfig

MODEL_NAME = "weir-multimodal"
MODEL_VERSION = "1"
LICENCE = "Apache-2.0"
SHIPPED = Path(__file__).resolve().parents[2] / "shipped" / "weir-multimodal-1"
WORK = Path(".weir/evidence")


@dataclass(frozen=True, slots=True)
class MultimodalConfig:
    """Everything that the trained weights depend on, beside versions.

    Attributes
    ----------
    documents
        Pictures drawn for training; the text of a document is drawn anew at every step.
    group
        Payments of a batch that are alike but for one field; so many share amount, date and goods in the benchmark too.
    candidates
        Payments of the benchmark, among which each document's own is looked for.
    pictured_groups
        Groups of a batch whose pictures are looked at; they differ in the beneficiary. The others have text alone and
        differ in it: the model must give what it can when a picture is missing.
    queries
        Documents of the benchmark: those of the first so many payments. Each is read by OCR.
    """

    documents: int = 10_000
    batch_size: int = 192
    group: int = 8
    pictured_groups: int = 16
    steps: int = 2_000
    learning_rate: float = 2e-3
    candidates: int = 1_000
    queries: int = 500
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)


def quick_config() -> MultimodalConfig:
    """Return a configuration that runs in under a minute: for tests and for trying the command, not for use."""
    return MultimodalConfig(documents=48, batch_size=16, group=4, pictured_groups=3, steps=3, candidates=16, queries=8)
