"""The life of somebody whose data we keep, from registering to the proof of erasure, in Chromium where people would be.

They buy, ask, are in a team, write a comment, and owe after a dispute that they lost; they ask for their data by two
ways, somebody pretends to be them, they close the account, keep it, and close it for good.
"""

import io
import re
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.house import Stack
from tests.journeys.chromium import PATIENCE, Window, launch
from tests.journeys.person import Person, admin_of
from tests.journeys.test_blog import publish_without_the_gate

EVE = "eve@elsewhere.example"


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


async def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def mails_to(stack: Stack, address: str, subject: str = "", *, wait: int = 30) -> list[dict[str, Any]]:
    asked = {"to": address, "subject": subject, "wait": str(wait)}
    async with httpx.AsyncClient(timeout=wait + 10) as http:
        found: list[dict[str, Any]] = (await http.get(f"{stack.standins.url}/mail", params=asked)).json()
    return found


async def lose_a_dispute(stack: Stack, person: Person) -> None:
    """Their bank takes the money of the purchase back, after some of its credits were used."""
    [bought] = stack.sql(
        """
        select stripe_payment_intent_id as intent from purchases join accounts on accounts.id = account_id
        where email = :email
        """,
        email=person.email,
    )
    key = {"Authorization": f"Bearer {stack.standins.stripe_key}"}
    async with httpx.AsyncClient(base_url=stack.standins.stripe_url, headers=key) as bank:
        path = "/control/stripe/disputes"
        opened = await done(await bank.post(path, json={"payment_intent": bought["intent"]}))
        await done(await bank.post(f"{path}/{opened['id']}/close", json={"status": "lost"}))
    await stack.quiet()


async def enter_mail(admin: Person, sender: str, kind: str, **facts: str) -> None:
    """As an admin reads it in the mailbox of support."""
    entry = {"sender": sender, "kind": kind, "received_on": "2026-01-02"} | facts
    await done(await admin.call("POST", "/api/admin/requests", json=entry))


OVER = (  # the seven days of grace
    """
    update erasures set asked_at = asked_at - interval '7 days', due_at = due_at - interval '7 days'
    where ended_at is null and account_id = (select id from accounts where email = :email)
    """,
    """
    update jobs set available_at = now(), ring_at = now() where state = 'queued' and payload->>'erasure_id' in
        (select erasures.id::text from erasures join accounts on accounts.id = account_id
         where email = :email)
    """,
)


