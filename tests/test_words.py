"""Numbers with their nouns, and suggestions for names that are wrong."""

import pytest

from metazoo.presets.registry import PRESETS
from metazoo.words import count, meant


@pytest.mark.parametrize(
    ("amount", "what", "text"),
    [
        (0, "step", "0 steps"),
        (1, "step", "1 step"),
        (2, "step", "2 steps"),
        (1, "policy", "1 policy"),
        (3, "policy", "3 policies"),
        (1500, "environment step", "1,500 environment steps"),
    ],
)
def test_numbers_have_their_noun(amount, what, text):
    assert count(amount, what) == text


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("maml_cartpol", PRESETS, "did you mean maml_cartpole"),
        ("maml-cartpole", PRESETS, "did you mean maml_cartpole"),
        ("MAML_NAVIGATION", PRESETS, "did you mean maml_navigation"),
        ("chess", PRESETS, "metazoo list shows them."),
        ("chess", ["toy"], "choose toy."),
        ("chess", ["a", "b", "c"], "choose a, b or c."),
        ("chess", [], "there are none."),
        ("", PRESETS, "metazoo list shows them."),
        (3, ["a", "b"], "choose a or b."),
    ],
)
def test_a_wrong_name_is_answered_with_what_was_meant(name, known, text):
    said = meant(name, known, "metazoo list shows them")
    assert text in said and len(said) < 120
