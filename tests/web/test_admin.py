"""Admins: what they see of an account's money, what they give and take; and that nobody else gets in."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select, text, update

from core import audit
from core.accounts.models import Role, WebSession
from core.audit import Action
from core.billing import receipts, timeline
from core.billing.models import Dispute, Purchase, Reconciliation, Refund
from core.credits import invariants, ledger
from core.credits.models import CreditEntry
from core.credits.timeline import NOW, Happening
from core.database import transaction
from tests.core.billing.kit import make_event, make_purchase, sign_in
from tests.makers import make_account
from web.pages import admin_context
from web.session import FOR_ADMINS, permissions_of


@dataclass
class Desk:
    """An admin's browser."""

    browser: Client
    headers: dict[str, str]
    email: str
    id: UUID

    async def get(self, path: str) -> Any:
        answer = await self.browser.get(f"/api/admin{path}", headers=self.headers)
        assert answer.status_code == 200, await answer.get_data(as_text=True)
        return await answer.get_json()

    async def adjust(self, account_id: UUID, key: str | None = None, **body: Any) -> tuple[int, Any]:
        headers = self.headers | {"Idempotency-Key": key or uuid4().hex}
        path = f"/api/admin/accounts/{account_id}/adjustments"
        answer = await self.browser.post(path, headers=headers, json={"reason": "For the trouble"} | body)
        return answer.status_code, await answer.get_json(force=True)


@pytest.fixture
async def desk(app: Quart) -> Desk:
    email = f"{uuid4().hex}@clofy.example"
    async with transaction() as session:
        admin = await make_account(session, role=Role.ADMIN, email=email)
    headers = await sign_in(admin)
    async with transaction() as session:
        mine = update(WebSession).where(WebSession.account_id == admin)
        await session.execute(mine.values(factor="totp"))  # as if with an authenticator app: admins need one
    return Desk(app.test_client(use_cookies=False), headers, email, admin)


async def balance(account_id: UUID) -> ledger.Balance:
    async with transaction() as session:
        assert [one for one in await invariants.violations(session) if one.account_id == account_id] == []
        return await ledger.balance(session, account_id=account_id)


async def whole(account_id: UUID, *, limit: int = 100) -> list[Happening]:
    """The time line in pages of so many."""
    found: list[Happening] = []
    place = NOW
    async with transaction() as session:
        while page := await timeline.page(session, place, account_id=account_id, limit=limit):
            found += page
            place = (page[-1].at, page[-1].key)
    return found


def admin_routes(app: Quart) -> list[tuple[str, str]]:
    permissions = permissions_of(app)
    return [
        (method, re.sub(r"<int:\w+>", "1", re.sub(r"<uuid:\w+>", str(uuid4()), rule.rule)))
        for rule in app.url_map.iter_rules()
        if permissions[rule.endpoint] in FOR_ADMINS
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]


async def test_for_users_none_of_it_is_there(app: Quart, account_id: UUID) -> None:
    headers = await sign_in(account_id)
    routes = admin_routes(app)

    browser = app.test_client(use_cookies=False)
    answers = {
        (method, path): (await browser.open(path, method=method, headers=headers, json=None)).status_code
        for method, path in routes
    }

    assert len(routes) >= 6
    assert answers == dict.fromkeys(routes, 404)


async def test_who_knocks_at_an_admins_door_is_written_down_once(
    app: Quart, account_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    headers = await sign_in(account_id)
    for _ in range(3):
        await app.test_client(use_cookies=False).get("/api/admin/accounts", headers=headers)

    told = [one.msg for one in caplog.records if isinstance(one.msg, dict) and one.msg.get("event") == "refused"]
    assert [(one["account"], one["route"], one["code"]) for one in told] == [
        (str(account_id), "/api/admin/accounts", "not-found")
    ]


async def test_who_is_not_signed_in_is_asked_to_be(app: Quart) -> None:
    for method, path in admin_routes(app):
        answer = await app.test_client(use_cookies=False).open(path, method=method, json=None)
        assert answer.status_code == (401 if path.startswith("/api/") else 303), path


async def test_everything_under_admin_is_for_admins_alone(app: Quart) -> None:
    permissions = permissions_of(app)

    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(("/api/admin", "/admin"))]
    assert {permissions[rule.endpoint] for rule in rules} <= FOR_ADMINS


