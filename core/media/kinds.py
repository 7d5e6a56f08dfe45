"""What a picture may be, by its name and by its first bytes; and why one is refused."""

from enum import StrEnum

HEAD = 16  # bytes that tell what a file is


class Kind(StrEnum):
    """The values are Pillow's own names."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    GIF = "GIF"


OF_EXTENSION = {
    "png": Kind.PNG,
    "jpg": Kind.JPEG,
    "jpeg": Kind.JPEG,
    "webp": Kind.WEBP,
    "gif": Kind.GIF,
}


class Reason(StrEnum):
    """Why a picture was refused; `sentence` tells it to whom it is refused."""

    NOT_A_PICTURE = "not-a-picture"
    OTHER_THAN_ITS_NAME = "other-than-its-name"
    TOO_LONG_A_SIDE = "too-long-a-side"
    TOO_MANY_PIXELS = "too-many-pixels"
    MOVING = "moving"
    BROKEN = "broken"
    TOO_HEAVY = "too-heavy"
    INCOMPLETE = "incomplete"
    OTHER_CONTENT = "other-content"
    FAILED = "failed"

    @property
    def sentence(self) -> str:
        return SENTENCES[self]


SENTENCES = {
    Reason.NOT_A_PICTURE: "This is no picture that we take: PNG, JPEG, WebP or GIF.",
    Reason.OTHER_THAN_ITS_NAME: "The file is of another kind than its name says.",
    Reason.TOO_LONG_A_SIDE: "No side of a picture may be longer than 16,000 pixels.",
    Reason.TOO_MANY_PIXELS: "A picture may have 50 million pixels.",
    Reason.MOVING: "Moving pictures are not taken; a single frame is.",
    Reason.BROKEN: "The file is damaged: the picture in it cannot be read.",
    Reason.TOO_HEAVY: "The picture takes more memory or time to read than we give it.",
    Reason.INCOMPLETE: "Parts of the file did not arrive. Please send it again.",
    Reason.OTHER_CONTENT: "What arrived is not what was announced. Please send it again.",
    Reason.FAILED: "We could not work on the picture. Please send it again.",
}


def kind_of_name(name: str) -> Kind | None:
    """By the extension; None for one that is not taken."""
    return OF_EXTENSION.get(name.rpartition(".")[2].lower()) if "." in name else None


def kind_of_content(head: bytes) -> Kind | None:
    """By the first HEAD bytes, the magic of each format (PNG 5.2, JPEG B.1.1.2, RFC 9649 2.4, GIF89a 17)."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Kind.GIF
    return None
