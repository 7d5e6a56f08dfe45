"""Consent: no until a yes, asked again only when the words change or after a year, and a signal that is a no."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy import consents
from core.privacy.consent_models import Purpose, Via
from core.privacy.consents import WORDS_VERSION, Choice, Standing, standing

TODAY = date(2028, 2, 29)
NOW = datetime(2028, 2, 29, 12, tzinfo=UTC)
YES, NO = Choice(True, WORDS_VERSION, TODAY), Choice(False, WORDS_VERSION, TODAY)
ASK, COUNTED, REFUSED = Standing(False, True, False), Standing(True, False, False), Standing(False, False, False)


def test_other_words_are_another_version() -> None:
    """Who changes the words raises WORDS_VERSION, and then the hash here."""
    said = hashlib.sha256(consents.WORDS[Purpose.ANALYTICS].encode()).hexdigest()

    assert (WORDS_VERSION, said[:16]) == (1, "2067859db6add380")


@pytest.mark.parametrize(
    ("browser", "account", "expected"),
    [(None, None, ASK), (YES, None, COUNTED), (NO, None, REFUSED), (YES, NO, REFUSED), (NO, YES, COUNTED)],
)
def test_nothing_is_counted_without_a_yes_and_an_account_speaks_for_itself(
    browser: Choice | None, account: Choice | None, expected: Standing
) -> None:
    assert standing(browser=browser, account=account, gpc=False, dnt=False, today=TODAY) == expected


@pytest.mark.parametrize("said", [None, YES, NO])
def test_a_signal_is_a_no_whatever_was_said_and_then_nobody_is_asked(said: Choice | None) -> None:
    gpc = standing(browser=said, account=said, gpc=True, dnt=False, today=TODAY)
    dnt = standing(browser=said, account=said, gpc=False, dnt=True, today=TODAY)

    assert gpc == Standing(wanted=False, ask=False, signal=True)
    assert dnt == REFUSED


@pytest.mark.parametrize(
    ("day", "counts"),
    [(date(2029, 2, 27), True), (date(2029, 2, 28), False), (TODAY - timedelta(days=1), False), (TODAY, True)],
)
def test_a_choice_of_a_leap_day_counts_for_a_year_and_not_before_it_was_made(day: date, *, counts: bool) -> None:
    assert YES.counts(day) is counts
    assert Choice(True, WORDS_VERSION + 1, TODAY).counts(day) is False


@pytest.mark.parametrize("choice", [YES, NO])
def test_a_cookie_says_what_was_chosen_and_nothing_else(choice: Choice) -> None:
    assert consents.written(choice) in ("y.1.20280229", "n.1.20280229")
    assert consents.read(consents.written(choice)) == choice


@pytest.mark.parametrize(
    "cookie", [None, "", "yes", "y.1.20280230", "y.1.2028022", "y.x.20280229", "y.1.20280229 ", "y.99999.20280229"]
)
def test_a_cookie_that_we_did_not_make_is_no_choice(cookie: str | None) -> None:
    assert consents.read(cookie) is None


async def test_each_choice_of_an_account_is_kept_with_its_words_and_the_latest_counts(
    session: AsyncSession, account_id: UUID
) -> None:
    for wanted in (True, False, True):
        await consents.choose(session, account_id=account_id, wanted=wanted, via=Via.COOKIES, gpc=False, now=NOW)

    assert consents.plain(await consents.choice(session, account_id=account_id)) == YES
    rows = await consents.of_account(session, account_id=account_id)
    assert [(one.wanted, one.words, one.via, one.at) for one in rows] == [
        (wanted, WORDS_VERSION, "cookies", NOW) for wanted in (True, False, True)
    ]


async def test_a_signal_is_written_down_when_it_is_new(session: AsyncSession, account_id: UUID) -> None:
    for _ in range(3):
        await consents.honour_signal(session, account_id=account_id, now=NOW)
    await consents.choose(session, account_id=account_id, wanted=True, via=Via.COOKIES, gpc=False, now=NOW)
    await consents.honour_signal(session, account_id=account_id, now=NOW)

    rows = await consents.of_account(session, account_id=account_id)

    assert [(one.wanted, one.via) for one in rows] == [(False, "signal"), (True, "cookies"), (False, "signal")]