async def test_an_account_is_found_by_a_part_of_its_address(desk: Desk) -> None:
    part = uuid4().hex
    async with transaction() as session:
        account_id = await make_account(session, email=f"Ada.{part}@clofy.example")

    found = (await desk.get(f"/accounts?email=ADA.{part[:20]}"))["accounts"]

    assert [one["id"] for one in found] == [str(account_id)]
    assert (await desk.get("/accounts?email="))["accounts"] == []
    assert (await desk.get(f"/accounts?email=_{part[1:20]}"))["accounts"] == []  # a sign of LIKE is only a sign


async def lived() -> Purchase:
    """A buyer to whom all happened that a time line can show."""
    purchase, checkout = await make_purchase()
    account_id, source = purchase.account_id, f"purchase:{purchase.id}"
    payment = f"pi_{uuid4().hex}"
    async with transaction() as session:
        paid = update(Purchase).where(Purchase.id == purchase.id)
        await session.execute(
            paid.values(state="paid", paid_at=datetime.now(UTC), stripe_payment_intent_id=payment, reversed_minor=100)
        )
        await ledger.grant(session, account_id=account_id, amount_mc=500_000, source=source, kind="purchase")
        await receipts.issue(session, purchase.id)
    async with transaction() as session:
        for cost in (40_000, None):
            hold, _ = await ledger.hold(
                session, account_id=account_id, at_least_mc=1, at_most_mc=50_000, source=f"generation:{uuid4()}"
            )
            await (
                ledger.release(session, hold_id=hold)
                if cost is None
                else ledger.settle(session, hold_id=hold, cost_mc=cost)
            )
    async with transaction() as session:
        session.add(Refund(purchase_id=purchase.id, stripe_refund_id=f"re_{uuid4().hex}", origin="stripe",
                           amount_minor=100, state="succeeded"))  # fmt: skip
        session.add(
            Dispute(
                id=f"du_{uuid4().hex}", purchase_id=purchase.id, amount_minor=400, status="won", reason="fraudulent"
            )
        )
        await ledger.reverse_to(session, source=source, target_mc=100_000, kind="refund")  # type: ignore[arg-type]
        about_the_payment = make_event(payment, "charge.refunded")
        about_the_payment["data"]["object"] = {"object": "charge", "id": "ch_1", "payment_intent": payment}
        for event in (make_event(checkout.id), about_the_payment):
            await session.execute(
                text("insert into stripe_events (id, type, body) values (:id, :type, cast(:body as jsonb))"),
                {"id": event["id"], "type": event["type"], "body": json.dumps(event)},
            )
    return purchase


async def test_all_that_happened_is_on_one_time_line_newest_first(desk: Desk) -> None:
    purchase = await lived()
    await desk.adjust(purchase.account_id, amount_mc=5_000, expires_at="2099-01-01T00:00:00Z")

    line = await whole(purchase.account_id)

    assert sorted(one.what for one in line) == sorted(
        ["purchase", "purchase_paid", "receipt", "lot", "lot", "adjustment", "hold", "hold_settled", "hold"]
        + ["hold_released", "refund", "refund_succeeded", "dispute", "dispute_now", "stripe_event", "stripe_event"]
        + ["entry"] * 4
    )
    assert [one.at for one in line] == sorted((one.at for one in line), reverse=True)
    assert [one.facts["kind"] for one in line if one.what == "entry"] == ["promotion", "refund", "usage", "purchase"]
    (adjustment,) = [one.facts for one in line if one.what == "adjustment"]
    assert (adjustment["made_by"], adjustment["reason"]) == (desk.email, "For the trouble")
    assert next(one for one in line if one.what == "lot").facts["expires_at"].startswith("2099-01-01")


