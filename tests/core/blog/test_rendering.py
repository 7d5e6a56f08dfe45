"""What the renderer lets through: no script of 90 known kinds, no picture and no link but those it knows."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.blog import differences, front_matter
from core.blog.rendering import Kind, is_ours, render, sanitise
from tests.core.blog.kit import source
from tests.core.blog.vectors import VECTORS

PLAIN = """
    p br em strong s small ul li code pre blockquote h2 h3 h4 h5 h6 hr table thead tbody tr th td
"""
ALLOWED: dict[str, set[str]] = {tag: set() for tag in PLAIN.split()}
ALLOWED |= {"a": {"href", "rel"}, "img": {"src", "alt"}, "ol": {"start"}}


class Strict(HTMLParser):
    """Fails on whatever is not on the list."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        assert has.keys() <= ALLOWED[tag], (tag, has)
        link = has.get("href") or "/"
        assert link.startswith(("http://", "https://", "mailto:", "/", "#")), link
        assert not link.startswith(("//", "/\\")), link
        if tag == "img" and "src" in has:
            assert is_ours(has["src"] or ""), has

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def strictly(html: str) -> None:
    parser = Strict()
    parser.feed(html)
    parser.close()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("vector", VECTORS)
def test_nothing_that_runs_is_left(vector: str, kind: Kind) -> None:
    html = render(vector, kind).html

    strictly(html)
    assert sanitise(html, kind) == html


@pytest.mark.parametrize("vector", VECTORS)
def test_the_sanitiser_alone_would_do(vector: str) -> None:
    """Should the renderer let raw HTML through one day."""
    strictly(sanitise(vector))


_bits = st.sampled_from([*VECTORS, "[", "](", ")", "<", ">", "`", "\n", "\n\n", "&", '"', "!", "*", "|", "---", "a"])


@settings(max_examples=300, deadline=None)
@given(st.lists(_bits | st.text(max_size=8), max_size=8))
def test_no_mixture_of_them_runs_either(bits: list[str]) -> None:
    html = render("".join(bits)).html

    strictly(html)
    assert sanitise(html) == html


def test_links_to_other_hosts_name_them_and_pictures_of_others_are_only_words() -> None:
    made = render("[here](https://a.example/x) [us](/blog) ![cat](/media/c.webp) ![dog](https://b.example/d.png)")

    assert made.html == (
        '<p><a href="https://a.example/x" rel="noopener nofollow ugc">here</a><small> (a.example)</small> '
        '<a href="/blog" rel="noopener nofollow ugc">us</a> <img src="/media/c.webp" alt="cat"> dog</p>\n'
    )


@pytest.mark.parametrize("url", ["/media/../api/x", "//media/x", "/media/", "/medias/x", "/media/x?y", "/media/x y"])
def test_what_only_looks_like_our_media_is_not(url: str) -> None:
    assert not is_ours(url)


_lines = st.lists(st.sampled_from(["one", "two", "three", "four", ""]), max_size=8).map("\n".join)


@settings(max_examples=300, deadline=None)
@given(_lines, _lines, _lines)
def test_a_three_way_difference_has_all_lines_of_all_three(base: str, mine: str, theirs: str) -> None:
    parts = differences.three_way(base, mine, theirs)

    for name, text in (("base", base), ("mine", mine), ("theirs", theirs)):
        assert "\n".join(line for part in parts for line in getattr(part, name)) == text
    assert differences.merged(differences.three_way(base, mine, base)) == mine
    assert differences.merged(differences.three_way(base, base, theirs)) == theirs
    assert differences.merged(differences.three_way(base, mine, mine)) == mine


def test_a_head_is_read_and_its_faults_are_told() -> None:
    good = front_matter.read(source(slug="a-b", tags="One, two words, one", canonical="https://a.example/x"))
    assert (good.faults, good.tags, good.slug) == ([], ["one", "two-words"], "a-b")

    bad = front_matter.read("---\ntitle: x\ntitle: y\ncolour: red\nslug: A b\ncanonical: http://a\n---\nWords.")
    assert bad.body == "Words."
    for fault in ("given twice", "no field", "slug is small", "https://", "summary is missing", "author is missing"):
        assert any(fault in one for one in bad.faults), fault
