"""The measures of the evidence models, against values worked out by hand."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")
pytest.importorskip("font_roboto", reason="the documents extra is not installed")

from models.training.multimodal.evaluate import best_possible, mrr_at_10, recall_at
from models.training.vision.data import IGNORE, place_classes
from models.training.vision.evaluate import false_alarms_at, few_shot_accuracy, forgery_metrics, threshold_at


def test_false_alarms_at_a_recall() -> None:
    forged, genuine = np.arange(100, 200).astype(np.float32), np.arange(10, 110).astype(np.float32)
    # 95 of the forged are at or above 105, and so are 5 of the genuine.
    assert false_alarms_at(0.95, forged, genuine) == pytest.approx(0.05)
    assert false_alarms_at(0.95, forged, genuine - 100) == 0.0


def test_a_threshold_lets_through_at_most_its_share() -> None:
    genuine = np.arange(200).astype(np.float32)
    assert (genuine >= threshold_at(0.01, genuine)).sum() == 2
    assert (genuine >= threshold_at(0.0, genuine)).sum() == 0


def test_perfect_scores_are_perfect_and_kinds_are_listed() -> None:
    forgery = np.array([0] * 50 + [1] * 25 + [2] * 25)
    result = forgery_metrics((forgery > 0).astype(np.float32), forgery)
    assert result["roc_auc"] == 1.0
    assert result["false_alarms_at_95_recall"] == 0.0
    assert list(result["by_kind"]) == ["changed_digits", "splice"]


def test_ties_are_ranked_in_their_middle() -> None:
    assert mrr_at_10(np.eye(4, dtype=np.float32)) == 1.0
    assert mrr_at_10(np.ones((4, 4))) == pytest.approx(1 / 2.5)
    assert mrr_at_10(-np.eye(20)) == 0.0
    assert recall_at(np.eye(4, dtype=np.float32), 1) == 1.0


def test_the_best_that_one_modality_can_do() -> None:
    assert best_possible([("a",), ("b",)]) == 1.0
    assert best_possible([("a",), ("a",)]) == pytest.approx(0.75)


def test_few_shot_accuracy_of_clear_kinds_is_one() -> None:
    kinds = np.repeat(np.arange(4), 8)
    embedding = np.eye(4, dtype=np.float32)[kinds]
    assert few_shot_accuracy(embedding, kinds, tries=3, seed=0)["accuracy_worst"] == 1.0


def test_places_take_the_class_of_the_edit_and_ignore_its_rim_and_what_is_no_page() -> None:
    mask = np.zeros((200, 320), bool)
    mask[16:32, 8:26] = True  # covers places (2..3, 1..2) whole, and a quarter of (2..3, 3)
    mask[64:65, 64:66] = True  # 2 of 64 pixels
    places = place_classes(mask, 3)
    assert (places[2:4, 1:4] == 3).all()
    assert places[8, 8] == IGNORE
    assert places[0, 0] == 0
    assert (places[25:] == IGNORE).all()
    assert (places[:, 40:] == IGNORE).all()
