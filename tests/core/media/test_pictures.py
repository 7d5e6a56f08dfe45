"""What strangers send: refused with a reason, or clean pictures of it, by a process that stays within its bounds."""

import os
from pathlib import Path

import pytest
from PIL import Image

from core.media import workshop
from core.media.kinds import SENTENCES, Reason
from core.media.workshop import Made, Refused, WorkshopFailed
from tests.core.media import files
from tests.core.media.files import HIDING, REFUSED, SECRET, STRANGE

CARRIERS = {"exif", "xmp", "icc_profile", "comment", "Comment", "XML:com.adobe.xmp"}


async def work(tmp_path: Path, name: str, content: bytes) -> tuple[Made, dict[str, bytes]]:
    (tmp_path / "sent").write_bytes(content)
    (tmp_path / "files").mkdir()
    made = await workshop.work(tmp_path / "sent", name=name, directory=tmp_path / "files")
    return made, {one.name: one.read_bytes() for one in (tmp_path / "files").iterdir()}


def assert_clean(made: Made, written: dict[str, bytes], tmp_path: Path) -> None:
    assert {one.name for one in made.files} == set(written)
    for name, content in written.items():
        assert SECRET not in content
        assert b"script" not in content.lower()
        with Image.open(tmp_path / "files" / name) as image:
            assert image.format == name.rpartition(".")[2].upper()
            assert CARRIERS & set(image.info) == set(), image.info
            assert len(image.getexif()) == 0


@pytest.mark.parametrize("case", HIDING)
async def test_what_hides_in_a_picture_is_not_in_ours(tmp_path: Path, case: str) -> None:
    name, content = HIDING[case]
    assert SECRET in content or case == "an archive behind a PNG" or "EXIF" in case or "texts" in case

    made, written = await work(tmp_path, name, content)

    assert_clean(made, written, tmp_path)


@pytest.mark.parametrize("case", STRANGE)
async def test_a_picture_of_an_unusual_kind_is_taken(tmp_path: Path, case: str) -> None:
    made, written = await work(tmp_path, *STRANGE[case])

    assert_clean(made, written, tmp_path)
    assert {name.rpartition(".")[2] for name in written} == {"webp", "avif"}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_picture_for_us_is_refused_with_a_reason(tmp_path: Path, case: str) -> None:
    name, content, reason = REFUSED[case]

    with pytest.raises(Refused) as refused:
        await work(tmp_path, name, content)

    assert refused.value.reason == reason
    assert list((tmp_path / "files").iterdir()) == []


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


async def test_a_picture_comes_in_widths_up_to_its_own_and_never_larger(tmp_path: Path) -> None:
    made, _ = await work(tmp_path, "a.jpg", files.saved(files.drawn(size=(1000, 500)), "JPEG"))

    widths = sorted((one.width, one.height, one.name.rpartition(".")[2]) for one in made.files)
    assert (made.width, made.height) == (1000, 500)
    assert widths == [(width, width // 2, kind) for width in (320, 640, 960, 1000) for kind in ("avif", "webp")]


async def test_a_picture_that_was_taken_on_its_side_stands_upright(tmp_path: Path) -> None:
    lying = files.saved(files.drawn(size=(80, 40)), "JPEG", exif=files.exif(orientation=6), quality=95)

    made, _ = await work(tmp_path, "a.jpg", lying)

    assert (made.width, made.height) == (40, 80)
    with Image.open(tmp_path / "files" / next(one.name for one in made.files if "webp" in one.name)) as image:
        left, right = image.convert("RGB").getpixel((5, 40)), image.convert("RGB").getpixel((35, 40))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[2] - left[0] > 150  # what lay below is now on the left: blue
    assert right[0] - right[2] > 150


async def test_what_can_be_seen_through_stays_so_and_the_colour_is_that_of_the_most(tmp_path: Path) -> None:
    image = Image.new("RGBA", (60, 60), (20, 120, 220, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))

    made, _ = await work(tmp_path, "a.png", files.saved(image, "PNG"))

    assert made.colour == "#1478dc"
    for one in made.files:
        with Image.open(tmp_path / "files" / one.name) as ours:
            alpha = [ours.convert("RGBA").getpixel(place)[3] for place in ((5, 5), (50, 50))]  # type: ignore[index]  # RGBA has four
        assert alpha == [0, 255]


async def test_the_same_picture_gives_the_same_files(tmp_path: Path) -> None:
    content = files.saved(files.drawn(), "PNG")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    assert await work(tmp_path / "one", "a.png", content) == await work(tmp_path / "two", "b.png", content)


def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The program with one of its bounds, or its work, changed; all else as it is."""
    lines = workshop.PROGRAM.read_text().replace("    bind()\n", f"    {change}\n    bind()\n")
    (tmp_path / "program.py").write_text(lines)
    monkeypatch.setattr(workshop, "PROGRAM", tmp_path / "program.py")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("MEMORY = 300 * 1024**2", Reason.TOO_HEAVY),
        ("CPU_SECONDS = 1", Reason.TOO_HEAVY),
        ("import os; os.abort()", Reason.BROKEN),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Reason.TOO_HEAVY),
    ],
)
async def test_what_goes_beyond_a_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, reason: Reason
) -> None:
    bounded(tmp_path, monkeypatch, change)

    with pytest.raises(Refused) as refused:
        await work(tmp_path, "a.png", files.png(7000, 7000, b"\0" * 875 * 7000 + b"\0" * 7000))

    assert refused.value.reason == reason


async def test_what_takes_too_long_by_the_clock_is_refused_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded(tmp_path, monkeypatch, f"open('{tmp_path}/pid', 'w').write(str(__import__('os').getpid())); input()")
    lines = (tmp_path / "program.py").read_text().replace("input()", "import signal; signal.pause()")
    (tmp_path / "program.py").write_text(lines)
    monkeypatch.setattr(workshop, "SECONDS", 1)

    with pytest.raises(Refused):
        await work(tmp_path, "a.png", files.saved(files.drawn(), "PNG"))

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_fault_of_ours_is_told_as_one_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(tmp_path, monkeypatch, "ENCODINGS['webp']['format'] = 'nonsense'")

    with pytest.raises(WorkshopFailed, match="NONSENSE"):
        await work(tmp_path, "a.png", files.saved(files.drawn(), "PNG"))


async def test_the_program_has_nothing_of_ours_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOFY_SECRET_KEY", "x")
    bounded(tmp_path, monkeypatch, f"open('{tmp_path}/environ', 'w').write(str(dict(__import__('os').environ)))")

    await work(tmp_path, "a.png", files.saved(files.drawn(), "PNG"))

    assert "CLOFY" in str(dict(os.environ))
    assert "CLOFY" not in (tmp_path / "environ").read_text()
