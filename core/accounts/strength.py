"""How easily a password is guessed: common ones, what stands around it, and zxcvbn's estimate.

The list of common ones is zxcvbn's own, 30,000 of them, which comes with the package (MIT).
"""

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from core.errors import Unavailable

COMMON = frozenset(FREQUENCY_LISTS["passwords"])
ENOUGH = 3  # of zxcvbn's 4: 10^8 guesses or more
READ = 32  # characters that are estimated at once: the time grows with more than their square
LEFT = 8  # characters, beside what everybody knows of the person and of us
OURS = ("clofy", "cloud")
LEET = "@({[<!|$+%"  # what zxcvbn tries as letters, each for several: its time grows with their product
MOST_LEET = 4  # beyond, they are estimated as the signs that they are
SIGNS = str.maketrans(LEET, "#)}]>?^&=~")
WAITING = 8  # estimates asked for at once

_WORD = re.compile(r"[^\W_]{3,}")


class Busy(Unavailable):
    """We cannot look at your password at this moment; try again in a few seconds."""

    code = "busy"
    retry_after = 3.0


class Line:
    """One thread, and how much waits for it: an estimate is Python all the way, and holds what the loop needs too."""

    def __init__(self, name: str) -> None:
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"zxcvbn-{name}")
        self.waiting = 0


DECIDES = Line("decides")  # what a password may be refused for
METER = Line("meter")  # what is asked while one is typed


def words_around(*facts: str | None) -> list[str]:
    """The words that everybody knows of a person: of the name, the company, the address; and ours."""
    return [*OURS, *{word for fact in facts for word in _WORD.findall((fact or "").casefold())}]


def is_common(password: str) -> bool:
    """Whether it is on the list, as it is or with a few figures and signs around it."""
    plain = password.casefold()
    return plain in COMMON or re.sub(r"^[\W\d_]+|[\W\d_]+$", "", plain) in COMMON


def is_known(password: str, around: Iterable[str]) -> bool:
    """Whether little is left of it without the words around it."""
    left = password.casefold()
    for word in sorted(around, key=len, reverse=True):
        left = left.replace(word, " ")
    return len(re.sub(r"[\W_]", "", left)) < LEFT and any(word in password.casefold() for word in around)


async def guessability(password: str, around: Iterable[str], line: Line = DECIDES) -> int:
    """zxcvbn's score, 0 (guessed at once) to 4. Off the loop; raises Busy when too many wait."""
    if len(set(LEET) & set(password)) > MOST_LEET:
        password = password.translate(SIGNS)
    parts = {part for part in (password[:READ], password[-READ:]) if part}
    if line.waiting >= WAITING:
        raise Busy
    line.waiting += 1
    try:
        loop = asyncio.get_running_loop()
        inputs = list(around)
        scores = await loop.run_in_executor(line.thread, lambda: [_score(part, inputs) for part in parts])
        return max(scores, default=0)
    finally:
        line.waiting -= 1


def _score(part: str, inputs: list[str]) -> int:
    score: int = zxcvbn(part, user_inputs=list(inputs))["score"]
    return score
