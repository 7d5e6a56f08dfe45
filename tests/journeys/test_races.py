"""Bars 4, 5 and 6: many at once, and everything twice."""

import asyncio
from collections import Counter

import httpx

from sandbox.stripe_webhooks import sign
from tests.house import Stack
from tests.journeys.person import Person


async def test_of_two_hundred_questions_on_credits_for_three_three_are_taken(stack: Stack, person: Person) -> None:
    consultation = await person.begin()
    first = (await person.ask(consultation, "How much is this?")).json()
    await person.until_ended(first["job"])
    cost = 500_000 - (await person.credits())["balance_mc"]
    stack.leave_credits(person.email, 3 * first["hold_mc"])
    stack.control(openai={"first_token_ms": 1500})
    fresh = await person.begin()

    responses = await asyncio.gather(*[person.ask(fresh, "How much is this?") for _ in range(200)])

    assert Counter(response.status_code for response in responses) == {202: 3, 402: 197}
    refused = next(response.json() for response in responses if response.status_code == 402)
    assert refused["code"] == "not-enough-credits"
    ends = await asyncio.gather(*[person.until_ended(one.json()["job"]) for one in responses if one.status_code == 202])
    assert [end["state"] for end in ends] == ["done"] * 3
    after = await person.credits()
    assert after["held_mc"] == 0
    assert after["balance_mc"] == 3 * first["hold_mc"] - sum(end["result"]["cost_mc"] for end in ends) >= 0
    assert cost > 0


async def test_a_webhook_fifty_times_to_two_processes_credits_once(stack: Stack, person: Person) -> None:
    stack.control(stripe={"webhooks": "off"})
    purchase = await person.buy("plus")
    body = (await person.event_at_stripe("checkout.session.completed", purchase["id"])).encode()
    signature = sign(body, stack.standins.webhook_secret)

    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=60)) as stripe:
        answers = await asyncio.gather(
            *[
                stripe.post(
                    f"http://127.0.0.1:{stack.web_ports[number % 2]}/webhooks/stripe",
                    content=body,
                    headers={"Stripe-Signature": signature, "Host": stack.web_url.removeprefix("http://")},
                )
                for number in range(50)
            ]
        )

    assert {answer.status_code for answer in answers} <= {200, 204}
    await person.until_credits(500_000 + 1_650_000)
    mails = await person.mails(3)
    await stack.quiet()
    assert len(await person.mails(3)) == len(mails) == 3  # the code, and one receipt a purchase
    assert (await person.credits())["balance_mc"] == 2_150_000


async def test_every_message_twice_changes_nothing(stack: Stack, person: Person) -> None:
    """Each job's id is rung three more times while and after it runs."""
    stack.control(openai={"first_token_ms": 100, "gap_ms": 5, "tokens": 40})
    consultation = await person.begin()
    jobs = [await person.asked(consultation, f"Question {number}?") for number in range(10)]
    for _ in range(2):
        stack.ring_all_again()
    await person.buy("starter")
    ends = await asyncio.gather(*[person.until_ended(job) for job in jobs])
    await person.until_credits(1_000_000 - sum(end["result"]["cost_mc"] for end in ends))

    stack.ring_all_again()
    await stack.quiet()

    assert [end["state"] for end in ends] == ["done"] * 10
    lines = (await person.get("/api/credits/entries"))["entries"]
    assert len(lines) == 12
    assert len(await person.mails(3)) == 3
    kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
    assert Counter(message["role"] for message in kept) == {"question": 10, "answer": 10}
    assert stack.unbalanced() == []
