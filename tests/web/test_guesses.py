"""Bar 3: however one guesses codes, no more are tried than the budget, and the owner still signs in."""

from itertools import cycle
from typing import Any
from uuid import uuid4

from quart import Quart
from quart.wrappers import Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.limits import CODE_GUESSES
from tests.web.account_kit import Owner, signed_in
from tests.web.browser import PASSWORD, Browser, live_codes

GUESSES = 300
ATTACKER = "203.0.113.66"
BUDGET = CODE_GUESSES.account[0].most


class Attacker(Browser):
    """Comes from one address, whatever its headers say."""

    def __init__(self, app: Quart) -> None:
        super().__init__(app.test_client())
        self.calls = 0

    async def call(self, method: str, path: str, json: Any = None) -> Response:
        if not self.token:
            await self.open()
        self.calls += 1
        forged = f"198.51.{self.calls // 250}.{self.calls % 250}"
        headers = {"X-CSRF-Token": self.token, "X-Forwarded-For": forged, "X-Azure-SocketIP": forged}
        response = await self.client.open(
            path, method=method, json=json, headers=headers, scope_base={"client": (ATTACKER, 50_000)}
        )
        assert isinstance(response, Response)
        return response


async def test_three_hundred_guesses_over_all_endpoints_try_no_more_than_the_budget(
    app: Quart, session: AsyncSession
) -> None:
    await session.execute(text("delete from limit_counts"))
    await session.commit()
    victim = await (await Owner.made()).with_totp()
    own = f"mallory-{uuid4().hex[:12]}@example.com"
    attacker = Attacker(app)
    await attacker.call("POST", "/api/password-reset", {"email": victim.email})
    ways = cycle(("/api/accounts/verify", "/api/password-reset/confirm", "/api/session/second-factor"))
    await attacker.sign_in(victim.email)  # the password is known to the attacker: the worst case
    tried = refused = successes = 0
    for number, path in zip(range(GUESSES), ways, strict=False):
        guess = f"{number:06}"
        bodies = {
            "/api/accounts/verify": {"email": victim.email, "code": guess},
            "/api/password-reset/confirm": {"email": victim.email, "code": guess, "password": f"{PASSWORD} of Mallory"},
            "/api/session/second-factor": {"method": "totp", "code": guess},
        }
        status = (await attacker.call("POST", path, bodies[path])).status_code
        assert status in (400, 429), (path, status)
        tried, refused = tried + (status == 400), refused + (status == 429)
        if number % 60 == 30:  # a success of the attacker's own gives no new tries
            attackers = Attacker(app)
            await attackers.register(own := f"x{own}")
            code = (await live_codes(session, own))[-1]
            successes += (await attackers.verify(own, code)).status_code == 204

    assert tried == BUDGET
    assert refused == GUESSES - BUDGET
    assert successes == 0  # its address has no tries left, for its own account neither
    assert await (await (await signed_in(app, victim)).call("GET", "/api/account")).get_json()
