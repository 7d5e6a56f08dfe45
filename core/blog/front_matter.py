"""The source of a post: a head of our own fields, then Markdown.

    ---
    title: What a good question costs
    slug: what-a-good-question-costs
    tags: credits, questions
    ---

    The first paragraph.

A source is kept whatever is wrong with it, so that no text is lost; what is wrong keeps it from being published.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from anyascii import anyascii

from core.blog.rendering import is_ours

FENCE = "---"
LONGEST = {  # characters
    "title": 120,
    "slug": 80,
    "summary": 300,
    "tags": 200,
    "author": 80,
    "cover": 300,
    "cover_alt": 200,
    "description": 160,
    "canonical": 300,
}
NEEDED = ("title", "slug", "summary", "author")
MOST_TAGS = 8
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RESERVED = frozenset({"authors", "readings", "search", "tags"})  # what else is below /blog


@dataclass(frozen=True)
class Source:
    """The fields as they were written, the Markdown, and what is wrong with the head."""

    fields: dict[str, str]
    body: str
    faults: Sequence[str] = field(default=())

    @property
    def title(self) -> str:
        return self.fields.get("title", "")

    @property
    def slug(self) -> str:
        return self.fields.get("slug", "")

    @property
    def tags(self) -> list[str]:
        """By their slugs, each once, in order."""
        named = (slug_of(one) for one in self.fields.get("tags", "").split(","))
        return list(dict.fromkeys(one for one in named if one))


def slug_of(words: str) -> str:
    """Words as a part of an address: "Änderung der Preise" is "anderung-der-preise"."""
    return re.sub(r"[^a-z0-9]+", "-", anyascii(words).lower()).strip("-")[: LONGEST["slug"]].strip("-")


def read(source: str) -> Source:
    """Take a source apart."""
    lines = source.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != FENCE or FENCE not in (line.strip() for line in lines[1:]):
        return Source({}, source, [f"The post begins with its fields between two lines of {FENCE}."])
    end = next(number for number, line in enumerate(lines[1:], start=1) if line.strip() == FENCE)
    fields: dict[str, str] = {}
    faults: list[str] = []
    for line in lines[1:end]:
        if not line.strip():
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or name not in LONGEST:
            faults.append(f"“{line.strip()[:60]}” is no field of a post.")
        elif name in fields:
            faults.append(f"The {name} is given twice.")
        else:
            fields[name] = value
    made = Source(fields, "\n".join(lines[end + 1 :]).lstrip("\n"))
    return Source(made.fields, made.body, [*faults, *_faults(made)])


def _faults(source: Source) -> list[str]:
    has = source.fields
    found = [f"The {name} is missing." for name in NEEDED if not has.get(name)]
    found += [
        f"The {name} is longer than {LONGEST[name]} characters." for name in has if len(has[name]) > LONGEST[name]
    ]
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for value in has.values() for character in value):
        found.append("A field has a control character in it.")
    if source.slug and (not SLUG.fullmatch(source.slug) or source.slug in RESERVED):
        found.append("The slug is small letters, digits and single hyphens between them, and no word of ours.")
    if len(source.tags) > MOST_TAGS:
        found.append(f"There are more than {MOST_TAGS} tags.")
    if has.get("cover"):
        if not is_ours(has["cover"]):
            found.append("The cover is not one of our own media.")
        if not has.get("cover_alt"):
            found.append("The cover has no alternative text (cover_alt).")
    if has.get("canonical") and not _is_https(has["canonical"]):
        found.append("The canonical address begins with https://.")
    return found


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and not re.search(r"[\s\"'<>\\]", url)
