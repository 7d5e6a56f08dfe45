"""A program that turns a stranger's picture into clean ones: `python -I pictures.py KIND FILE DIRECTORY`.

It runs once for each picture, in a process with bounds of its own and nothing of ours in it: no settings, no secrets,
no connection. A decoder that is tricked has nothing to take; one that eats memory or time dies alone. So it imports
nothing of the house. It writes the files into DIRECTORY and tells what they are, or why it refused, as JSON.
"""

import hashlib
import io
import json
import resource
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageOps

MEMORY = 1024**3  # bytes of address space
CPU_SECONDS = 60
LARGEST_FILE = 64 * 1024**2  # bytes that it may write into one
MAX_SIDE = 16_000
MAX_PIXELS = 50_000_000  # a phone's 48 million
ORIENTATION, LYING = 0x0112, {5, 6, 7, 8}  # EXIF's tag, and its values for a picture on its side
WIDTHS = (320, 640, 960, 1280, 1920, 2560)
ENCODINGS: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "quality": 80, "method": 4},
    "avif": {"format": "AVIF", "quality": 60, "speed": 8, "max_threads": 1},
}


class Refused(Exception):
    """With one of the reasons of core/media/kinds.py."""


def bind() -> None:
    """Take the bounds on, for good."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def opened(kind: str, path: Path) -> Image.Image:
    """Read the header, and nothing else, and refuse by it. Raises Refused."""
    try:
        image = Image.open(path, formats=[kind])
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Refused("too-many-pixels") from None
    if max(image.size) > MAX_SIDE:
        raise Refused("too-long-a-side")
    if image.width * image.height > MAX_PIXELS:
        raise Refused("too-many-pixels")
    # A phone's JPEG may carry a second picture behind the first; it is no animation.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        raise Refused("moving")
    return image


def decoded(image: Image.Image) -> Image.Image:
    """The picture as it is to be seen, at most as wide as we show it; of the file nothing but pixels is left."""
    orientation = image.getexif().get(ORIENTATION, 1)
    turned = orientation in LYING
    profile = image.info.get("icc_profile")
    width = image.height if turned else image.width
    scale = min(1.0, WIDTHS[-1] / width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image.draft(None, size)  # a JPEG is decoded at a half, a quarter or an eighth where that is enough
    image.load()
    plain = _eight_bit(image)
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    plain.info = {}
    plain.getexif()[ORIENTATION] = orientation
    plain = ImageOps.exif_transpose(plain)
    plain = _in_srgb(plain, profile)
    fresh = Image.new(plain.mode, plain.size)
    fresh.paste(plain)
    return fresh


def _eight_bit(image: Image.Image) -> Image.Image:
    """As RGB or RGBA; what has 16 bits a pixel loses its lower ones."""
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The same colours without the profile that came with them; one that does not fit is left out of account."""
    if not profile:
        return image
    try:
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if (made := ImageCms.profileToProfile(image, theirs, ImageCms.createProfile("sRGB"))) is not None:
            return made
    except (ImageCms.PyCMSError, OSError, ValueError):
        pass
    return image


def colour_of(image: Image.Image) -> str:
    """The one that most of it has, as "#rrggbb"."""
    few = image.convert("RGB").resize((64, 64), Image.Resampling.BOX).quantize(6)
    counts = few.getcolors() or [(0, 0)]
    palette = few.getpalette() or [0, 0, 0]
    _, index = max((count, index) for count, index in counts if isinstance(index, int))
    red, green, blue = palette[index * 3 : index * 3 + 3]
    return f"#{red:02x}{green:02x}{blue:02x}"


def sizes(image: Image.Image) -> Iterator[Image.Image]:
    """The widths that a page chooses from; never larger than it came."""
    for width in WIDTHS:
        if width < image.width:
            yield image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    yield image


def written(image: Image.Image, directory: Path) -> Iterator[dict[str, Any]]:
    """Each size in each encoding, named by the hash of its content."""
    for one in sizes(image):
        for extension, options in ENCODINGS.items():
            made = io.BytesIO()
            one.save(made, **options)
            name = f"{hashlib.sha256(made.getbuffer()).hexdigest()}.{extension}"
            (directory / name).write_bytes(made.getbuffer())
            yield {"name": name, "width": one.width, "height": one.height, "size": len(made.getbuffer())}


def work(kind: str, path: Path, directory: Path) -> dict[str, Any]:
    try:
        image = decoded(opened(kind, path))
    except Refused as refused:
        return {"refused": str(refused)}
    except MemoryError:
        return {"refused": "too-heavy"}
    except Exception:  # whatever a decoder makes of a stranger's bytes
        return {"refused": "broken"}
    facts = {"width": image.width, "height": image.height, "colour": colour_of(image)}
    return facts | {"files": list(written(image, directory))}


if __name__ == "__main__":
    bind()
    json.dump(work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), sys.stdout)