async def test_its_pages_have_all_of_it_once() -> None:
    account_id = (await lived()).account_id

    in_one = await whole(account_id)

    assert len(in_one) >= 15
    for limit in (1, 4):
        assert await whole(account_id, limit=limit) == in_one


async def test_a_time_line_over_the_api_goes_on_where_it_ended(
    desk: Desk, rich_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "PAGE", 2)
    monkeypatch.setattr(timeline.page, "__kwdefaults__", {"limit": 2})
    for _ in range(3):
        await desk.adjust(rich_id, amount_mc=1_000)

    found, after = [], ""
    while True:
        page = await desk.get(f"/accounts/{rich_id}/timeline?after={after}")
        found += page["happenings"]
        if page["next"] is None:
            break
        after = page["next"]

    assert [one["key"] for one in found] == [one.key for one in await whole(rich_id)]
    refused = await desk.browser.get(f"/api/admin/accounts/{rich_id}/timeline?after=x", headers=desk.headers)
    assert refused.status_code == 400


async def test_somebody_elses_things_are_not_on_it(account_id: UUID) -> None:
    await lived()

    assert await whole(account_id) == []


async def test_a_grant_is_made_once_for_each_key(desk: Desk, rich_id: UUID) -> None:
    answers = [await desk.adjust(rich_id, "one", amount_mc=12_500) for _ in range(2)]
    other = await desk.adjust(rich_id, "one", amount_mc=12_501)

    assert [status for status, _ in answers] == [201, 201]
    assert answers[0][1]["id"] == answers[1][1]["id"]
    assert (other[0], other[1]["code"]) == (409, "adjustment-key-reused")
    assert (await balance(rich_id)).balance_mc == 1_012_500


async def test_a_grant_is_noted_once_with_who_made_it(desk: Desk, rich_id: UUID) -> None:
    _, made = await desk.adjust(rich_id, "one", amount_mc=12_500)
    await desk.adjust(rich_id, "one", amount_mc=12_500)

    async with transaction() as session:
        (noted,) = [
            one for one in await audit.history(session, account_id=rich_id) if one.action == Action.CREDITS_ADJUSTED
        ]
    assert (noted.actor_id, noted.object) == (UUID(made["made_by"]), f"adjustment:{made['id']}")
    assert noted.facts == {"amount_mc": 12_500}
    assert noted.request_id


async def test_credits_are_given_by_who_has_proven_of_late_who_they_are(desk: Desk, rich_id: UUID) -> None:
    async with transaction() as session:
        mine = update(WebSession).where(WebSession.account_id == desk.id)
        await session.execute(mine.values(proven_at=datetime.now(UTC) - timedelta(minutes=31)))

    status, problem = await desk.adjust(rich_id, amount_mc=12_500)

    assert (status, problem["code"]) == (403, "sign-in-again")
    assert (await balance(rich_id)).balance_mc == 1_000_000


async def test_what_is_taken_and_not_there_is_owed(desk: Desk, rich_id: UUID) -> None:
    await desk.adjust(rich_id, amount_mc=-1_000_400)

    have = await balance(rich_id)
    assert (have.balance_mc, have.available_mc, have.debt_mc) == (-400, 0, 400)


