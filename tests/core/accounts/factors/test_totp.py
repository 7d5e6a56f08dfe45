"""Codes of an authenticator app: which are codes, and that each step counts once."""

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from core.accounts.factors import totp
from core.accounts.factors.models import Totp
from core.database import transaction
from core.settings import settings

NOW = datetime(2026, 11, 24, 12, 0, 10, tzinfo=UTC)
SECRET = bytes(range(20))


def code_at(moment: datetime, secret: bytes = SECRET) -> str:
    return pyotp.TOTP(base64.b32encode(secret).decode()).at(moment)


@pytest.fixture
async def enrolled(account_id: UUID) -> UUID:
    async with transaction() as session:
        await totp.provide(session, account_id=account_id, secret=base64.b32encode(SECRET).decode())
    return account_id


async def use(account_id: UUID, code: str, now: datetime = NOW) -> bool:
    async with transaction() as session:
        return await totp.use(session, account_id=account_id, code=code, now=now)


async def test_the_same_code_in_twenty_parallel_tries_is_accepted_once(enrolled: UUID) -> None:
    tries = await asyncio.gather(*[use(enrolled, code_at(NOW)) for _ in range(20)])

    assert tries.count(True) == 1


async def test_a_code_is_accepted_once_whatever_becomes_of_redis(enrolled: UUID) -> None:
    assert await use(enrolled, code_at(NOW))

    redis = Redis.from_url(settings().redis_url)
    await redis.flushall()
    await redis.aclose()

    assert not await use(enrolled, code_at(NOW))
    assert not await use(enrolled, code_at(NOW), NOW + timedelta(seconds=25))


async def test_an_older_code_after_a_newer_one_is_refused(enrolled: UUID) -> None:
    older = code_at(NOW - timedelta(seconds=30))

    assert await use(enrolled, code_at(NOW))
    assert not await use(enrolled, older)


async def test_the_step_before_is_good_for_slow_typists_and_none_ahead_is(enrolled: UUID) -> None:
    assert not await use(enrolled, code_at(NOW + timedelta(seconds=30)))
    assert not await use(enrolled, code_at(NOW - timedelta(seconds=60)))
    assert await use(enrolled, code_at(NOW - timedelta(seconds=30)))
    assert await use(enrolled, code_at(NOW))


@pytest.mark.parametrize("zero", ["０", "𝟎", "𝟘", "𝟶", "⁰", "₀", "٠"])
async def test_digits_of_other_kinds_are_no_code(enrolled: UUID, zero: str) -> None:
    """pyotp itself takes most of them, as it compares after NFKC."""
    start = ord(zero)
    kinds = {"⁰": "⁰¹²³⁴⁵⁶⁷⁸⁹"}
    digits = kinds.get(zero) or "".join(chr(start + digit) for digit in range(10))
    code = code_at(NOW)
    disguised = "".join(digits[int(digit)] for digit in code)

    assert not await use(enrolled, disguised)
    assert not await use(enrolled, code[:5] + disguised[5])
    assert await use(enrolled, code)


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "0{}", "{}0", "+{}", "{}\0"])
async def test_six_digits_are_exactly_six_digits(enrolled: UUID, around: str) -> None:
    assert not await use(enrolled, around.format(code_at(NOW)))


async def test_enrolment_counts_only_after_a_valid_code_which_is_then_used(account_id: UUID) -> None:
    async with transaction() as session:
        made = await totp.begin(session, account_id=account_id, email="ada@people.example")
    secret = base64.b32decode(made.key.replace(" ", ""))
    code = code_at(NOW, secret)

    assert len(secret) * 8 == 160
    assert not await use(account_id, code)
    async with transaction() as session:
        assert not await totp.confirm(session, account_id=account_id, code=code_at(NOW - timedelta(hours=1), secret))
    async with transaction() as session:
        assert await totp.confirm(session, account_id=account_id, code=code, now=NOW)
    assert not await use(account_id, code)
    assert await use(account_id, code_at(NOW + timedelta(seconds=30), secret), NOW + timedelta(seconds=30))


async def test_the_secret_is_sealed_in_the_database_and_for_this_account_alone(enrolled: UUID) -> None:
    async with transaction() as session:
        kept = (await session.scalars(select(Totp.secret).where(Totp.account_id == enrolled))).one()

    assert SECRET not in kept
    assert totp.SEALED.unseal(enrolled, kept) == SECRET


async def test_an_app_in_use_is_not_replaced_by_another(enrolled: UUID) -> None:
    async with transaction() as session:
        with pytest.raises(totp.TotpThere):
            await totp.begin(session, account_id=enrolled, email="ada@people.example")


def test_the_picture_is_an_svg_without_styles_or_scripts() -> None:
    drawn = totp.describe(SECRET, email="ada@people.example").qr

    assert drawn.startswith("<svg")
    assert not re.search(r"<script|style=|on\w+=|href", drawn)
