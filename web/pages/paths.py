"""Where a page may send the browser next: only to a path of this site."""

from urllib.parse import urlsplit


def local_path(value: str | None, *, otherwise: str) -> str:
    """The path if it is one of this site, else `otherwise`.

    Browsers read "//host" and "/\\host" as another site, and drop tabs and line ends before they look
    (requirements/security.md 50).
    """
    if not value or len(value) > 500 or not value.startswith("/") or value.startswith("//") or "\\" in value:
        return otherwise
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in value):
        return otherwise
    parts = urlsplit(value)
    return otherwise if parts.scheme or parts.netloc else value
