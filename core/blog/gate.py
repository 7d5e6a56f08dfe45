"""What keeps a post from being published: the rules that its readers would miss first."""

from collections.abc import Collection
from urllib.parse import urlsplit

from core.blog.front_matter import RESERVED, Source
from core.blog.rendering import MEDIA_PATH, Rendered, is_ours

MARKS = ("<<<<<<< ", ">>>>>>> ")  # core/blog/differences.py


def findings(
    source: Source, rendered: Rendered, *, dead_links: Collection[str] = (), pictures: Collection[str] = ()
) -> list[str]:
    """In words for its author; none: it may be published.

    dead_links: those that lead nowhere; pictures: the files that there are; as the caller has looked them up
    """
    found = list(source.faults)
    if not rendered.text.strip():
        found.append("There is no text.")
    for picture in rendered.pictures:
        if not is_ours(picture.url):
            found.append(f"The picture {picture.url[:80]} is not one of our own media.")
        if not picture.alternative.strip():
            found.append(f"The picture {picture.url[:80]} has no alternative text.")
    found += [f"There is no picture {MEDIA_PATH}{name[:80]}." for name in sorted(files(source, rendered) - {*pictures})]
    found += _headings(rendered)
    found += [f"The link {link[:80]} leads nowhere." for link in dead_links]
    if any(line.startswith(MARKS) for line in source.body.splitlines()):
        found.append("A difference between two editors is still in the text.")
    return found


def _headings(rendered: Rendered) -> list[str]:
    if 1 in rendered.headings:
        return ["The title is the only heading of the first level; those in the text begin with ##."]
    level = 1
    for heading in rendered.headings:
        if heading > level + 1:
            return [f"A heading of level {heading} follows one of level {level}: one is left out between them."]
        level = heading
    return []


def files(source: Source, rendered: Rendered) -> set[str]:
    """The names of our files that a post shows, its cover among them."""
    urls = {source.fields.get("cover", ""), *(picture.url for picture in rendered.pictures)}
    return {url.removeprefix(MEDIA_PATH) for url in urls if is_ours(url)}


def slugs_linked(rendered: Rendered) -> set[str]:
    """The posts of ours that a text links to."""
    return {slug for link in rendered.links if (slug := slug_in(link))}


def slug_in(link: str) -> str:
    """The slug in "/blog/<slug>", else nothing. Of other paths of ours the gate knows nothing."""
    path = urlsplit(link).path if link.startswith("/") and not link.startswith("//") else ""
    parts = path.strip("/").split("/")
    is_post = len(parts) == 2 and parts[0] == "blog" and "." not in parts[1] and parts[1] not in RESERVED
    return parts[1] if is_post else ""