async def test_what_expires_is_a_promotion(desk: Desk, account_id: UUID) -> None:
    soon = datetime.now(UTC) + timedelta(days=30)

    await desk.adjust(account_id, amount_mc=9_000, expires_at=soon.isoformat())

    async with transaction() as session:
        kinds = await session.scalars(select(CreditEntry.kind).where(CreditEntry.account_id == account_id))
        assert list(kinds) == ["promotion"]
        assert await ledger.next_expiry(session, account_id=account_id) == ledger.Expiry(9_000, soon)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount_mc": 0}, "amount_mc"),
        ({"amount_mc": 100_000_001}, "amount_mc"),
        ({"amount_mc": 1.5}, "amount_mc"),
        ({"amount_mc": "5"}, "amount_mc"),
        ({"amount_mc": 5, "reason": " a "}, "reason"),
        ({"amount_mc": 5, "reason": "a" * 501}, "reason"),
        ({"amount_mc": 5, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"amount_mc": 5, "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"amount_mc": -5, "expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_what_does_not_fit_is_refused_at_its_field(
    desk: Desk, rich_id: UUID, body: dict[str, Any], field: str
) -> None:
    status, problem = await desk.adjust(rich_id, **body)

    assert status == 400
    assert [fault["field"] for fault in problem["errors"]] == [field]
    assert (await balance(rich_id)).balance_mc == 1_000_000


async def test_nobody_there_gets_nothing(desk: Desk) -> None:
    assert (await desk.adjust(uuid4(), amount_mc=5))[0] == 404


async def test_the_books_are_shown(desk: Desk, rich_id: UUID) -> None:
    now = datetime.now(UTC)
    async with transaction() as session:
        finding = {"class": "paid_not_credited", "purchase": str(uuid4())}
        made = Reconciliation(since=now, started_at=now, looked_at=3, healed=1, findings=[finding])
        session.add(made)
        await session.flush()
        made_id = str(made.id)

    reports = {one["id"]: one for one in (await desk.get("/reconciliations"))["reconciliations"]}

    assert reports[made_id]["findings"] == [finding]
    assert str(rich_id) not in str(await desk.get("/violations"))


async def test_a_rule_that_does_not_hold_is_shown_with_its_account(desk: Desk, rich_id: UUID) -> None:
    spoil = text("update credit_accounts set balance_mc = balance_mc + :mc where account_id = :id")
    async with transaction() as session:
        await session.execute(spoil, {"mc": 3, "id": rich_id})
    try:
        found = (await desk.get("/violations"))["violations"]
    finally:
        async with transaction() as session:
            await session.execute(spoil, {"mc": -3, "id": rich_id})

    mine = {one["rule"]: one for one in found if one["account_id"] == str(rich_id)}
    assert mine["the balance is the sum of the entries"]["kept"] == 1_000_003


async def test_its_page_says_all_of_it_in_words(desk: Desk) -> None:
    purchase = await lived()
    await desk.adjust(purchase.account_id, amount_mc=5_000, reason="<b>Sorry</b>")

    answer = await desk.browser.get(f"/admin/accounts/{purchase.account_id}", headers=desk.headers)
    html = await answer.get_data(as_text=True)

    titles = [admin_context.told(one)["title"] for one in await whole(purchase.account_id)]
    assert {f"Adjustment by {desk.email}", "Refund of $1.00: succeeded", "Dispute: won", "Answer paid"} <= set(titles)
    assert [title for title in titles if title not in html] == []
    assert "“&lt;b&gt;Sorry&lt;/b&gt;”" in html
    assert "<b>Sorry" not in html


async def test_the_page_of_the_books_says_whether_they_are_right(desk: Desk, rich_id: UUID) -> None:
    spoil = text("update credit_accounts set balance_mc = balance_mc + :mc where account_id = :id")
    async with transaction() as session:
        await session.execute(spoil, {"mc": 1, "id": rich_id})
    try:
        wrong = await (await desk.browser.get("/admin/books", headers=desk.headers)).get_data(as_text=True)
    finally:
        async with transaction() as session:
            await session.execute(spoil, {"mc": -1, "id": rich_id})
    right = await (await desk.browser.get("/admin/books", headers=desk.headers)).get_data(as_text=True)

    link = f'href="/admin/accounts/{rich_id}"'
    assert link in wrong
    assert "Not so: the balance is the sum of the entries" in wrong
    assert link not in right


async def test_the_menu_leads_only_admins_there(desk: Desk, app: Quart, account_id: UUID) -> None:
    for headers, leads in ((desk.headers, True), (await sign_in(account_id), False)):
        html = await (await desk.browser.get("/", headers=headers)).get_data(as_text=True)
        assert ('href="/admin"' in html) is leads
