"""A vendor refuses our key, for it was changed this minute: the vault is asked at once, and the work goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from core import secrets
from core.billing import stripe_api
from core.billing.stripe_api import StripeUnavailable, UnknownCheckout
from core.consultations import model_api
from core.consultations.model_api import Answer, ModelBusy, ModelRefused
from core.mail import smtp
from core.mail.smtp import MailServerDown
from core.settings import Secret
from sandbox.inbox import Inbox
from tests.core.mail.test_smtp import hand_over
from tests.house import House
from tests.vault import GIVEN, Keys, keys


@pytest.fixture
async def vault(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keys]:
    """A vault, read, whose keys are not those that the vendors take."""
    house.reset()
    await model_api.close()
    await stripe_api.close()
    async with keys(tmp_path, monkeypatch) as made:
        made.ahead += secrets.TRIED_EVERY
        await secrets.load()
        yield made
    await model_api.close()
    await stripe_api.close()


async def ask() -> str:
    answer = Answer()
    words = model_api.stream([{"role": "user", "content": "Why?"}], max_tokens=20, account_id=uuid4(), answer=answer)
    return "".join([piece async for piece in words])


async def test_an_answer_is_tried_again_with_the_models_new_key(vault: Keys, house: House) -> None:
    vault.rotate(Secret.OPENAI_API_KEY, house.standins.openai_key)

    with pytest.raises(ModelBusy):  # the job is queued again
        await ask()

    assert await ask()


async def test_a_key_of_the_model_that_nobody_changed_is_an_operators_matter(vault: Keys) -> None:
    with pytest.raises(ModelRefused):
        await ask()


async def test_stripe_is_asked_again_with_its_new_key_and_nobody_waits_longer(vault: Keys, house: House) -> None:
    vault.rotate(Secret.STRIPE_API_KEY, house.standins.stripe_key)

    with pytest.raises(UnknownCheckout):  # Stripe's own word: the key was taken
        await stripe_api.fetch_session("cs_test_nowhere")


async def test_a_key_of_stripe_that_nobody_changed_is_unavailable(vault: Keys) -> None:
    with pytest.raises(StripeUnavailable):
        await stripe_api.fetch_session("cs_test_nowhere")


async def test_a_mail_goes_with_the_mail_servers_new_password(
    vault: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*arguments: object) -> AuthResult:
        given = arguments[-1]
        assert isinstance(given, LoginPassword)
        return AuthResult(success=given.password == b"the second, with a %2F", handled=False)

    inbox, loop = Inbox(tmp_path / "inbox"), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, hostname="mail.test", loop=loop, authenticator=check, auth_require_tls=False),
        "127.0.0.1",
        0,
    )
    url = f"smtp://clofy@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    vault.say(smtp_url=url)
    monkeypatch.setattr(smtp, "settings", lambda: vault.told)
    vault.rotate(Secret.SMTP_PASSWORD, "the first")
    vault.pass_time(secrets.TRIED_EVERY)
    await secrets.load()
    vault.pass_time(secrets.TRIED_EVERY)
    vault.rotate(Secret.SMTP_PASSWORD, "the second, with a %2F")

    async with server:
        with pytest.raises(MailServerDown):  # the job is queued again
            await hand_over()
        await hand_over()

    assert len(inbox.mails) == 1


def test_the_keys_of_these_tests_are_not_the_vendors(house: House) -> None:
    assert GIVEN[Secret.OPENAI_API_KEY] != house.standins.openai_key
    assert GIVEN[Secret.STRIPE_API_KEY] != house.standins.stripe_key
