"""What `make models-evidence` builds for vision: how many documents, how long, which seeds; fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.training.vision.network import NetworkConfig

MODEL_NAME = "weir-vision"
MODEL_VERSION = "1"
LICENCE = "Apache-2.0"
SHIPPED = Path(__file__).resolve().parents[2] / "shipped" / "weir-vision-1"
WORK = Path(".weir/evidence")
"""Drawn documents and checkpoints; may be deleted at any time."""

SIDE = 512
PLACE = 8
"""Side of a place in pixels: one value of the map of edits."""


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Everything that the trained weights depend on, beside the versions of torch, Pillow and FreeType.

    Attributes
    ----------
    documents
        Documents for the forensic branch in training layouts, 65% of them forged.
    made_up_documents
        As many in made-up layouts, one each: what was edited must not be told from where it stands.
    crop
        Side of a training crop in pixels; the branch has no positions in it, so it runs on whole pages later.
    whole_steps
        Steps on whole pages at the end, branch and head together: a page has more places to err in than a crop.
    random_layouts
        Made-up layouts, each a class for the page embedding.
    layout_samples
        Documents drawn of each of them.
    """

    documents: int = 9_000
    made_up_documents: int = 9_000
    validation_documents: int = 2_000
    test_documents: int = 2_000
    careful_documents: int = 400
    forged_share: float = 0.65
    crop: int = 160
    batch_size: int = 96
    steps: int = 4_000
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.02
    whole_batch_size: int = 20
    whole_steps: int = 900
    whole_learning_rate: float = 4e-4
    random_layouts: int = 800
    layout_samples: int = 8
    page_batch_size: int = 192
    page_steps: int = 2_500
    page_learning_rate: float = 2e-3
    few_shot_tries: int = 20
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)


def quick_config() -> VisionConfig:
    """Return a configuration that runs in a minute or two: for tests and for trying the command, not for use."""
    return VisionConfig(
        documents=36,
        made_up_documents=12,
        validation_documents=24,
        test_documents=24,
        careful_documents=8,
        batch_size=16,
        steps=4,
        whole_batch_size=4,
        whole_steps=2,
        random_layouts=6,
        layout_samples=4,
        page_batch_size=16,
        page_steps=4,
        few_shot_tries=2,
    )
