"""What may be expected to go wrong, by kind. A slice defines its own beside the function that raises it."""

import inspect
import re
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What happened; the web maps it to a status, the workers to "again" (UNAVAILABLE) or "failed" (the rest)."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    UNPAID = "unpaid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"


class ClofyError(Exception):
    """Something that we expected to go wrong did."""

    kind: ClassVar[Kind]
    shown: ClassVar[tuple[str, ...]] = ()  # the facts that the person is told too

    def __init__(self, **facts: object) -> None:
        super().__init__(inspect.cleandoc(self.__doc__ or "").split("\n\n", maxsplit=1)[0])
        self.facts = facts  # for the log

    @property
    def code(self) -> str:
        """The stable name of the problem, as "not-enough-credits" of NotEnoughCredits."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()


class InvalidInput(ClofyError):
    """What was sent does not fit."""

    kind = Kind.INVALID

    def __init__(self, *, field: str, rule: str) -> None:
        super().__init__(field=field)
        self.field, self.rule = field, rule


class NotFound(ClofyError):
    """There is no such thing, or it is not yours."""

    kind = Kind.NOT_FOUND


class Unavailable(ClofyError):
    """A service that we depend on does not answer; trying again later may help."""

    kind = Kind.UNAVAILABLE
    retry_after: float | None = None  # seconds, where the other side told
