"""The texts that the risk tags are trained and judged on."""

from __future__ import annotations

import re

from models.training.text.texts import PHRASES, TAGS, make_texts, templates


def test_templates_for_judging_are_none_of_those_for_training() -> None:
    for group in ("risk", "purpose"):
        for by_language in PHRASES[group].values():
            for options in by_language.values():
                train, held_out = set(templates(options, False)), set(templates(options, True))
                assert train
                assert held_out
                assert not train & held_out
                assert train | held_out == set(options)


def test_texts_are_the_same_for_the_same_seed() -> None:
    assert make_texts(50, 7, held_out=False) == make_texts(50, 7, held_out=False)
    assert make_texts(50, 7, held_out=False) != make_texts(50, 8, held_out=False)


def test_every_tag_is_planted_in_every_language_and_no_hole_is_left() -> None:
    texts = make_texts(3000, 1, held_out=True)
    planted = {(tag, text.language) for text in texts for tag in text.tags}
    assert planted == {(tag, language) for tag in TAGS for language in PHRASES["harmless"]}
    assert not [text.text for text in texts if re.search(r"[{}]", text.text)]
