"""Accounts with second factors, and browsers that sign in to them."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pyotp
from quart import Quart
from quart.wrappers import Response
from sqlalchemy import update

from core.accounts.factors import totp
from core.accounts.factors.models import Totp
from core.accounts.models import Role, WebSession
from core.accounts.passwords import hash_password
from core.accounts.profile import provide_account
from core.database import transaction
from tests.web.browser import PASSWORD, Browser


@dataclass
class Owner:
    """Who has an account. secret: of the authenticator app, once there is one, in base 32."""

    id: UUID
    email: str
    secret: str = ""
    used: list[int] = field(default_factory=list)

    @classmethod
    async def made(cls, *, role: Role = Role.USER) -> "Owner":
        email = f"{uuid4().hex}@people.example"
        password_hash = await hash_password(PASSWORD)
        async with transaction() as session:
            account_id = await provide_account(session, email=email, password_hash=password_hash, name="Ada", role=role)
        return cls(account_id, email)

    async def with_totp(self) -> "Owner":
        self.secret = base64.b32encode(secrets.token_bytes(20)).decode()
        async with transaction() as session:
            await totp.provide(session, account_id=self.id, secret=self.secret)
        return self

    def code(self, *, ago: int = 0) -> str:
        """What the app shows, or showed so many seconds ago."""
        return pyotp.TOTP(self.secret).at(datetime.now(UTC) - timedelta(seconds=ago))

    async def forget_steps(self) -> None:
        """As if time had passed, so that the code of this half minute may be given once more."""
        async with transaction() as session:
            await session.execute(update(Totp).where(Totp.account_id == self.id).values(last_step=0))

    async def age_sessions(self, by: timedelta) -> None:
        """As if they had proven themselves that much earlier."""
        async with transaction() as session:
            mine = update(WebSession).where(WebSession.account_id == self.id)
            await session.execute(mine.values(proven_at=WebSession.proven_at - by))


def browser_of(app: Quart) -> Browser:
    return Browser(app.test_client())


async def step_two(browser: Browser, code: str, method: str = "totp") -> Response:
    response = await browser.call("POST", "/api/session/second-factor", {"method": method, "code": code})
    if response.status_code == 200:
        browser.token = (await response.get_json())["csrf_token"]
    return response


async def signed_in(app: Quart, owner: Owner) -> Browser:
    """A browser that has gone through all steps."""
    browser = browser_of(app)
    answer = await (await browser.sign_in(owner.email)).get_json()
    if answer["state"] == "second_factor":
        await owner.forget_steps()
        done = await step_two(browser, owner.code())
        assert done.status_code == 200, await done.get_data(as_text=True)
    return browser


async def state_of(browser: Browser) -> str:
    state: str = (await (await browser.call("GET", "/api/session")).get_json())["state"]
    return state


def cookie_of(browser: Browser, ending: str) -> tuple[str, str]:
    """Name and value of the cookie whose name ends so."""
    jar = browser.client.cookie_jar
    assert jar is not None
    return next((one.name, one.value or "") for one in jar if one.name.endswith(ending))


async def browser_with(app: Quart, cookie: tuple[str, str]) -> Browser:
    """Somebody else's browser, into which a stolen cookie was put."""
    thief = browser_of(app)
    await thief.open()
    thief.client.set_cookie("localhost", *cookie)
    await thief.open()
    return thief
