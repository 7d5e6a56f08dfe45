"""Secrets from a vault: what is accepted when, what happens while it is down, and what stops a start."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core import secrets
from core.errors import Unavailable
from core.sealing import seal, unseal
from core.secrets import OVERLAP, SETTLES_IN, UnfitSecrets, current, valid
from core.settings import Part, Secret, settings
from tests.house import House
from tests.vault import GIVEN, Keys, keys

SECRET_KEY, WEBHOOK, MODEL = Secret.SECRET_KEY, Secret.STRIPE_WEBHOOK_SECRET, Secret.OPENAI_API_KEY
HOUR = timedelta(hours=1)


@pytest.fixture
async def vault(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keys]:
    """A vault that is a day old, read."""
    async with keys(tmp_path, monkeypatch) as made:
        made.ahead = timedelta(days=1)
        await secrets.load()
        yield made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events that are logged."""
    events: list[str] = []

    class Log:
        def warning(self, event: str, **_: object) -> None:
            events.append(event)

        error = info = exception = warning

    monkeypatch.setattr(secrets, "log", lambda _: Log())
    return events


async def test_all_come_from_the_vault(vault: Keys) -> None:
    assert {secret: valid(secret) for secret in GIVEN} == {secret: (value,) for secret, value in GIVEN.items()}


