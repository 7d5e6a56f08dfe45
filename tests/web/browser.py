"""A browser, as the tests of the web need one: it keeps its cookies and sends the CSRF token as our pages do."""

from typing import Any
from uuid import UUID

from quart.typing import TestClientProtocol as Client
from quart.wrappers import Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.codes import REGISTERED_AGAIN
from core.accounts.models import Account, AccountCode
from core.mail.models import Delivery

PASSWORD = "correct horse battery staple"


def person(email: str) -> dict[str, Any]:
    return {"email": email, "password": PASSWORD, "name": "Ada", "birth_date": "1990-02-28"}


class Browser:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.token = ""

    async def open(self) -> None:
        """Load a page: its CSRF token is what the next calls send."""
        self.token = (await (await self.client.get("/api/session")).get_json())["csrf_token"]

    async def call(self, method: str, path: str, json: Any = None) -> Response:
        if not self.token:
            await self.open()
        headers = {"X-CSRF-Token": self.token}
        response = await self.client.open(path, method=method, json=json, headers=headers)
        assert isinstance(response, Response)
        return response

    async def register(self, email: str, **other: Any) -> Response:
        return await self.call("POST", "/api/accounts", person(email) | other)

    async def verify(self, email: str, code: str) -> Response:
        return await self.call("POST", "/api/accounts/verify", {"email": email, "code": code})

    async def sign_in(self, email: str, password: str = PASSWORD) -> Response:
        response = await self.call("POST", "/api/session", {"email": email, "password": password})
        if response.status_code == 200:
            self.token = (await response.get_json())["csrf_token"]
        return response


async def mailed(session: AsyncSession, email: str) -> list[Delivery]:
    """The mails to an address, oldest first."""
    query = select(Delivery).where(Delivery.recipient == email).order_by(Delivery.created_at)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def live_codes(session: AsyncSession, email: str, *, form: str = "code") -> list[str]:
    """The codes that may still be used, oldest first, as the mails carry them; form: "link" for their long form."""
    ids = await session.scalars(
        select(AccountCode.id)
        .join(Account, Account.id == AccountCode.account_id)
        .where(
            Account.email_key == email.lower(), AccountCode.used_at.is_(None), AccountCode.purpose != REGISTERED_AGAIN
        )
        .order_by(AccountCode.created_at)
    )
    by_key = {
        UUID(mail.key.rpartition(":")[2]): mail.facts[form]
        for mail in await mailed(session, email)
        if form in mail.facts
    }
    return [by_key[code_id] for code_id in ids]


def wrong(code: str) -> str:
    return "000000" if code != "000000" else "111111"


async def problem(response: Response) -> dict[str, Any]:
    assert response.mimetype == "application/problem+json"
    document: dict[str, Any] = await response.get_json(force=True)
    assert document["status"] == response.status_code
    return document
