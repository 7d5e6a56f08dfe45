"""Passwords: how good one is."""

from pydantic import Field
from quart import Blueprint
from quart.typing import ResponseReturnValue

from core.accounts import passwords
from web.inputs import Input, takes
from web.openapi import answers
from web.session import anyone
from web.shapes import PasswordStrength

blueprint = Blueprint("passwords", __name__)


class Proposal(Input):
    """A password that somebody thinks of, and what the form knows of them by then."""

    password: str = Field(min_length=1, max_length=1024)
    email: str = Field(default="", max_length=254)
    name: str = Field(default="", max_length=200)
    company: str = Field(default="", max_length=200)


@blueprint.post("/api/password-strength")
@anyone
@answers(PasswordStrength)
@takes(Proposal)
async def measure(data: Proposal) -> ResponseReturnValue:
    """How hard a password is to guess, for the meter beside the field. Nothing is kept."""
    found = await passwords.assess(data.password, about=(data.email, data.name, data.company))
    return {"score": found.score, "rule": found.rule}
