"""E-mail addresses: which are taken, and what makes two of them the same."""

from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from core.errors import InvalidInput
from core.settings import Environment, settings


@dataclass(frozen=True)
class Address:
    """email: where mail goes, ASCII only. key: what makes two addresses the same; case does not."""

    email: str
    key: str


def parse_address(text: str) -> Address:
    """Read an address by its syntax alone; whether it is there shows when the code comes back. Raises InvalidInput."""
    try:
        valid = validate_email(
            text,
            allow_smtputf8=False,  # a local part beyond ASCII has look-alikes, and few servers take it
            check_deliverability=False,
            globally_deliverable=settings().environment is Environment.PRODUCTION,
        )
    except EmailNotValidError:
        raise InvalidInput(field="email", rule="must be an e-mail address") from None
    email = valid.ascii_email or valid.normalized
    return Address(email=email, key=email.lower())
