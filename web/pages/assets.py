"""The pages' own files, served from memory under a name that changes with their content.

The version is in the path, not in the query: a module's `import "./api.js"` is relative to its own address, so all
modules of a page come from one version, and each may be kept by browsers for ever.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Assets:
    version: str
    files: dict[str, tuple[bytes, str]]  # by name: the content and its type


@cache
def assets() -> Assets:
    """All files of the folder, read once a process."""
    digest = hashlib.sha256()
    files: dict[str, tuple[bytes, str]] = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in TYPES:
            content = path.read_bytes()
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(content).digest())
            files[path.name] = (content, TYPES[path.suffix])
    return Assets(version=digest.hexdigest()[:12], files=files)


def static_url(name: str) -> str:
    """The address of a file of the folder. Raises KeyError for one that is not there, when the page is rendered."""
    if name not in assets().files:
        raise KeyError(name)
    return f"/assets/{assets().version}/{name}"
