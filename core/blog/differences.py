"""Two who changed the same text: what each of them did to what both had before, line by line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Side = Literal["same", "mine", "theirs", "both"]


@dataclass(frozen=True)
class Part:
    """A stretch of lines. side: who changed it; "both" did, and differently: somebody has to choose."""

    side: Side
    base: Sequence[str]
    mine: Sequence[str]
    theirs: Sequence[str]


def three_way(base: str, mine: str, theirs: str) -> list[Part]:
    """All lines of all three texts, in order, in parts."""
    return list(_parts(base.split("\n"), mine.split("\n"), theirs.split("\n")))


def merged(parts: Sequence[Part]) -> str:
    """One text with the changes of both; where they disagree, both, with marks around."""
    lines: list[str] = []
    for part in parts:
        if part.side == "both":
            lines += ["<<<<<<< yours", *part.mine, "=======", *part.theirs, ">>>>>>> theirs"]
        else:
            lines += part.mine if part.side in ("same", "mine") else part.theirs
    return "\n".join(lines)


def _parts(base: list[str], mine: list[str], theirs: list[str]) -> Iterator[Part]:
    """Lines of the base that both have kept hold the three together; between two such stretches is a change."""
    at_base = at_mine = at_theirs = 0
    in_mine, in_theirs = _kept(base, mine), _kept(base, theirs)
    for line in range(len(base) + 1):
        if line < len(base) and (line not in in_mine or line not in in_theirs):
            continue
        to_mine = in_mine[line] if line < len(base) else len(mine)
        to_theirs = in_theirs[line] if line < len(base) else len(theirs)
        before = base[at_base:line], mine[at_mine:to_mine], theirs[at_theirs:to_theirs]
        if any(before):
            yield _part(*before)
        if line < len(base):
            yield Part("same", [base[line]], [base[line]], [base[line]])
        at_base, at_mine, at_theirs = line + 1, to_mine + 1, to_theirs + 1


def _part(base: list[str], mine: list[str], theirs: list[str]) -> Part:
    side: Side = "both"
    if mine == theirs:
        side = "mine"  # both did the same
    elif theirs == base:
        side = "mine"
    elif mine == base:
        side = "theirs"
    return Part(side, base, mine, theirs)


def _kept(base: list[str], other: list[str]) -> dict[int, int]:
    """Where each line of the base that is still there is now."""
    blocks = SequenceMatcher(None, base, other, autojunk=False).get_matching_blocks()
    return {block.a + n: block.b + n for block in blocks for n in range(block.size)}
