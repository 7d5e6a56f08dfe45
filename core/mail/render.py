"""From facts to a message: text and HTML by one layout, with headers that nobody's input can add to."""

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.errors import ClofyError, Kind
from core.mail.consents import WAY_OUT
from core.mail.deliveries import Outgoing
from core.settings import settings

SUBJECTS = {
    "verification": "Confirm your e-mail address",
    "password_reset": "Your code for a new password",
    "already_registered": "You already have an account",
    "email_change_code": "Your code for a new address",
    "email_change": "The address of your account",
    "no_account": "There is no account with this address",
    "receipt": "Your receipt from Clofy Cloud",
    "refund_sent": "Your refund is on its way",
    "refund_failed": "Your refund did not go through",
    "payment_failed": "Your payment did not go through",
    "policy_change": "{document}: a change from {effective}",
    "security_change": "A change to how you sign in",
    "new_browser": "A sign-in in a new browser",
    "sign_in_code": "Your code to sign in",
    "lost_factor_code": "Your code for a lost second factor",
    "lost_factor_asked": "Your second factor is to be removed",
    "dispute_opened": "Your bank questions a payment to Clofy Cloud",
    "low_balance": "Few credits are left in your account",
    "announcement": "{title}",
    "erasure_begun": "Your account will be erased on {due}",
    "erasure_soon": "Your account will be erased tomorrow",
    "erasure_undone": "Your account stays",
    "erasure_waits": "Your account cannot be erased yet",
    "erasure_done": "Your account is erased",
    "privacy_request": "{title}",
    "privacy_identity": "Is this request yours?",
    "privacy_by_mail": "We have your message about personal data",
    "privacy_due": "A privacy request {when}",
    "export_ready": "The copy of your data is ready",
    "export_failed": "The copy of your data could not be made",
    "team_invitation": "An invitation to a team",
    "team_change": "A change in one of your teams",
    "test": "A test mail",
}
# Control characters, line ends of any script, what turns the direction of text around, halves of a character; and "=?",
# after which a reader's program decodes what is no text of ours (RFC 2047).
UNSAFE = re.compile("=\\?|[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class UnsafeHeader(ClofyError):
    """A recipient, a sender or a subject holds a character that no header may."""

    kind = Kind.INVALID


def _safe(text: str) -> str:
    if UNSAFE.search(text):
        raise UnsafeHeader
    return text


def render(mail: Outgoing, *, now: datetime | None = None) -> EmailMessage:
    """The message of a delivery. Its Message-ID follows from the delivery, so that a second copy is known as one.

    Links are built from CLOFY_PUBLIC_URL alone. Raises UnsafeHeader.
    """
    home = settings().public_url
    subject = _safe(subject_of(mail.template, mail.facts))
    leave = _way_out(mail, home)
    facts = {
        **mail.facts,
        "home": home,
        "subject": subject,
        "language": mail.language,
        "unsubscribe": leave,
        "urlquote": lambda text: quote(str(text), safe=""),
    }
    message = EmailMessage(policy=SMTP)
    sender_name, sender = parseaddr(_safe(settings().mail_from))
    message["From"] = Address(display_name=sender_name, addr_spec=sender)
    message["To"] = Address(addr_spec=_safe(mail.recipient))
    message["Subject"] = subject
    message["Date"] = format_datetime(now or datetime.now(UTC))
    message["Message-ID"] = f"<{mail.id}@{urlsplit(home).hostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = mail.language
    if leave:
        message["List-Unsubscribe"] = f"<{leave}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message.set_content(_templates.get_template(f"{mail.template}.txt").render(facts))
    message.add_alternative(_templates.get_template(f"{mail.template}.html").render(facts), subtype="html")
    return message


class _Forgotten(dict[str, Any]):
    """The facts of a mail, of which the purge leaves none after 90 days (core/privacy/tables.py)."""

    def __missing__(self, name: str) -> str:
        return "…"


def subject_of(template: str, facts: dict[str, Any]) -> str:
    return SUBJECTS[template].format_map(_Forgotten(facts))


def _way_out(mail: Outgoing, home: str) -> str:
    """Where one press ends mails of this topic; empty for what cannot be turned off."""
    return f"{home}/unsubscribe/{mail.facts[WAY_OUT]}" if WAY_OUT in mail.facts else ""
