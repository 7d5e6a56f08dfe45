"""Behind `make tour`: the whole journey of a person over HTTP, each step with its time, to the first that fails."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sandbox.processes import Child, free_port
from sandbox.reach import scratch_directory
from sandbox.standins import ROOT
from sandbox.visitor import PATIENCE, Answer, TourEnded, Visitor, expect, in_credits, step

QUESTION = "I have two job offers: one pays more, the other teaches more. How do I choose?"
LONG_QUESTION = "Please say more about the one that teaches more, and take your time."
PIECES_BEFORE_STOP = 15


def receipt(answer: Answer) -> str:
    tokens = f"{answer.result['prompt_tokens']} tokens read, {answer.result['completion_tokens']} written"
    return f"{in_credits(answer.result['cost_mc'])} for {tokens}"


async def walk(visitor: Visitor) -> None:
    """The journey. Raises TourEnded at the first step that does not hold."""
    await join(visitor)
    bought_mc = await buy(visitor)
    costs_mc = await consult(visitor, bought_mc)
    with step("statement") as facts:
        lines = (await visitor.call("GET", "/api/credits/entries", 200))["entries"]
        changes = [line["amount_mc"] for line in lines]
        expect(changes == [-cost for cost in costs_mc[::-1]] + [bought_mc], f"its lines are {changes}")
        have = await visitor.credits(balance_mc=sum(changes))
        expect(lines[0]["balance_after_mc"] == sum(changes), f"its last balance is {lines[0]['balance_after_mc']}")
        expect(have["held_mc"] == have["debt_mc"] == 0, f"something is still held or owed: {have}")
        expect(have["available_mc"] == have["balance_mc"], f"not all of it can be spent: {have}")
        facts += [f"{len(lines)} lines", f"{in_credits(bought_mc)} bought", f"{in_credits(sum(costs_mc))} spent"]
        facts += [f"{in_credits(have['balance_mc'])} left", "nothing held"]
    with step("sign out"):
        await visitor.call("DELETE", "/api/session", 204)
        await visitor.call("GET", "/api/credits", 401)


async def join(visitor: Visitor) -> None:
    with step("home page"):
        page = (await visitor.http.get(visitor.app)).raise_for_status()
        expect("</html>" in page.text, "it is not a page")
    with step("register") as facts:
        await visitor.take_csrf()
        person = {"name": "A Visitor", "birth_date": "1990-05-17"}
        secret = {"email": visitor.email, "password": visitor.password}
        await visitor.call("POST", "/api/accounts", 202, json=person | secret)
        facts.append(visitor.email)
    with step("code from the inbox"):
        found = re.search(r"\b(\d{6})\b", (await visitor.mail(count=1))["text"])
        expect(found, "the mail has no code")
        assert found is not None
    with step("verify"):
        await visitor.call("POST", "/api/accounts/verify", 204, json={"email": visitor.email, "code": found[1]})
    with step("sign in") as facts:
        await visitor.take_csrf()
        facts.append((await visitor.call("POST", "/api/session", 200, json=secret))["state"])
        expect(facts == ["signed_in"], f"the state is {facts[0]}")
        await visitor.take_csrf()


async def buy(visitor: Visitor) -> int:
    """Returns the millicredits that were bought."""
    with step("buy credits") as facts:
        bundle = (await visitor.call("GET", "/api/bundles", 200))["bundles"][0]
        purchase = await visitor.call("POST", "/api/purchases", 201, json={"bundle": bundle["slug"]})
        facts += [bundle["name"], in_credits(bundle["credits_mc"]), bundle["amount"]]
    with step("pay at Stripe's stand-in"):
        paid = await visitor.http.post(purchase["checkout_url"], data={"method": "card"})
        back = paid.headers.get("location", "")
        expect(paid.status_code == 303, f"it answered {paid.status_code}")
        expect(back.startswith(f"{visitor.app}/"), f"it leads to {back or 'nowhere'}")
        (await visitor.http.get(back)).raise_for_status()
    with step("credits shown") as facts:
        have = await visitor.credits(balance_mc=bundle["credits_mc"])
        state = (await visitor.call("GET", f"/api/purchases/{purchase['id']}", 200))["state"]
        expect(state == "paid", f"the purchase is {state}")
        facts.append(f"{in_credits(have['available_mc'])} to spend")
    with step("receipt by mail") as facts:
        facts.append((await visitor.mail(count=2))["subject"])
    return int(bundle["credits_mc"])


async def consult(visitor: Visitor, balance_mc: int) -> list[int]:
    """Returns what each answer cost, in millicredits."""
    with step("begin a consultation") as facts:
        service = (await visitor.call("GET", "/api/services", 200))["services"][0]
        begun = await visitor.call("POST", "/api/consultations", 201, json={"service": service["slug"]})
        consultation = begun["id"]
        facts.append(service["name"])

    with step("ask") as facts:
        asked_at = time.perf_counter()
        job, hold_mc = await visitor.ask(consultation, QUESTION)
        facts += [f"{in_credits(hold_mc)} held", QUESTION]
    with step("answer over /live") as facts:
        whole = await visitor.watch(job, asked_at=asked_at)
        expect(whole.end == "done", f"it ended as {whole.end}")
        expect(whole.text, f"no words came, for: {whole.result.get('end_reason')}")
        facts += [f"first words {whole.first_token_ms:.0f} ms after the question", f"{len(whole.text)} characters"]
    with step("its receipt") as facts:
        await check_answer(visitor, consultation, whole, hold_mc)
        await visitor.credits(balance_mc=balance_mc - whole.result["cost_mc"])
        facts.append(receipt(whole))

    with step("ask for more") as facts:
        asked_at = time.perf_counter()
        job, hold_mc = await visitor.ask(consultation, LONG_QUESTION)
        facts += [f"{in_credits(hold_mc)} held", LONG_QUESTION]
    with step("stop it in mid-answer") as facts:
        part = await visitor.watch(job, asked_at=asked_at, stop_after=PIECES_BEFORE_STOP)
        expect(part.end == "cancelled", f"it ended as {part.end}")
        facts.append(f"{len(part.text)} characters were written, and are kept")
    with step("its receipt") as facts:
        await check_answer(visitor, consultation, part, hold_mc)
        facts.append(receipt(part))
    return [whole.result["cost_mc"], part.result["cost_mc"]]


async def check_answer(visitor: Visitor, consultation: str, answer: Answer, hold_mc: int) -> None:
    """The answer that is kept is the one that streamed, and it cost something, at most what was held."""
    *_, question, kept = (await visitor.call("GET", f"/api/consultations/{consultation}", 200))["messages"]
    expect(kept["role"] == "answer", "no answer is kept")
    expect(kept["text"] == answer.text, "the answer that is kept is not the one that streamed")
    expect(question["generation"]["cost_mc"] == answer.result["cost_mc"], "the page and the event name two prices")
    expect(0 < answer.result["cost_mc"] <= hold_mc, f"it cost {answer.result['cost_mc']} mc with {hold_mc} mc held")


@contextmanager
def fresh_sandbox() -> Iterator[Path]:
    """A sandbox of our own, which is stopped at the end; gives its state.json. What was set from outside is not its."""
    with scratch_directory("clofy-tour-") as directory:
        here = directory / "sandbox"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CLOFY_")}
        environ |= {"CLOFY_SANDBOX_DIR": str(here), "CLOFY_PORT": str(free_port())}
        command = [sys.executable, "-m", "sandbox", "up"]
        supervisor = Child("the sandbox", command, log=directory / "up.log", environ=environ, directory=ROOT)
        try:
            with step("start a sandbox"):
                supervisor.start()
                supervisor.wait_until((here / "state.json").exists, seconds=120)
            yield here / "state.json"
        except BaseException:
            supervisor.stop(seconds=15)
            raise
        with step("stop the sandbox"):
            supervisor.stop(seconds=10)
            expect(supervisor.how_it_ended() == "exit code 0", f"It ended with {supervisor.how_it_ended()}")


def state_in(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_bytes()))
    except FileNotFoundError:
        raise TourEnded(f"There is no {file}: no sandbox runs there.") from None


async def tour(state: dict[str, Any]) -> None:
    """Walk through the running sandbox that says this of itself."""
    async with httpx.AsyncClient(timeout=PATIENCE + 10, trust_env=False) as http:
        await walk(Visitor(http, state["app_url"], state["sandbox_url"]))


def run(state_file: Path | None) -> int:
    """Through a running sandbox, or else through a fresh one. Raises TourEnded if a step did not hold."""
    began = time.perf_counter()
    if state_file is not None:
        asyncio.run(tour(state_in(state_file)))
    else:
        with fresh_sandbox() as fresh:
            asyncio.run(tour(state_in(fresh)))
    print(f"\nEvery step held, in {time.perf_counter() - began:.1f} s.")
    return 0
