"""A scoring model that alerts on a given share of a simulated stream: so that percentiles of alerts rest on many."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from jobs.settings import DEFAULT_MODEL
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from schemas.records import decode_record
from tests.bench.core_profile import Feeder

WARMED, COUNTED, BATCH = 200_000, 20_000, 2_000


def alerting_model(folder: Path, share: float, accounts: int) -> Path:
    """Write a copy of the shipped model whose review threshold `share` of the transactions reach.

    The model and the work of a decision stay what they are; rules alert besides.

    Parameters
    ----------
    folder
        Where the copy goes; what is there is deleted.
    share
        In (0, 1).
    accounts
        Of the simulated population.

    Returns
    -------
    The folder.
    """
    feeder, scores = Feeder(accounts), []
    core = ScoringCore(CoreSettings(), Decider(ScoringModel.load(DEFAULT_MODEL), default_rule_set()))
    for at in range(0, WARMED + COUNTED, BATCH):
        decisions = core.transactions(feeder.take(BATCH)).decisions
        if at >= WARMED:
            scores += [decode_record(decision, name="decision")["score"] for decision in decisions]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEFAULT_MODEL, folder)
    card = json.loads((DEFAULT_MODEL / "card.json").read_text())
    review = float(np.quantile(scores, 1 - share))
    card["thresholds"] = {"review": review, "decline": max(review, card["thresholds"]["decline"])}
    (folder / "card.json").write_text(json.dumps(card))
    return folder
