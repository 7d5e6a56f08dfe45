"""Pictures of friends and of strangers, as bytes."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

SECRET = b"SECRET-OF-MINE"  # must be in nothing that we give out
SCRIPT = b"<script>alert('" + SECRET + b"')</script>"


def drawn(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """The upper half is red, the lower one blue; wider colours than one, so that no encoder makes it trivial."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (0, size[1] // 2, size[0], size[1]))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def exif(orientation: int = 1) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010E] = SCRIPT.decode()  # ImageDescription
    found.get_ifd(0x8825)[1] = "N"  # GPS
    found.get_ifd(0x8825)[29] = SECRET.decode()
    return found.tobytes()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, rows: bytes = b"", *, bits: int = 1, more: bytes = b"") -> bytes:
    """By hand, so that its header may say anything."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = png_chunk(b"IHDR", header) + more + png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def frames(kind: str, count: int) -> bytes:
    shades = [Image.new("RGB", (8, 8), (n % 256, n // 256, 9)) for n in range(count)]
    return saved(shades[0], kind, save_all=True, append_images=shades[1:], duration=20)


def with_text() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", SCRIPT.decode())
    told.add_itxt("XML:com.adobe.xmp", SCRIPT.decode(), zip=False)
    return saved(drawn(), "PNG", pnginfo=told, exif=exif())


# Of each: the name that it is sent under, and what it is.
HIDING = {
    "a script as comment of a JPEG": ("a.jpg", saved(drawn(), "JPEG", comment=SCRIPT)),
    "GPS and words in EXIF": ("a.jpeg", saved(drawn(), "JPEG", exif=exif(), xmp=SCRIPT)),
    "a page behind a JPEG": ("a.JPG", saved(drawn(), "JPEG") + b"<html>" + SCRIPT),
    "an archive behind a PNG": ("a.png", saved(drawn(), "PNG") + b"PK\x03\x04" + SECRET),
    "a script as comment of a GIF": ("a.gif", saved(drawn("P"), "GIF", comment=SCRIPT)),
    "texts of a PNG": ("a.png", with_text()),
    "an unknown chunk of a PNG": ("a.png", png(8, 8, b"\0\0" * 8, more=png_chunk(b"quSt", SCRIPT))),
    "EXIF and XMP of a WebP": ("a.webp", saved(drawn(), "WEBP", exif=exif(), xmp=SCRIPT)),
    "a colour profile that is none": ("a.jpg", saved(drawn(), "JPEG", icc_profile=SCRIPT * 9)),
}

STRANGE = {  # of modes and shapes that clean pictures have, too
    "grey": ("a.png", saved(drawn("L"), "PNG")),
    "two colours": ("a.png", saved(drawn("1"), "PNG")),
    "sixteen bits": ("a.png", saved(Image.new("I;16", (9, 9), 40_000), "PNG")),
    "of a printer": ("a.jpg", saved(drawn("CMYK"), "JPEG")),
    "one pixel": ("a.gif", saved(Image.new("P", (1, 1)), "GIF")),
    "long and thin": ("a.png", saved(drawn(size=(1, 9000)), "PNG")),
    "one frame of a moving kind": ("a.webp", saved(drawn(), "WEBP", save_all=True)),
}

REFUSED = {
    "SVG": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>", "not-a-picture"),
    "HTML as .jpg": ("a.jpg", b"<!doctype html>" + SCRIPT, "not-a-picture"),
    "PDF": ("a.png", b"%PDF-1.7 " + SCRIPT, "not-a-picture"),
    "EPS": ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not-a-picture"),
    "TIFF": ("a.png", saved(drawn(), "TIFF"), "not-a-picture"),
    "BMP": ("a.png", saved(drawn(), "BMP"), "not-a-picture"),
    "AVIF": ("a.webp", saved(drawn(), "AVIF"), "not-a-picture"),
    "one byte": ("a.gif", b"G", "not-a-picture"),
    "a GIF as .png": ("a.png", saved(drawn("P"), "GIF"), "other-than-its-name"),
    "a script that is a GIF": ("a.js", b"GIF89a/*" + SCRIPT, "other-than-its-name"),
    "a script that begins as a GIF": ("a.gif", b"GIF89a=1;" + SCRIPT, "broken"),
    "a page that begins as a JPEG": ("a.jpg", b"\xff\xd8\xff\xe0" + SCRIPT, "broken"),
    "a sound that begins as a WebP": ("a.webp", b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 40, "broken"),
    "a part of a JPEG": ("a.jpg", saved(drawn(size=(400, 300)), "JPEG")[:-900], "broken"),
    "a part of a PNG": ("a.png", saved(Image.effect_noise((90, 90), 99), "PNG")[:3000], "broken"),
    "1 x 1,000,000": ("a.png", png(1, 1_000_000, b"\0\0" * 1_000_000), "too-long-a-side"),
    "1,000,000 x 1": ("a.png", png(1_000_000, 1, b"\0" * 125_001), "too-long-a-side"),
    "30,000 x 30,000": ("a.png", png(30_000, 30_000, b"\0" * 3751 * 30_000), "too-many-pixels"),
    "a header of 4 billion": ("a.png", png(65_535, 65_535), "too-many-pixels"),
    "2,000 frames of GIF": ("a.gif", frames("GIF", 2000), "moving"),
    "frames of WebP": ("a.webp", frames("WEBP", 20), "moving"),
    "frames of PNG": ("a.png", frames("PNG", 20), "moving"),
    "a text that grows": (
        "a.png",
        png(8, 8, b"\0\0" * 8, more=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 300_000_000))),
        "broken",
    ),
}
