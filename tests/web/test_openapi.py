"""The API is what /openapi.json says, whatever it is sent: by anybody, and by who is signed in."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from core.accounts.models import Role
from core.consultations import conversation
from core.credits import ledger
from core.database import transaction
from core.jobs import cancel
from sandbox.postgres import scratch_directory
from tests.core.billing.kit import make_purchase, sign_in
from tests.core.teams.kit import things_of_teams
from tests.house import MODULE, ROOT, House
from tests.makers import make_account, make_consultation
from tests.web.served import Served

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method"
)
pytestmark = pytest.mark.timeout(900)  # each is a minute's work on a machine that has nothing else to do

OPTIONS = [
    f"--checks={CHECKS}",
    "--phases=coverage,fuzzing",
    "--max-examples=40",
    "--generation-deterministic",
    "--generation-with-security-parameters=false",
    "--continue-on-failure",
    "--warnings=off",
    "--no-color",
]

# Or puts it under a fresh id: all calls after it would be a visitor's.
ENDS_THE_SESSION = (
    "sign_in_end_session",
    "accounts_revoke_session",
    "factors_turn_email_codes_on",
    "factors_turn_email_codes_off",
)
KEEPS_THE_SESSION = [f"--exclude-operation-id={name}" for name in ENDS_THE_SESSION]


@dataclass
class Caller:
    """Who calls, and what of theirs the calls may be about, so that they get behind the first door."""

    headers: dict[str, str]
    theirs: dict[str, str]


@pytest.fixture(scope="module")
def web(house: House) -> Iterator[Served]:
    with scratch_directory() as directory:
        served = Served(house, directory)
        try:
            served.start()
            yield served
        finally:
            served.stop()


@pytest.fixture
def visitor(web: Served) -> Caller:
    opened = web.http.get("/api/session")
    cookie = "; ".join(f"{name}={value}" for name, value in opened.cookies.items())
    return Caller(
        {"X-CSRF-Token": opened.json()["csrf_token"], "Cookie": cookie},
        {
            "email": f"{uuid4()}@people.example",
            "password": "correct horse battery staple",
            "birth_date": "1990-02-28",
            "slug": "general-advisor",
        },
    )


@pytest.fixture
async def owner(web: Served) -> Caller:
    """Has 500 credits, and one of each thing."""
    async with transaction() as session:
        owner = await make_account(session)
        await ledger.grant(session, account_id=owner, amount_mc=500_000, source=f"test:{owner}", kind="grant")
        consultation = await make_consultation(session, owner)
        asked = await conversation.ask(session, account_id=owner, consultation_id=consultation, question="Why?")
        await cancel(session, asked.job, account_id=owner)
    purchase, _ = await make_purchase(buyer=owner)
    of_teams = await things_of_teams(owner)
    signed_in = await sign_in(owner)
    return Caller(
        {name: signed_in[name] for name in ("X-CSRF-Token", "Cookie")},
        {
            "consultation_id": str(consultation),
            "job_id": str(asked.job),
            "purchase_id": str(purchase.id),
            "bundle": "studio",
            "service": "general-advisor",
            "slug": "general-advisor",
            **{name: str(value) for name, value in of_teams.items()},
        },
    )


def fuzz(web: Served, caller: Caller, *options: str) -> None:
    """Send what the description allows, and what it does not, to each call. All that is found is told at once."""
    headers = [f"--header={name}: {value}" for name, value in caller.headers.items()]
    told = subprocess.run(
        [*MODULE, "schemathesis.cli", "run", f"{web.url}/openapi.json", *OPTIONS, *headers, *options],
        cwd=web.process.log.parent,  # where it keeps what it found
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": "tests.web.fuzz_hooks", "FUZZ_THEIRS": json.dumps(caller.theirs)}
        | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr + "\n".join(web.errors())
    assert web.errors() == []


def test_a_visitor_gets_what_is_described(web: Served, visitor: Caller) -> None:
    fuzz(web, visitor)


def test_who_is_signed_in_gets_what_is_described(web: Served, owner: Caller) -> None:
    fuzz(web, owner, *KEEPS_THE_SESSION)

    assert web.http.get("/api/session", headers=owner.headers).json()["state"] == "signed_in"


async def signed_in_as(account_id: UUID, theirs: dict[str, str]) -> Caller:
    headers = await sign_in(account_id)
    return Caller({name: headers[name] for name in ("X-CSRF-Token", "Cookie")}, theirs)


async def test_another_person_gets_what_is_described_and_nothing_of_the_owners(web: Served, owner: Caller) -> None:
    async with transaction() as session:
        account_id = await make_account(session)
    other = await signed_in_as(account_id, owner.theirs)

    fuzz(web, other, *KEEPS_THE_SESSION)

    for thing in ("consultations/{consultation_id}", "jobs/{job_id}", "purchases/{purchase_id}", "teams/{team_id}"):
        path = f"/api/{thing.format(**owner.theirs)}"
        assert web.http.get(path, headers=other.headers).status_code == 404
        assert web.http.get(path, headers=owner.headers).status_code == 200


async def test_an_admin_gets_what_is_described(web: Served, owner: Caller) -> None:
    async with transaction() as session:
        account_id = await make_account(session, role=Role.ADMIN)
    admin = await signed_in_as(account_id, owner.theirs | {"account_id": str(account_id)})

    fuzz(web, admin, *KEEPS_THE_SESSION)

    assert web.http.get("/api/session", headers=admin.headers).json()["account"]["role"] == "admin"


def test_the_description_is_complete_and_valid(web: Served) -> None:
    described = web.http.get("/openapi.json").json()

    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert len(operations) >= 24
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(any(status.startswith("2") for status in operation["responses"]) for operation in operations)
