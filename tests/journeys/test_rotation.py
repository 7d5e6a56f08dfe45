"""Bar 8 of issue 4: keys change one after the other, then the vault is down for two hours, while people are busy.

The web serves on the loop of the test, so that its clock can be moved; sockets and requests are real.
"""

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection

from core import secrets
from core.accounts.factors import totp
from core.accounts.factors.models import Totp
from core.accounts.web_sessions import start_session
from core.database import transaction
from core.sealing import HEAD, under_older_keys
from core.secrets import SETTLES_IN
from core.settings import Secret
from sandbox import programs
from sandbox.processes import free_port
from tests import makers
from tests.core.billing.kit import make_event
from tests.house import MODULE, ROOT, House
from tests.journeys.person import Person
from tests.vault import GIVEN, Keys, keys, serve

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
RATE, SOCKETS = 50, 20  # requests in a second
# Not as long as uvicorn keeps a connection on which nothing is said, 5 s: its end would cross with the next request.
KEPT = httpx.Limits(keepalive_expiry=2)


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The web as in production, on this loop; its address."""
    from web.app import create_app  # reads the settings that `house` has set

    port = free_port()
    config = uvicorn.Config(create_app(), port=port, log_config=None, lifespan="on", ws="websockets-sansio")
    server = uvicorn.Server(config)
    served = asyncio.create_task(server.serve())
    while not server.started:  # uvicorn tells nobody
        assert not served.done(), "it did not start"
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await served


@dataclass
class Busy:
    """Requests at a steady rate: reading, changing with the token that each person's page has, Stripe's events."""

    people: list[Person]
    webhook_secrets: list[str]
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        began = asyncio.get_running_loop().time()
        asked = cycle([self.read, self.change, self.stripe, self.change])
        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(cycle(self.people)):
                await asyncio.sleep(began + number / RATE - asyncio.get_running_loop().time())
                group.create_task(self.note(next(asked), person))

    async def note(self, ask: Any, person: Person) -> None:
        try:
            how = str((await ask(person)).status_code)
        except httpx.TransportError as error:
            how = repr(error)
        async with self.changed:
            self.answers[ask.__name__, how] += 1
            self.changed.notify_all()

    async def more(self, count: int) -> None:
        """Until so many more requests were answered."""
        goal = self.answers.total() + count
        async with self.changed, asyncio.timeout(30):
            await self.changed.wait_for(lambda: self.answers.total() >= goal)

    async def read(self, person: Person) -> httpx.Response:
        return await person.call("GET", "/api/account")

    async def change(self, person: Person) -> httpx.Response:
        return await person.call("PATCH", "/api/account", json={"name": "Pat"})

    async def stripe(self, person: Person) -> httpx.Response:
        secret = self.webhook_secrets[self.answers.total() % len(self.webhook_secrets)]
        return await event(person.http, secret)


async def event(http: httpx.AsyncClient, secret: str) -> httpx.Response:
    """An event of Stripe's that we have no use for, signed with this secret."""
    body, at = json.dumps(make_event("cs_1", "payment_intent.created")).encode(), int(time.time())
    code = hmac.digest(secret.encode(), b"%d." % at + body, "sha256").hex()
    headers = {"Stripe-Signature": f"t={at},v1={code}", "Content-Type": "application/json"}
    return await http.post("/webhooks/stripe", content=body, headers=headers)


