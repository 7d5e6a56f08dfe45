"""What we keep about people: each class of data, why, for how long, and what becomes of it. One list for all.

The purge, the export, the erasure and the figures of the privacy policy read it. A table, column, container or Redis
key that is not in it fails the build (tests/contracts/test_registry.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class DataClass(StrEnum):
    ACCOUNT = "account"
    USAGE = "usage"
    TRANSCRIPT = "transcript"
    BILLING = "billing"
    LOG = "log"
    MEDIA = "media"
    MAIL = "mail"
    CONSENT = "consent"
    REQUEST = "request"
    ARCHIVE = "archive"
    SNAPSHOT = "snapshot"
    HOUSE = "house"  # our own, about nobody


class Basis(StrEnum):
    """Why the law lets us (GDPR, article 6(1))."""

    CONTRACT = "contract"  # b
    DUTY = "duty"  # c: another law tells us to
    INTEREST = "interest"  # f: security, and knowing that the service works
    CONSENT = "consent"  # a
    NONE = "none"  # nobody's data


@dataclass(frozen=True)
class Kind:
    """A class of data, as the policy and an export explain it.

    kept: from when a thing was made; None: as long as the account is open
    """

    holds: str
    purpose: str
    basis: Basis
    kept: timedelta | None


YEAR = timedelta(days=365)
KINDS: dict[DataClass, Kind] = {
    DataClass.ACCOUNT: Kind(
        "E-mail address, name, company, hashed password, second factors, browsers that are signed in",
        "to know you, and to let nobody else in",
        Basis.CONTRACT,
        None,
    ),
    DataClass.USAGE: Kind(
        "Which services you asked and when, what it cost; what you liked and wrote below our posts",
        "to show you your consultations and to run the blog",
        Basis.CONTRACT,
        None,
    ),
    DataClass.TRANSCRIPT: Kind(
        "The words of your questions and of the model's answers",
        "to answer you, and to watch over quality and safety",
        Basis.CONTRACT,
        timedelta(days=30),
    ),
    DataClass.BILLING: Kind(
        "Credits, purchases, refunds, disputes, receipts, and Stripe's identifiers of them; never a card",
        "to sell you credits and to keep the books",
        Basis.DUTY,
        10 * YEAR,  # from the end of the account; core/privacy/billing term: docs/decisions
    ),
    DataClass.LOG: Kind(
        "Who did what to your account and from where; our jobs; what went wrong",
        "to find abuse and faults",
        Basis.INTEREST,
        YEAR,
    ),
    DataClass.MEDIA: Kind("Pictures of the blog", "to show them in posts", Basis.CONTRACT, None),
    DataClass.MAIL: Kind(
        "Which mails and notices we wrote to you, and whether they arrived",
        "to tell you what concerns your account",
        Basis.CONTRACT,
        YEAR,
    ),
    DataClass.CONSENT: Kind(
        "What you agreed to or refused, when, and what you were asked; which policy you were shown",
        "to be able to prove it",
        Basis.DUTY,
        None,
    ),
    DataClass.REQUEST: Kind(
        "What you asked of us under data protection law, and what we answered",
        "to answer in time, and to be able to prove it",
        Basis.DUTY,
        timedelta(days=731),  # 24 months with a leap day among them (11 CCR 7101(a))
    ),
    DataClass.ARCHIVE: Kind("A daily copy of the log", "to find abuse and faults later", Basis.INTEREST, YEAR),
    DataClass.SNAPSHOT: Kind(
        "A daily encrypted copy of the database",
        "to bring the service back after a disaster",
        Basis.INTEREST,
        timedelta(days=30),
    ),
    DataClass.HOUSE: Kind("Services, prices, posts and counts", "to run the service", Basis.NONE, None),
}


class Erasure(StrEnum):
    """What becomes of a person's rows when their account is erased."""

    DELETED = "deleted"
    BLANKED = "blanked"  # the row stays under the account's number, without what says who it was
    KEPT = "kept"  # nothing in it says who it was but the account's number, which leads nowhere any more
    UNTOUCHED = "untouched"  # nobody's


@dataclass(frozen=True)
class Ends:
    """When rows go by themselves: `after` from `since`, a column; of those only that meet `only`, a condition in SQL.

    A date counts from its first moment. All days are UTC.
    days: the table is made of a part for each day, named by `since`, and whole parts are dropped
    blank: what goes, where the row stays, as column: an expression in SQL; `only` must not hold of it any more then
    """

    after: timedelta
    since: str = "created_at"
    only: str = "true"
    days: bool = False
    blank: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table: whose its rows are, which of its columns are given to them, and how it ends.

    owner: a condition in SQL with :account, true for the rows of an account; empty: nobody's
    given: columns that an export has
    given_as: those of them that it has otherwise: in SQL, without what is others', or would let somebody in
    secret: columns that no export has, for they would let somebody in
    inner: columns that say nothing about the person; ours
    sooner: what goes before the others do
    why: what is told to a person about what stays after an erasure
    """

    name: str
    of: DataClass
    owner: str = ""
    given: str = ""
    given_as: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    inner: str = ""
    ends: Ends | None = None
    sooner: tuple[Ends, ...] = ()
    erasure: Erasure = Erasure.UNTOUCHED
    blank: Mapping[str, str] = field(default_factory=dict)  # column: an expression in SQL
    why: str = ""

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(f"{self.given} {self.secret} {self.inner}".split())

    @property
    def all_ends(self) -> tuple[Ends, ...]:
        return (*self.sooner, self.ends) if self.ends is not None else self.sooner


@dataclass(frozen=True)
class Container:
    """A container of blobs. names: how its blobs are named."""

    name: str
    of: DataClass
    names: str
    ends: timedelta | None = None


@dataclass(frozen=True)
class Keys:
    """Keys or channels of Redis that begin alike.

    lives: the longest that one stays; zero: a channel, nothing stays; None: until somebody takes it
    """

    prefix: str
    of: DataClass
    lives: timedelta | None