@pytest.mark.usefixtures("storage")
@pytest.mark.timeout(240)
async def test_the_life_of_a_data_subject(stack: Stack, chromium: Browser, person: Person) -> None:
    word = "quincunx" + uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
    others_word = "otherling" + uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
    slug = publish_without_the_gate(stack, "A post to speak about.")
    async with (
        admin_of(stack) as admin,
        Person.at(stack) as friend,
        Window.at(stack, chromium, person=person) as window,
    ):
        await friend.register()
        await friend.buy("starter")
        await friend.until_credits(500_000)
        await friend.until_ended(await friend.asked(await friend.begin(), f"What is an {others_word}?"))

        # They use the service, are in a team, and say something below a post.
        await person.until_ended(await person.asked(await person.begin(), f"What is a {word}?"))
        team = await done(await person.call("POST", "/api/teams", json={"name": "Gardeners"}))
        await done(await person.call("POST", f"/api/teams/{team['id']}/invitations", json={"email": friend.email}))
        [invitation] = (await friend.get("/api/invitations"))["invitations"]
        accepted = await friend.call("POST", f"/api/invitations/{invitation['id']}/accept", json={"sees": "usage"})
        await done(accepted)
        remark = await person.call("POST", f"/api/posts/{slug}/comments", json={"text": f"Well said: {word}."})
        await done(remark)

        # They lose a dispute over what they have partly used, and owe it.
        await lose_a_dispute(stack, person)
        owed = (await person.credits())["debt_mc"]
        assert owed > 0

        # Somebody pretends to be them: they say no, and the other gets the one mail that everybody gets.
        await enter_mail(admin, EVE, "erasure", about=person.email)
        await mails_to(stack, person.email, "Is this request yours?")
        await window.goto("/account/data")
        await window.page.click("text=It was not me")
        await expect(window.see("main")).to_contain_text("account refused", timeout=PATIENCE)
        [told] = await mails_to(stack, EVE)
        assert "cannot say here whether there is one" in told["text"]
        assert person.email not in told["text"]

        # They ask for their data by mail and on the page: one request, from two sources, with the clock of the mail.
        await enter_mail(admin, person.email, "access")
        await window.goto("/account/data")
        await window.page.click("text=Make a copy")
        await expect(window.see(".copy")).to_contain_text(re.compile("being made|is ready"), timeout=PATIENCE)
        await mails_to(stack, person.email, "The copy of your data is ready")
        await expect(window.see(".copy")).to_contain_text("is ready", timeout=PATIENCE)  # the page says so by itself
        access = [one for one in (await person.get("/api/privacy/requests"))["requests"] if one["kind"] == "access"]
        assert [(one["state"], one["sources"]) for one in access] == [("answered", ["account", "mail"])]
        assert access[0]["answer_by"] == "2026-02-02"
        async with window.page.expect_download() as downloading:
            await window.page.click("text=Download")
        with zipfile.ZipFile(io.BytesIO((await (await downloading.value).path()).read_bytes())) as copy:
            words = b"\n".join(copy.read(name) for name in copy.namelist()).decode(errors="replace")
        assert words.count(word) >= 2  # the question, and the comment
        assert person.email in words
        assert others_word not in words

        # They close the account, think better of it, and close it again.
        for once_more in (False, True):
            await window.goto("/account/close")
            await window.page.click("text=Erase my account in 7 days")
            await window.page.wait_for_url("**/closing")
            await person.sign_in()
            if not once_more:
                assert (await person.ask(await first_consultation(person))).json()["code"] == "account-closes"
                await sign_in_again(stack, window, person)
                await window.goto("/account")
                await window.page.click("text=Keep my account")
                await expect(window.see("main")).to_contain_text("Close my account", timeout=PATIENCE)
                await expect(window.see(".closing")).to_have_count(0, timeout=PATIENCE)
                assert (await person.get("/api/account/erasure"))["state"] == "none"
        erasures = [one for one in (await person.get("/api/privacy/requests"))["requests"] if one["kind"] == "erasure"]
        assert [one["state"] for one in erasures] == ["working", "withdrawn", "refused"]

        for moved in OVER:
            stack.sql(moved, email=person.email)
        [last] = await mails_to(stack, person.email, "Your account is erased", wait=60)
        await stack.quiet()

        # The proof is for them; nothing says who they were, and the books still hold.
        proof = re.search(r"https?://\S+/erasure/\S+", last["text"])
        assert proof is not None
        await window.page.goto(proof[0])
        await expect(window.see("h1")).to_have_text("This account is erased")
        assert await window.accessibility_faults() == []
        assert (await person.call("GET", "/api/account")).status_code == 401
        assert stack.sql("select id from accounts where email = :email", email=person.email) == []
        assert kept_words(stack, word) == set()
        assert kept_words(stack, person.email) <= {"mail_deliveries"}  # the last mail, for its thirty days
        assert stack.unbalanced() == []
        [books] = stack.sql(
            """
            select owed_mc, (select count(*) from disputes join purchases on purchases.id = purchase_id
                             where purchases.account_id = kept.account_id) as disputes
            from credit_accounts kept join accounts on accounts.id = account_id
            where erased_at is not null order by erased_at desc limit 1
            """
        )
        assert books["disputes"] == 1
        mine = await friend.get("/api/teams")
        assert [(one["name"], one["role"], one["members"]) for one in mine["teams"]] == [("Gardeners", "owner", 1)]
    stack.sql("delete from posts where id in (select post_id from post_slugs where slug = :slug)", slug=slug)


async def first_consultation(person: Person) -> str:
    return str((await person.get("/api/consultations"))["consultations"][0]["id"])


async def sign_in_again(stack: Stack, window: Window, person: Person) -> None:
    """Their window has the session that they have just begun."""
    cookies: list[Any] = [
        {"name": one.name, "value": one.value or "", "url": stack.web_url} for one in person.http.cookies.jar
    ]
    await window.page.context.add_cookies(cookies)


def kept_words(stack: Stack, word: str) -> set[str]:
    """The tables in which it still is."""
    names = [
        row["name"]
        for row in stack.sql(
            "select relname as name from pg_class where relkind in ('r', 'p')"
            " and relnamespace = 'public'::regnamespace and not relispartition"
        )
    ]
    query = "select count(*) from {name} as kept where kept::text ilike '%' || :word || '%'"
    return {name for name in names if stack.sql(query.format(name=name), word=word)[0]["count"]}