@dataclass
class Office:
    keys: Keys
    busy: Busy
    people: list[Person]
    ids: list[UUID]
    sockets: list[ClientConnection]

    async def live(self, time: timedelta, *, step: timedelta = QUARTER) -> None:
        """Let time pass, by steps, in each of which requests are answered and the task of the process has its turn."""
        for _ in range(time // step):
            self.keys.pass_time(step)
            await secrets.refresh_if_due()
            await self.busy.more(5)

    async def reload(self) -> None:
        """Everybody loads their page anew."""
        await asyncio.gather(*[person.refresh_csrf() for person in self.people])


@pytest.fixture
async def office(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """People who are signed in, each with an open socket and an authenticator app, and busy for the whole test."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(keys(tmp_path, monkeypatch))
        made.ahead = timedelta(days=1)
        url = await stack.enter_async_context(serving())
        people, ids, sockets = [], [], []
        for _ in range(SOCKETS):
            async with transaction() as session:
                account_id = await makers.make_account(session)
                token = await start_session(session, account_id=account_id, user_agent="tests", ip="127.0.0.1")
                await totp.begin(session, account_id=account_id, email="pat@people.example")
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, cookies={"clofy": token}, timeout=30, limits=KEPT)
            )
            person = Person(house, http)
            await person.refresh_csrf()
            sockets.append(await stack.enter_async_context(person.live(url)))
            people.append(person)
            ids.append(account_id)
        busy = Busy(people, [GIVEN[Secret.STRIPE_WEBHOOK_SECRET]])
        running = asyncio.create_task(busy.run())
        yield Office(made, busy, people, ids, sockets)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_keys_change_and_the_vault_goes_away_and_nobody_notices(office: Office) -> None:
    busy, began = office.busy, asyncio.get_running_loop().time()
    before = [person.csrf for person in office.people]

    # The key of sessions' CSRF tokens: pages that were open go on, and those that are loaded now have new tokens.
    office.keys.pass_time(timedelta())
    office.keys.rotate(Secret.SECRET_KEY, "the-second-secret-key-of-this-vault-0123456789")
    await office.live(SETTLES_IN + HOUR)
    await office.reload()
    assert not set(before) & {person.csrf for person in office.people}
    await office.live(8 * DAY, step=DAY)
    person = office.people[0]
    old_page = await person.call("PATCH", "/api/account", json={"name": "Pat"}, headers={"X-CSRF-Token": before[0]})
    assert old_page.status_code == 403

    # The webhook's secret: both work in the overlap, and the old one is refused after it.
    office.keys.pass_time(timedelta())
    office.keys.rotate(Secret.STRIPE_WEBHOOK_SECRET, "whsec_the_second_webhook_secret")
    await office.live(HOUR + QUARTER)
    busy.webhook_secrets.append("whsec_the_second_webhook_secret")
    await office.live(20 * HOUR, step=2 * HOUR)
    busy.webhook_secrets.pop(0)
    await busy.more(SOCKETS)
    await office.live(4 * HOUR)
    assert (await event(person.http, GIVEN[Secret.STRIPE_WEBHOOK_SECRET])).status_code == 400
    assert (await event(person.http, "whsec_the_second_webhook_secret")).is_success

    # The field key: what was sealed opens, comes under the new key by the job, and opens without the old one.
    first = office.keys.version(Secret.FIELD_KEY)
    heads = {await sealed_head(account_id) for account_id in office.ids}
    office.keys.rotate(Secret.FIELD_KEY, "3d" * 32)
    await office.live(SETTLES_IN + HOUR)
    assert await resealed() >= SOCKETS
    assert not heads & {await sealed_head(account_id) for account_id in office.ids}
    office.keys.change(Secret.FIELD_KEY, first, enabled=False)
    await office.live(HOUR + QUARTER)
    assert len(secrets.valid(Secret.FIELD_KEY)) == 1
    for account_id in office.ids:
        assert await opens(account_id)

    # The vault is down for two hours.
    office.keys.turn(down=True)
    asked = office.keys.requests
    await office.live(2 * HOUR)
    assert office.keys.requests > asked
    office.keys.turn(down=False)
    await office.live(QUARTER)

    took = asyncio.get_running_loop().time() - began
    assert {how[:1] for _, how in busy.answers} == {"2"}, busy.answers
    assert {name for name, _ in busy.answers} == {"read", "change", "stripe"}
    assert busy.answers.total() / took > 0.9 * RATE
    for one in office.people:
        assert (await one.get("/api/session"))["state"] == "signed_in"
    await asyncio.gather(*[still_open(socket) for socket in office.sockets])


async def still_open(socket: ClientConnection) -> None:
    """It answers: there is no such job."""
    async with asyncio.timeout(5):
        await socket.send(json.dumps({"watch": str(uuid4()), "after": ""}))
        while json.loads(await socket.recv()).get("type") != "refused":
            pass


async def row(account_id: UUID) -> bytes:
    async with transaction() as session:
        found = await session.get_one(Totp, account_id)
        return bytes(found.secret)


async def sealed_head(account_id: UUID) -> bytes:
    return (await row(account_id))[:HEAD]


async def opens(account_id: UUID) -> bool:
    return len(totp.SEALED.unseal(account_id, await row(account_id))) == totp.SECRET_BYTES


async def resealed() -> int:
    """How many values the job has brought under the new key."""
    from workers import upkeep  # its Celery application reads the settings that `house` has set

    done = await upkeep.reseal.body(cast("Any", SimpleNamespace()))
    async with transaction() as session:
        left = await under_older_keys(session)
    assert done is not None
    assert left[totp.SEALED.name] == done["left"]
    return int(done["sealed"])


@pytest.mark.parametrize("process", ["web", "worker", "cli"])
async def test_an_empty_secret_stops_the_start_with_its_name(house: House, tmp_path: Path, process: str) -> None:
    commands = {
        "web": programs.web(free_port()),
        "worker": ["celery", "-A", "workers.app", "worker", "-P", "threads", "-c", "2", "-Q", "mail"],
        "cli": ["cli", "jobs", "counts"],
    }
    async with serve(tmp_path) as (vault, told):
        vault.add(Secret.STRIPE_WEBHOOK_SECRET.value, "")
        started = await asyncio.create_subprocess_exec(
            *[*MODULE, *commands[process]],
            cwd=ROOT,
            env=house.environ | told,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await started.communicate()

    assert started.returncode not in (0, None)
    assert "stripe-webhook-secret in the vault is empty" in said.decode()