async def test_before_they_are_read_nobody_gets_any(vault: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_held", secrets._Held())

    with pytest.raises(RuntimeError, match="load"):
        current(SECRET_KEY)


async def test_a_webhook_secret_and_the_one_before_are_accepted_for_a_day(vault: Keys) -> None:
    vault.pass_time(timedelta())
    vault.rotate(WEBHOOK, "whsec_the_second")

    await vault.live(HOUR + timedelta(minutes=15))
    seen = valid(WEBHOOK)
    await vault.live(timedelta(hours=22))
    late = valid(WEBHOOK)
    await vault.live(timedelta(hours=1))

    assert set(seen) == set(late) == {"whsec_the_second", GIVEN[WEBHOOK]}
    assert valid(WEBHOOK) == ("whsec_the_second",)


async def test_an_old_secret_ends_when_it_is_due_though_the_vault_is_down(vault: Keys) -> None:
    vault.pass_time(timedelta())
    vault.rotate(WEBHOOK, "whsec_the_second")
    await vault.live(2 * HOUR)
    vault.turn(down=True)

    vault.pass_time(OVERLAP[WEBHOOK])

    assert valid(WEBHOOK) == ("whsec_the_second",)


@pytest.mark.parametrize("change", [{"enabled": False}, {"exp": 1}])
async def test_an_operator_ends_an_old_one_before(vault: Keys, change: dict[str, object]) -> None:
    vault.pass_time(timedelta())
    first = vault.version(WEBHOOK)
    vault.rotate(WEBHOOK, "whsec_the_second")
    await vault.live(2 * HOUR)

    vault.change(WEBHOOK, first, **change)
    await vault.live(2 * HOUR)

    assert valid(WEBHOOK) == ("whsec_the_second",)


async def test_a_key_of_ours_is_accepted_at_once_and_used_when_all_processes_know_it(vault: Keys) -> None:
    signed = secrets.sign(b"csrf:1")
    vault.pass_time(timedelta())
    vault.rotate(SECRET_KEY, "the-second-secret-key-of-this-vault-0123456789")

    await vault.live(HOUR + timedelta(minutes=15))
    assert valid(SECRET_KEY) == (GIVEN[SECRET_KEY], "the-second-secret-key-of-this-vault-0123456789")
    await vault.live(SETTLES_IN)

    assert valid(SECRET_KEY) == ("the-second-secret-key-of-this-vault-0123456789", GIVEN[SECRET_KEY])
    assert secrets.sign(b"csrf:1") != signed
    assert secrets.is_signed(b"csrf:1", signed)
    await vault.live(timedelta(days=7))
    assert not secrets.is_signed(b"csrf:1", signed)


async def test_a_key_that_was_set_days_ahead_is_used_two_hours_after_it_begins(vault: Keys) -> None:
    vault.pass_time(timedelta())
    vault.rotate(SECRET_KEY, "the-second-secret-key-of-this-vault-0123456789")
    begins = vault.vault.now() + int(timedelta(days=10).total_seconds())
    vault.change(SECRET_KEY, vault.version(SECRET_KEY), nbf=begins)

    await vault.live(HOUR)
    before = valid(SECRET_KEY)
    vault.pass_time(timedelta(days=10) - HOUR)
    await secrets.refresh_if_due()
    at_first = valid(SECRET_KEY)
    await vault.live(SETTLES_IN)

    assert before == (GIVEN[SECRET_KEY],)
    assert at_first == (GIVEN[SECRET_KEY], "the-second-secret-key-of-this-vault-0123456789")
    assert valid(SECRET_KEY) == ("the-second-secret-key-of-this-vault-0123456789", GIVEN[SECRET_KEY])


async def test_two_processes_that_read_at_other_times_always_accept_each_others(
    vault: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads at every full hour, the other half an hour later, while the key is changed twice."""
    early, late = secrets._held, secrets._Held()

    def be(process: secrets._Held) -> None:
        monkeypatch.setattr(secrets, "_held", process)

    vault.pass_time(timedelta(minutes=30))
    be(late)
    await secrets.load()
    for half_hour in range(24):
        if half_hour in {3, 4}:
            vault.rotate(SECRET_KEY, f"the-secret-key-of-half-hour-{half_hour}-0123456789")
        vault.pass_time(timedelta(minutes=30))
        for process in (early, late):
            be(process)
            await secrets.refresh_if_due()
            signed = secrets.sign(b"csrf:1")
            be(late if process is early else early)
            assert secrets.is_signed(b"csrf:1", signed), half_hour

    assert valid(SECRET_KEY)[-1] == GIVEN[SECRET_KEY]
    assert len(valid(SECRET_KEY)) == 3


async def test_field_keys_open_what_they_sealed_until_they_are_disabled(vault: Keys) -> None:
    sealed = [seal("totp:1", b"secret")]
    for number in range(2):
        vault.pass_time(timedelta())
        vault.rotate(Secret.FIELD_KEY, f"{number}a" * 32)
        await vault.live(SETTLES_IN + HOUR)
        sealed.append(seal("totp:1", b"secret"))

    assert len({one[:9] for one in sealed}) == 3
    assert [unseal("totp:1", one) for one in sealed] == [b"secret"] * 3


async def test_all_goes_on_while_the_vault_is_down(vault: Keys, told: list[str]) -> None:
    vault.turn(down=True)

    await vault.live(timedelta(hours=3))

    assert {secret: current(secret) for secret in GIVEN} == GIVEN
    assert set(told) == {"vault_away"}
    vault.turn(down=False)
    vault.rotate(MODEL, "the-second-openai-key")
    await vault.live(timedelta(minutes=15))
    assert current(MODEL) == "the-second-openai-key"


async def test_a_value_is_asked_for_once(vault: Keys) -> None:
    before = vault.requests
    await vault.live(2 * HOUR)

    assert vault.requests - before == 2 * len(GIVEN)  # a list of each, twice; the first has its challenge behind it


async def test_a_refused_key_is_asked_for_once_however_many_were_refused(vault: Keys) -> None:
    vault.rotate(MODEL, "the-second-openai-key")
    before = vault.requests

    others = await asyncio.gather(*[secrets.refreshed(MODEL, refused=GIVEN[MODEL]) for _ in range(50)])

    assert others == [True] * 50
    assert current(MODEL) == "the-second-openai-key"
    assert vault.requests - before == len(GIVEN) + 1


async def test_a_key_that_is_refused_and_not_changed_is_asked_for_once_a_minute(vault: Keys) -> None:
    before = vault.requests

    assert [await secrets.refreshed(MODEL, refused=GIVEN[MODEL]) for _ in range(10)] == [False] * 10
    assert vault.requests - before == len(GIVEN)
    vault.pass_time(secrets.TRIED_EVERY)
    vault.rotate(MODEL, "the-second-openai-key")
    assert await secrets.refreshed(MODEL, refused=GIVEN[MODEL])


@pytest.mark.parametrize("bad", ["", "  ", "too-short"])
async def test_a_new_version_that_is_unfit_is_told_and_not_taken(vault: Keys, told: list[str], bad: str) -> None:
    vault.rotate(SECRET_KEY, bad)

    await vault.live(2 * HOUR)

    assert valid(SECRET_KEY) == (GIVEN[SECRET_KEY],)
    assert set(told) == {"secret_unfit"}


@pytest.mark.parametrize("secret", GIVEN)
async def test_an_empty_or_missing_secret_stops_the_start_with_its_name(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: Secret
) -> None:
    others = {one: value for one, value in GIVEN.items() if one is not secret}
    async with keys(tmp_path, monkeypatch, others) as made:
        with pytest.raises(UnfitSecrets, match=f"^{secret} in the vault is missing$"):
            await secrets.load()
        for empty in ("", "   "):
            made.rotate(secret, empty)
            with pytest.raises(UnfitSecrets, match=f"^{secret} in the vault is empty$"):
                await secrets.load()
        made.pass_time(timedelta(seconds=1))
        made.rotate(secret, GIVEN[secret])
        await secrets.load()


async def test_a_vault_that_is_down_stops_the_start(vault: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "START_TRIES", 1)
    monkeypatch.setattr(secrets, "_held", secrets._Held())
    vault.turn(down=True)

    with pytest.raises(Unavailable):
        await secrets.load()


async def test_no_error_shows_a_secret(vault: Keys) -> None:
    assert not any(value in repr(secrets._held) for value in GIVEN.values())


def test_a_part_of_the_house_gets_no_secret_that_is_not_its_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with_part = settings().model_copy(update={"part": Part.WORKER_AI})
    monkeypatch.setattr(secrets, "settings", lambda: with_part)

    assert secrets.current(Secret.OPENAI_API_KEY) == house.settings["CLOFY_OPENAI_API_KEY"]
    with pytest.raises(RuntimeError, match="stripe-api-key is none of worker-ai's"):
        secrets.current(Secret.STRIPE_API_KEY)
