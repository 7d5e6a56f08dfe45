"""The inbox, spoken to by the SMTP client that the product uses."""

import asyncio
from email.message import EmailMessage

import aiosmtplib
import httpx
import pytest

from sandbox.standins import StandIns


async def send(standins: StandIns, to: str = "ada@example.com", subject: str = "Your code") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "clofy@example.com", to, subject
    message.set_content("The code is 123456. Grüße")
    message.add_alternative("<p>The code is <b>123456</b></p><script>alert(1)</script>", subtype="html")
    await aiosmtplib.send(message, hostname="127.0.0.1", port=standins.smtp_port, timeout=5)


async def test_a_mail_can_be_read_by_its_recipient_newest_last(standins: StandIns, control: httpx.AsyncClient) -> None:
    await send(standins, subject="first")
    await send(standins, subject="second")
    await send(standins, to="bob@example.com")

    found = (await control.get("/mail", params={"to": "Ada@example.com"})).json()

    assert [mail["subject"] for mail in found] == ["first", "second"]
    assert found[0]["text"].strip() == "The code is 123456. Grüße"
    assert "<b>123456</b>" in found[0]["html"]


async def test_one_may_wait_for_a_mail(standins: StandIns, control: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(control.get("/mail", params={"to": "ada@example.com", "wait": 10}))
    await control.get("/mail")  # the server has taken up what waits by then

    await send(standins)

    assert len((await waiting).json()) == 1


async def test_a_mails_html_is_shown_in_a_frame_that_runs_nothing(
    standins: StandIns, control: httpx.AsyncClient
) -> None:
    await send(standins)
    name = (await control.get("/mail")).json()[0]["id"]

    page = (await control.get(f"/inbox/{name}")).text

    assert "<iframe sandbox " in page
    assert "<script>" not in page
    assert "Your code" in (await control.get("/inbox")).text


async def test_a_refusal_for_now_ends_after_as_many_as_told(standins: StandIns, control: httpx.AsyncClient) -> None:
    await control.patch("/control", json={"mail": {"refuse": 1}})

    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send(standins)
    await send(standins)

    assert refused.value.code == 451
    assert len((await control.get("/mail")).json()) == 1


async def test_a_mailbox_may_not_exist(standins: StandIns, control: httpx.AsyncClient) -> None:
    await control.patch("/control", json={"mail": {"refuse_recipients": ["*@bounce.example"]}})

    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await send(standins, to="gone@bounce.example")

    assert refused.value.recipients[0].code == 550


@pytest.mark.parametrize("kept", [True, False])
async def test_the_connection_may_drop_before_the_answer(
    standins: StandIns, control: httpx.AsyncClient, kept: bool
) -> None:
    await control.patch("/control", json={"mail": {"drop": 1, "drop_keeps": kept}})

    with pytest.raises(aiosmtplib.SMTPException):
        await send(standins)

    assert len((await control.get("/mail")).json()) == kept
