import re
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from core.mail import consents
from core.mail import render as rendering
from core.mail.consents import TOPIC_OF, WAY_OUT, unsubscribe_token
from core.mail.deliveries import Outgoing
from core.mail.render import SUBJECTS, UnsafeHeader, render
from core.settings import settings
from tests.house import House

LINK = "l" * 43
FACTS: dict[str, dict[str, Any]] = {
    "verification": {"code": "012345", "link": LINK, "email": "ada+clofy@example.com"},
    "password_reset": {"code": "012345", "link": LINK, "email": "ada+clofy@example.com", "name": "Ada"},
    "already_registered": {"email": "ada@example.com"},
    "email_change_code": {"code": "012345", "link": "x" * 43, "email": "ada@example.com", "name": "Ada"},
    "email_change": {"name": "Ada", "new": "ada@example.org", "done": True, "link": "x"},
    "no_account": {"email": "ada@example.com", "browser": "0f"},
    "receipt": {
        "name": "Ada & <b>Co</b>",
        "shown_number": "CC-000123",
        "bundle_name": "Starter",
        "credits": "500",
        "amount": "$5.00",
        "purchase_id": "0198f0aa-0000-7000-8000-000000000000",
        "paid_on": "3 May 2026",
    },
}
FACTS |= {
    template: {name: FACTS["receipt"][name] for name in ("name", "bundle_name", "credits", "amount", "purchase_id")}
    for template in ("refund_sent", "refund_failed", "payment_failed", "dispute_opened")
}
FACTS |= {
    "security_change": {"name": "Ada", "what": "A passkey was added.", "ip": "192.0.2.1", "user_agent": "a test"},
    "sign_in_code": {"name": "Ada", "code": "012345", "ip": "192.0.2.1", "user_agent": "a test"},
    "lost_factor_code": {"name": "Ada", "code": "012345", "ip": "192.0.2.1", "user_agent": "a test"},
    "lost_factor_asked": {"name": "Ada", "due": "3 May 2026", "request": "1", "proof": "p"},
    "new_browser": {"name": "Ada", "ip": "192.0.2.1", "user_agent": "a test", "at": "3 May 2026"},
    "policy_change": {
        "name": "Ada",
        "document": "Privacy policy",
        "summary": "Pictures too.",
        "effective": "3 May 2026",
        "weight": "material",
        "path": "/privacy/versions/2",
    },
    "low_balance": {"name": "Ada", "credits": "20"},
    "export_ready": {"name": "Ada", "until": "1 December 2026, 10:00 UTC", "size": "12.3 MB"},
    "export_failed": {"name": "Ada"},
    "privacy_request": {
        "name": "Ada",
        "title": "We have it",
        "text": "By May.\n\nAt <last>.",
        "asked_on": "3 April 2026",
    },
    "privacy_identity": {"name": "Ada", "what": "a copy", "asked_on": "3 April 2026", "sender": "<eve>@example.com"},
    "privacy_by_mail": {"asked_on": "3 April 2026"},
    "privacy_due": {
        "name": "Ada",
        "what": "access",
        "when": "is due soon",
        "due": "3 May 2026",
        "clock": "GDPR",
        "request": "0198f0aa-0000-7000-8000-000000000000",
    },
    "team_invitation": {
        "inviter": "bob@example.com",
        "email": "ada@example.com",
        "invitation": "1",
        "until": "3 May 2026",
    },
    "team_change": {"name": "Ada", "what": "You joined the team “Support”."},
    "test": {},
    **{f"erasure_{what}": {"name": "Ada", "due": "3 May 2026, 10:00 UTC"} for what in ("begun", "soon", "undone")},
    "erasure_waits": {"name": "Ada", "due": "3 May 2026, 10:00 UTC", "reason": "legal-hold"},
    "erasure_done": {"name": "Ada", "link": LINK, "text": "What is gone:\n- <all>"},
    "announcement": {"name": "Ada", "title": "A new service", "text": "It writes letters.\n\nTry <it>."},
}
HOME = "http://localhost"


ACCOUNT = uuid4()


def make_mail(
    template: str, *, recipient: str = "ada@example.com", mail_id: UUID | None = None, **facts: Any
) -> Outgoing:
    return Outgoing(
        mail_id or uuid4(), recipient, template, FACTS[template] | way_out(ACCOUNT, template) | facts, ACCOUNT
    )


