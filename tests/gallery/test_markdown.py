"""Cards as HTML: what is dangerous becomes text."""

import pytest

from metazoo.gallery.markdown import html_of


def test_a_table_scrolls_by_itself():
    made = html_of("# name\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", "files")
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>' in made.replace("\n", "")
    assert "name" not in made


def test_headings_stand_below_the_pages_own():
    assert html_of("# gone\n\n## Tasks\n", "files").strip() == "<h3>Tasks</h3>"


@pytest.mark.parametrize(
    "card",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[a](javascript:alert(1))",
        "![a](javascript:alert(1))",
        "[a](data:text/html,<script>alert(1)</script>)",
        '![a](https://elsewhere.example/x.png "t")',
        "[a](//elsewhere.example)",
        "<https://a.example/<script>>",
    ],
)
def test_no_markup_of_its_own_gets_through(card):
    made = html_of(card, "files")
    for bad in ("<script", "<img", 'javascript:alert(1)"', 'href="//', "data:text"):
        assert bad not in made.replace("&lt;img", "").replace("[a](data:text", "")


def test_pictures_lie_beside_the_policy_and_have_their_text():
    made = html_of("![Return against steps](curve.png)", "gallery/files/x")
    assert '<img src="gallery/files/x/curve.png" alt="Return against steps" loading="lazy"' in made


def test_links_out_open_apart_and_links_into_the_documentation_are_text():
    made = html_of("[paper](https://arxiv.org/abs/1) and [how](../../docs/edge.md) and [file](a.tflite)", "f")
    assert '<a href="https://arxiv.org/abs/1" rel="noopener noreferrer" target="_blank">paper</a>' in made
    assert "and how and" in made
    assert '<a href="f/a.tflite">file</a>' in made
