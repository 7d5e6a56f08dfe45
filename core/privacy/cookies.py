"""Every cookie that we set: the one list, which the cookies page shows and a test compares with what browsers get."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from core.accounts import attempts, browsers, waiting, web_sessions

NAME = "clofy"  # what all names begin with; "__Host-" before it where the site is encrypted
ASK_AGAIN = timedelta(days=365)  # after which a choice about analytics is asked for anew


@dataclass(frozen=True)
class Cookie:
    """suffix: of NAME. lives: None for one that goes when the browser is closed."""

    suffix: str
    purpose: str
    lives: timedelta | None

    @property
    def name(self) -> str:
        return NAME + self.suffix


COOKIES: Sequence[Cookie] = (
    Cookie("", "keeps you signed in", web_sessions.ABSOLUTE_END),
    Cookie("-csrf", "shows that a form was sent from a page of ours, before you sign in", None),
    Cookie("-step", "remembers your password was right while you give the second factor", attempts.LIFE),
    Cookie("-mail", "lets the page that waits for a code say where our mail is", waiting.LIFE),
    Cookie("-known", "tells a browser you have signed in with from a stranger's", browsers.KNOWN_FOR),
    Cookie("-age", "remembers that registering was refused for the birth date; says nothing of the date", None),
    Cookie("-choice", "keeps your answer about analytics: yes or no, to which question, on which day", ASK_AGAIN),
)
