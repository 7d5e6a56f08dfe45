"""Teams as API and pages: who sees what of whom, that each look is told, and that credits stay everybody's own."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Quart
from sqlalchemy import func, select, update

from core.accounts.models import Account
from core.consultations import conversation, usage
from core.consultations.models import Consultation, Generation
from core.credits import ledger
from core.database import transaction
from core.teams.models import Look
from tests.core.billing.kit import sign_in
from tests.core.teams.kit import email_of, make_people, make_team
from tests.makers import make_consultation
from web import teams
from web.team_views import span_of

SECRET = "the words of a question that is nobody's business"


class Person:
    """Somebody with a browser that is signed in."""

    def __init__(self, app: Quart, account_id: UUID, headers: dict[str, str]) -> None:
        self.client, self.id, self.headers = app.test_client(use_cookies=False), account_id, headers

    @classmethod
    async def made(cls, app: Quart) -> "Person":
        (account_id,) = await make_people(1)
        return cls(app, account_id, await sign_in(account_id))

    async def call(self, method: str, path: str, json: Any = None) -> tuple[int, Any]:
        answer = await self.client.open(path, method=method, headers=self.headers, json=json)
        is_json = answer.mimetype is not None and answer.mimetype.endswith("json")
        return answer.status_code, await (answer.get_json(force=True) if is_json else answer.get_data(as_text=True))

    async def get(self, path: str) -> Any:
        status, told = await self.call("GET", path)
        assert status == 200, told
        return told

    async def do(self, method: str, path: str, json: Any = None) -> int:
        return (await self.call(method, path, json))[0]

    async def accept(self, sees: str) -> UUID:
        (one,) = (await self.get("/api/invitations"))["invitations"]
        status, told = await self.call("POST", f"/api/invitations/{one['id']}/accept", {"sees": sees})
        assert status == 200, told
        return UUID(told["id"])


async def ask(account_id: UUID, question: str = SECRET, *, begun: timedelta = timedelta()) -> UUID:
    """A question in a consultation of its own, begun that long ago; the consultation."""
    async with transaction() as session:
        source = f"test:{uuid4()}"
        await ledger.grant(session, account_id=account_id, amount_mc=500_000, source=source, kind="grant")
        consultation = await make_consultation(session, account_id)
        await conversation.ask(session, account_id=account_id, consultation_id=consultation, question=question)
        at = datetime.now(UTC) - begun
        await session.execute(update(Consultation).where(Consultation.id == consultation).values(created_at=at))
        mine = update(Generation).where(Generation.consultation_id == consultation)
        await session.execute(mine.values(created_at=at, cost_mc=1_250, state="done", ended_at=at))
    return consultation


@pytest.fixture
async def owner(app: Quart) -> Person:
    return await Person.made(app)


@pytest.fixture
async def member(app: Quart) -> Person:
    return await Person.made(app)


async def founded(owner: Person, member: Person, sees: str = "content") -> str:
    """A team with one member, both by the API."""
    status, told = await owner.call("POST", "/api/teams", {"name": "Support"})
    assert status == 201, told
    path = f"/api/teams/{told['id']}"
    assert await owner.do("POST", f"{path}/invitations", {"email": await email_of(member.id)}) == 204
    assert await member.accept(sees) == UUID(told["id"])
    return path


async def looks_at(account_id: UUID) -> int:
    async with transaction() as session:
        return await session.scalar(select(func.count()).where(Look.account_id == account_id)) or 0


async def test_a_team_is_made_joined_and_seen_by_those_who_are_in_it(owner: Person, member: Person, app: Quart) -> None:
    path = await founded(owner, member)
    stranger = await Person.made(app)

    seen, by_member = await owner.get(path), await member.get(path)

    assert [(one["role"], one["sees"], one["you"]) for one in seen["people"]] == [
        ("owner", "usage", True),
        ("member", "content", False),
    ]
    assert {one["email"] for one in seen["people"]} == {await email_of(owner.id), await email_of(member.id)}
    assert [one["email"] for one in by_member["people"]] == [None, await email_of(member.id)]
    assert by_member["invitations"] == []
    assert [one["id"] for one in (await member.get("/api/teams"))["teams"]] == [seen["id"]]
    assert await stranger.do("GET", path) == 404


async def test_the_answer_to_an_invitation_is_the_same_for_whoever_has_an_account(
    owner: Person, member: Person
) -> None:
    _, made = await owner.call("POST", "/api/teams", {"name": "Support"})
    path = f"/api/teams/{made['id']}/invitations"

    known = await owner.call("POST", path, {"email": await email_of(member.id)})
    unknown = await owner.call("POST", path, {"email": f"{uuid4()}@people.example"})

    assert known == unknown == (204, "")
    sent = (await owner.get(f"/api/teams/{made['id']}"))["invitations"]
    assert [set(one) for one in sent] == [{"id", "email", "created_at", "expires_at"}] * 2
    assert await owner.do("DELETE", f"{path}/{sent[0]['id']}") == 204
    assert (await member.get("/api/invitations"))["invitations"] == []


async def test_who_declines_is_in_no_team(owner: Person, member: Person) -> None:
    _, made = await owner.call("POST", "/api/teams", {"name": "Support"})
    await owner.do("POST", f"/api/teams/{made['id']}/invitations", {"email": await email_of(member.id)})
    (one,) = (await member.get("/api/invitations"))["invitations"]

    assert await owner.do("POST", f"/api/invitations/{one['id']}/decline") == 404
    assert await member.do("POST", f"/api/invitations/{one['id']}/decline") == 204

    assert (await member.get("/api/teams"))["teams"] == []


async def test_owners_see_what_was_used_after_joining_and_members_that_they_looked(
    owner: Person, member: Person
) -> None:
    await ask(member.id, begun=timedelta(minutes=1))
    path = await founded(owner, member, "usage")
    await ask(member.id)
    await ask(member.id)

    used = await owner.get(f"{path}/usage")

    of_member = next(one for one in used["members"] if one["account_id"] == str(member.id))
    assert (of_member["questions"], of_member["used_mc"]) == (2, 2_500)
    assert [(one["questions"], one["used_mc"]) for one in used["days"]] == [(2, 2_500)]
    assert used["months"] == [{"month": used["month"], "questions": 2, "used_mc": 2_500}]
    assert SECRET not in str(used)
    assert (await owner.get(f"{path}/usage?month=2001-02"))["days"] == []
    looks = (await member.get("/api/team-looks"))["looks"]
    assert [(one["what"], one["by"], one["team"]) for one in looks] == [("usage", "Pat Person", "Support")] * 2
    assert (await owner.get("/api/team-looks"))["looks"] == []
    assert await member.do("GET", f"{path}/usage") == 404


async def test_owners_see_words_from_after_the_yes_only_and_each_look_is_told(owner: Person, member: Person) -> None:
    before = await ask(member.id, "from before joining", begun=timedelta(minutes=1))
    path = await founded(owner, member)
    shown = await ask(member.id)
    theirs = f"{path}/members/{member.id}/consultations"

    listed = await owner.get(theirs)
    words = await owner.get(f"{theirs}/{shown}")

    assert [one["id"] for one in listed["consultations"]] == [str(shown)]
    assert words["messages"][0]["text"] == SECRET
    assert await owner.do("GET", f"{theirs}/{before}") == 404
    looks = (await member.get("/api/team-looks"))["looks"]
    assert [(one["what"], one["consultation_id"]) for one in looks] == [("consultation", str(shown)), ("list", None)]


async def test_what_is_asked_while_words_are_not_shown_stays_private_for_good(owner: Person, member: Person) -> None:
    path = await founded(owner, member)
    theirs = f"{path}/members/{member.id}/consultations"
    assert await member.do("PUT", f"{path}/sharing", {"sees": "usage"}) == 204
    private = await ask(member.id)
    refused, told = await owner.call("GET", f"{theirs}/{private}")
    assert (refused, told["code"]) == (403, "not-shown")

    assert await member.do("PUT", f"{path}/sharing", {"sees": "content"}) == 204
    shown = await ask(member.id, "shown again")

    assert [one["id"] for one in (await owner.get(theirs))["consultations"]] == [str(shown)]
    assert await owner.do("GET", f"{theirs}/{private}") == 404


async def test_nothing_is_seen_of_who_has_left_is_shut_or_restricted(owner: Person, member: Person) -> None:
    path = await founded(owner, member)
    shown = await ask(member.id)
    theirs = f"{path}/members/{member.id}/consultations"
    for state in ("restricted_at", "disabled_at"):
        async with transaction() as session:
            mine = update(Account).where(Account.id == member.id)
            await session.execute(mine.values({state: func.now()}))
        assert await owner.do("GET", f"{theirs}/{shown}") == 403
        if state == "restricted_at":
            assert str(member.id) not in str(await owner.get(f"{path}/usage"))
        async with transaction() as session:
            await session.execute(mine.values({state: None}))

    member.headers = await sign_in(member.id)
    assert await member.do("DELETE", f"{path}/members/{member.id}") == 204

    assert await owner.do("GET", f"{theirs}/{shown}") == 404
    assert str(member.id) not in str(await owner.get(f"{path}/usage"))
    assert await looks_at(member.id) == 0


async def test_who_is_about_to_be_erased_shows_no_words_and_may_still_hand_over_and_leave(
    owner: Person, member: Person, app: Quart
) -> None:
    path = await founded(owner, member)
    third = await Person.made(app)
    await owner.do("POST", f"{path}/invitations", {"email": await email_of(third.id)})
    await third.accept("usage")
    async with transaction() as session:
        closing = update(Account).where(Account.id.in_([owner.id, member.id]))
        await session.execute(closing.values(closing_at=datetime.now(UTC) + timedelta(days=7)))

    assert await owner.do("GET", f"{path}/members/{member.id}/consultations") == 403
    assert await member.do("PUT", f"{path}/sharing", {"sees": "usage"}) == 204
    assert await member.do("DELETE", f"{path}/members/{member.id}") == 204
    assert await owner.do("POST", f"{path}/members/{third.id}/transfer") == 204
    assert [one["role"] for one in (await third.get(path))["people"]] == ["owner", "member"]


async def test_ones_own_consultations_and_those_of_others_are_not_reached_through_a_member(
    owner: Person, member: Person, app: Quart
) -> None:
    path = await founded(owner, member)
    stranger = await Person.made(app)
    of_stranger, of_owner = await ask(stranger.id), await ask(owner.id)

    for theirs in (of_stranger, of_owner):
        assert await owner.do("GET", f"{path}/members/{member.id}/consultations/{theirs}") == 404
    assert await owner.do("GET", f"{path}/members/{stranger.id}/consultations") == 404
    assert await owner.do("GET", f"{path}/members/{owner.id}/consultations") == 404
    assert await member.do("GET", f"{path}/members/{owner.id}/consultations") == 404
    assert await looks_at(member.id) == 0


async def test_roles_are_given_taken_and_the_last_owner_stays(owner: Person, member: Person) -> None:
    path = await founded(owner, member)
    me, them = f"{path}/members/{owner.id}", f"{path}/members/{member.id}"

    assert await member.do("PATCH", them, {"role": "owner"}) == 404
    assert await owner.do("DELETE", me) == 409
    assert await owner.do("PATCH", them, {"role": "owner"}) == 204
    assert await owner.do("PATCH", them, {"role": "member"}) == 204
    assert await owner.do("POST", f"{them}/transfer") == 204
    assert await owner.do("PATCH", path, {"name": "Mine again"}) == 404
    assert await member.do("PATCH", path, {"name": "Theirs"}) == 204
    assert (await owner.get(path))["name"] == "Theirs"
    assert await member.do("DELETE", path) == 204
    assert await owner.do("GET", path) == 404


async def test_looks_are_paged(owner: Person, member: Person) -> None:
    path = await founded(owner, member)
    async with transaction() as session:
        facts = {"viewer_id": owner.id, "team_id": uuid4(), "team_name": "Support", "what": "usage"}
        session.add_all([Look(account_id=member.id, at=datetime.now(UTC), **facts) for _ in range(51)])

    first = await member.get("/api/team-looks")
    rest = await member.get(f"/api/team-looks?before={first['next']}")

    assert (len(first["looks"]), len(rest["looks"]), rest["next"]) == (50, 1, None)
    assert await member.do("GET", "/api/team-looks?before=x") == 400
    assert await owner.do("GET", f"{path}/usage?month=2026-13") == 400


async def test_credits_stay_everybodys_own(owner: Person, member: Person) -> None:
    path = await founded(owner, member)
    await ask(member.id)
    before = await owner.get("/api/credits")

    told = str([await owner.get(path), await owner.get(f"{path}/usage")])

    assert await owner.get("/api/credits") == before
    assert not any(word in told for word in ("balance", "available", "purchase"))


async def test_without_teams_none_of_it_is_there(
    owner: Person, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await founded(owner, member)
    assert "/account/teams" in await owner.get("/account")
    monkeypatch.setattr(teams, "are_on", lambda: False)

    for where in ("/api/teams", path, f"{path}/usage", "/api/team-looks", "/api/invitations", "/account/teams"):
        assert await owner.do("GET", where) == 404


async def test_the_pages_show_it_and_say_that_it_is_told(owner: Person, member: Person, app: Quart) -> None:
    path = await founded(owner, member)
    shown = await ask(member.id, "<script>alert(1)</script>")
    page = path.replace("/api/", "/account/")
    guest = await Person.made(app)
    await owner.do("POST", f"{path}/invitations", {"email": await email_of(guest.id)})
    (invitation,) = (await guest.get("/api/invitations"))["invitations"]

    asked = await guest.get(f"/account/teams/invitations/{invitation['id']}")
    assert "Only if you choose it" in asked
    assert "Credits stay everybody’s own" in asked
    assert "Support" in await guest.get("/account/teams")
    assert await owner.do("GET", f"/account/teams/invitations/{invitation['id']}") == 404
    assert await email_of(guest.id) in await owner.get(page)
    assert await email_of(owner.id) not in await member.get(page)
    for where in ("usage", f"members/{member.id}", f"members/{member.id}/{shown}"):
        seen = await owner.get(f"{page}/{where}")
        assert "This look was written down" in seen
        assert "<script>alert(1)" not in seen
        assert await guest.do("GET", f"{page}/{where}") == 404
    assert "&lt;script&gt;alert(1)" in seen
    told = await member.get("/account/teams/looks")
    assert "the words of a consultation" in told
    assert f"/consultations/{shown}" in told


@pytest.mark.parametrize(
    ("month", "first", "end"),
    [("2026-12", date(2026, 12, 1), date(2027, 1, 1)), ("2028-02", date(2028, 2, 1), date(2028, 3, 1))],
)
def test_a_month_ends_where_the_next_begins(month: str, first: date, end: date) -> None:
    assert span_of(month, today=date(2026, 1, 31)) == (first, end)
    assert span_of("", today=first + timedelta(days=20)) == (first, end)


async def test_days_are_those_of_utc_and_each_account_counts_from_its_own_moment(house: object) -> None:
    one, two = await make_people(2)
    await make_team(one)
    midnight = datetime(2028, 3, 1, tzinfo=UTC)
    for account_id in (one, two):
        for at in (midnight - timedelta(seconds=1), midnight):
            await ask(account_id, begun=datetime.now(UTC) - at)

    async with transaction() as session:
        since = {one: midnight - timedelta(days=1), two: midnight - timedelta(milliseconds=500)}
        days = await usage.by_day(session, since, first=date(2028, 2, 1), end=date(2028, 4, 1))
        of_leap_day = await usage.by_day(session, since, first=date(2028, 2, 29), end=date(2028, 3, 1))

    assert {(day.account_id, day.day, day.questions) for day in days} == {
        (one, date(2028, 2, 29), 1),
        (one, date(2028, 3, 1), 1),
        (two, date(2028, 3, 1), 1),
    }
    assert [(day.account_id, day.day) for day in of_leap_day] == [(one, date(2028, 2, 29))]
