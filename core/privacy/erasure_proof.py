"""The proof of an erasure: what went, what stays, why and until when; signed, and without a word about the person."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from core.privacy.registry import KINDS, DataClass
from core.secrets import is_signed, sign

PURPOSE = b"erasure-proof:"
SNAPSHOTS = "Encrypted copies of our database, made until that day, are deleted within {days} days. If one is ever put "
SNAPSHOTS += "back, your account is erased from it before anybody is let in."
ARCHIVE = "The daily copy of our log, which has numbers and no words of yours, is deleted after {days} days."
AT_STRIPE = (
    "Stripe keeps what you told it when you paid (name, address, card): we have no customer record there to delete, "
    "and Stripe has duties of its own. To ask Stripe itself: https://support.stripe.com/contact"
)
CUSTOMER_AT_STRIPE = (
    "Your customer record at Stripe was deleted. Of payments that were made, Stripe keeps what its own duties ask."
)
MAILS = "Mails that we sent you are in your own mailbox; our record of them is deleted."


def make(
    erasure_id: UUID, *, rows: Mapping[str, Any], outside: Mapping[str, Any], asked_at: datetime, now: datetime
) -> dict[str, Any]:
    """rows: of erase_rows; outside: blobs by room, purchases, customers at Stripe."""
    proof = {
        "erasure": str(erasure_id),
        "asked_at": _moment(asked_at),
        "erased_at": _moment(now),
        "gone": rows["gone"],
        "stays": rows["stays"],
        "teams": rows["teams"],
        "outside": dict(outside),
        "elsewhere": [*_teams(rows["teams"]), *_elsewhere(outside)],
    }
    return {**proof, "signature": sign(_signed(proof)).hex()}


def is_ours(proof: Mapping[str, Any]) -> bool:
    """Whether we have signed just this, under a key that is still accepted."""
    content = {name: value for name, value in proof.items() if name != "signature"}
    try:
        return is_signed(_signed(content), bytes.fromhex(str(proof.get("signature", ""))))
    except ValueError:
        return False


def _signed(proof: Mapping[str, Any]) -> bytes:
    return PURPOSE + orjson.dumps(dict(proof), option=orjson.OPT_SORT_KEYS)


def _elsewhere(outside: Mapping[str, Any]) -> list[str]:
    told = [
        SNAPSHOTS.format(days=_days(DataClass.SNAPSHOT)),
        ARCHIVE.format(days=_days(DataClass.ARCHIVE)),
        MAILS,
    ]
    if outside.get("customers_at_stripe"):
        told.append(CUSTOMER_AT_STRIPE)
    elif outside.get("purchases"):
        told.append(AT_STRIPE)
    return told


def _teams(became: Mapping[str, int]) -> list[str]:
    words = {
        "left": "teams that you were in go on without you.",
        "handed": "teams of yours have another owner now: who was in each for the longest.",
        "deleted": "teams in which nobody else was are deleted.",
    }
    return [f"{count} {words[what]}" for what, count in became.items()]


def _days(kind: DataClass) -> int:
    kept = KINDS[kind].kept
    assert kept is not None
    return kept.days


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def as_text(proof: Mapping[str, Any]) -> str:
    """For the mail, in lines."""
    lines = ["What is gone:"]
    lines += [f"- {one['what']} ({_rows(one['rows'])})" for one in proof["gone"]]
    blobs = sum(proof["outside"].get("blobs", {}).values())
    if blobs:
        lines.append(f"- Files in our storage ({blobs})")
    lines += ["", "What stays, and why:"]
    lines += [f"- {one['why']} ({_rows(one['rows'])}; {_until(one['until'])})" for one in proof["stays"]]
    lines += ["", "Elsewhere:"]
    lines += [f"- {one}" for one in proof["elsewhere"]]
    return "\n".join(lines)


def _rows(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _until(day: str | None) -> str:
    return f"until {day} at the latest" if day else "for as long as what it belongs to is there"