def way_out(account_id: UUID, template: str) -> dict[str, str]:
    """As `send` adds it to the facts of what can be turned off."""
    topic = TOPIC_OF.get(template)
    return {WAY_OUT: unsubscribe_token(account_id, topic)} if topic else {}


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    text: str = body.get_content()
    return text


@pytest.fixture(autouse=True)
def home(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    here = settings().model_copy(update={"public_url": HOME})
    monkeypatch.setattr(rendering, "settings", lambda: here)


def test_every_subject_has_its_templates_and_facts() -> None:
    assert SUBJECTS.keys() == FACTS.keys()


@pytest.mark.parametrize("template", sorted(SUBJECTS))
def test_a_mail_has_text_and_html_and_links_to_us_alone(template: str) -> None:
    message = render(make_mail(template))

    text, html = part(message, "plain"), part(message, "html")
    assert "{{" not in text + html
    links = re.findall(r"https?://[^\s\"<>]+", text + html)
    assert links
    assert all(link.startswith(HOME) for link in links)
    for fact in ("code", "amount", "purchase_id"):
        if fact in FACTS[template]:
            assert FACTS[template][fact] in text
            assert FACTS[template][fact] in html


def test_what_people_wrote_is_text_in_html() -> None:
    message = render(make_mail("receipt"))

    assert "Ada & <b>Co</b>" in part(message, "plain")
    assert "Ada &amp; &lt;b&gt;Co&lt;/b&gt;" in part(message, "html")


def test_the_link_fills_in_address_and_code() -> None:
    message = render(make_mail("verification"))

    assert f"{HOME}/verify?email=ada%2Bclofy%40example.com&code={LINK}" in part(message, "plain")
    assert "012345" not in message["Subject"]


def test_a_second_copy_is_known_by_its_message_id() -> None:
    mail_id = uuid4()

    first, second = (render(make_mail("receipt", mail_id=mail_id)) for _ in range(2))

    assert first["Message-ID"] == second["Message-ID"] == f"<{mail_id}@localhost>"


ENDS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\ud800"]


@pytest.mark.parametrize("end", ENDS)
def test_nobody_adds_a_header(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsafeHeader):
        render(make_mail("receipt", recipient=f"ada@example.com{end}Bcc: all@example.com"))
    with pytest.raises(UnsafeHeader):
        render(make_mail("announcement", title=f"News{end}Bcc: all@example.com"))
    with pytest.raises(UnsafeHeader):  # what a reader's program makes a line end of
        render(make_mail("announcement", title="=?utf-8?q?=0D=0ABcc:_all=40example.com?="))
    sender = f"Clofy{end}Bcc: all@example.com <no-reply@clofy.cloud>"
    monkeypatch.setattr(rendering, "settings", lambda: settings().model_copy(update={"mail_from": sender}))
    with pytest.raises(UnsafeHeader):
        render(make_mail("receipt"))


@pytest.mark.parametrize("title", ["Grüße, 你好, \U0001f600", "x" * 400, "{home}"])
def test_a_subject_of_any_script_stays_a_subject(title: str) -> None:
    sent = render(make_mail("announcement", title=title)).as_bytes()

    read = BytesParser(policy=default).parsebytes(sent)
    assert set(read.keys()) == set(render(make_mail("receipt")).keys()) | {"List-Unsubscribe", "List-Unsubscribe-Post"}
    assert read["Bcc"] is None
    assert max(len(line) for line in sent.splitlines()) <= 998
    assert read["Subject"] == title


@pytest.mark.parametrize("template", sorted(SUBJECTS))
async def test_only_what_can_be_turned_off_has_a_way_out(session: AsyncSession, template: str) -> None:
    message = render(make_mail(template))

    link = str(message["List-Unsubscribe"] or "")
    assert bool(link) == (template in TOPIC_OF)
    if link:
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert link.strip("<>") in part(message, "plain")
        assert link.strip("<>") in part(message, "html")
        token = link.strip("<>").rpartition("/")[2]
        assert await consents.read_token(session, token) == (ACCOUNT, TOPIC_OF[template])


def test_a_recipient_is_one_address() -> None:
    with pytest.raises(Exception, match=r"Invalid|expected|address"):
        render(make_mail("receipt", recipient="ada@example.com, all@example.com"))
