"""Markdown to HTML, the one way: for posts, their preview, feeds, comments and search.

Raw HTML in the source is text. What Markdown makes of the rest goes through the sanitiser, and nothing changes it
afterwards (requirements/security.md 73, 74, 77).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import version
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

# Kept beside what was rendered; when any part of it changes, posts are rendered anew (core/blog/pages.py).
RENDERER = f"1 markdown-it-py {version('markdown-it-py')} nh3 {version('nh3')}"
MEDIA_PATH = "/media/"  # where our own pictures are; none from elsewhere are shown

_WORDS = {"p", "br", "em", "strong", "s", "a", "small", "ul", "ol", "li", "code", "pre", "blockquote"}
_PAGE = {"h2", "h3", "h4", "h5", "h6", "hr", "img", "table", "thead", "tbody", "tr", "th", "td"}
_SCHEMES = {"http", "https", "mailto"}
REL = "noopener nofollow ugc"


class Kind(Enum):
    """What is rendered: a post may have headings, pictures and tables; a comment only words."""

    POST = "post"
    COMMENT = "comment"


@dataclass(frozen=True)
class Picture:
    url: str
    alternative: str


@dataclass(frozen=True)
class Rendered:
    """html: sanitised, to be put into a page as it is. text: the words alone, for search and summaries."""

    html: str
    text: str
    headings: Sequence[int]  # their levels, in order
    pictures: Sequence[Picture]
    links: Sequence[str]


def is_ours(url: str) -> bool:
    """Whether a picture may be shown: by a path of our own media, that climbs nowhere."""
    return bool(re.fullmatch(rf"{MEDIA_PATH}[A-Za-z0-9._/-]{{1,300}}", url)) and ".." not in url


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])


@cache
def _cleaner(kind: Kind, origin: str) -> nh3.Cleaner:
    def attribute(tag: str, name: str, value: str) -> str | None:
        """Leave no picture of another host, and no link that a browser reads otherwise than it is written."""
        if (tag, name) == ("img", "src"):
            return value if is_ours(value.removeprefix(origin)) else None
        if (tag, name) == ("a", "href"):
            return value if _is_link(value) else None
        return value

    words = {"a": {"href"}}
    return nh3.Cleaner(
        tags=_WORDS | (_PAGE if kind is Kind.POST else set()),
        clean_content_tags=set(),
        attributes=words | {"img": {"src", "alt"}, "ol": {"start"}} if kind is Kind.POST else words,
        attribute_filter=attribute,
        url_schemes=_SCHEMES,
        link_rel=REL,
        strip_comments=True,
    )


def _is_link(url: str) -> bool:
    """A path of ours, a place on the page, or an address with a scheme that is none to run."""
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        return False
    if url.startswith("//"):
        return False
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return False
    return scheme in _SCHEMES or (not scheme and url.startswith(("/", "#")))


def render(source: str, kind: Kind = Kind.POST, *, origin: str = "") -> Rendered:
    """origin: ours, to put before links and pictures: feeds are read elsewhere."""
    tokens = _markdown().parse(source)
    pictures: list[Picture] = []
    links: list[str] = []
    text: list[str] = []
    headings = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    for token in tokens:
        if token.tag == "h1":
            token.tag = "h2"  # the page has one, its title; the gate says so
        if token.type == "inline":
            token.children = _inline(token.children or [], kind, pictures, links, origin=origin)
            text.append("".join(_words(token.children)))
        elif token.type in ("fence", "code_block"):
            token.info = ""
            text.append(token.content)
    html = sanitise(_markdown().renderer.render(tokens, _markdown().options, {}), kind, origin=origin)
    return Rendered(html, "\n".join(text), headings, pictures, links)


def sanitise(html: str, kind: Kind = Kind.POST, *, origin: str = "") -> str:
    """Only what is on the list is left; again and again the same."""
    return _cleaner(kind, origin).clean(html)


def _inline(
    tokens: Sequence[Token], kind: Kind, pictures: list[Picture], links: list[str], *, origin: str
) -> list[Token]:
    """What is in a line: links to other hosts say which, pictures are ours or only their words."""
    made: list[Token] = []
    hosts: list[str] = []
    for token in tokens:
        if token.type == "image":
            url, alternative = str(token.attrs.get("src", "")), "".join(_words(token.children or []))
            pictures.append(Picture(url, alternative))
            if kind is Kind.COMMENT or not is_ours(url):
                made.append(Token("text", "", 0, content=alternative))
                continue
            token.attrs = {"src": _placed(url, origin=origin), "alt": ""}  # the renderer fills `alt` in
        elif token.type == "link_open":
            url = str(token.attrs.get("href", ""))
            links.append(url)
            hosts.append(_host(url))
            token.attrs = {"href": _placed(url, origin=origin)}
        made.append(token)
        if token.type == "link_close" and hosts and (host := hosts.pop()):
            made += _aside(f" ({host})")
    return made


def _placed(url: str, *, origin: str) -> str:
    return origin + url if url.startswith("/") and not url.startswith("//") else url


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _aside(words: str) -> list[Token]:
    """Small words, which the renderer escapes."""
    return [Token("small_open", "small", 1), Token("text", "", 0, content=words), Token("small_close", "small", -1)]


def _words(tokens: Sequence[Token]) -> list[str]:
    found = []
    for token in tokens:
        if token.type in ("text", "code_inline"):
            found.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            found.append(" ")
        elif token.type == "image":
            found += _words(token.children or [])
    return found
