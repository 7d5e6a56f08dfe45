"""The page at the stand-in of Stripe on which a person pays, and what a test may do to payments (/control/stripe)."""

import asyncio
from collections.abc import Callable
from html import escape
from typing import Any

import orjson
from quart import Blueprint, Response, redirect, request

from sandbox.pages import page
from sandbox.stripe_account import money
from sandbox.stripe_api import StripeApi
from sandbox.stripe_store import Object, StripeError
from sandbox.telling import tell

METHODS = ("card", "delayed", "declined")


class Desk:
    """What happens on the payer's side, and at banks."""

    def __init__(self, api: StripeApi) -> None:
        self.api = api
        self.timers: set[asyncio.TimerHandle] = set()

    def pay(self, session: Object, method: str, email: str | None) -> Object:
        if method not in METHODS:
            raise StripeError(400, f"The method is one of {', '.join(METHODS)}.", param="method")
        self.api.checkout.pay(session, method=method, email=email)
        amount = money(session["amount_total"], session["currency"])
        tell(f"payment ({method}) of {amount}, session {session['id'][:16]}...")
        wait = self.api.knobs.settle_after_ms
        if method == "delayed" and wait is not None:
            asyncio.get_running_loop().call_later(wait / 1000, self._settle, session["id"])
        return session

    def _settle(self, name: str) -> None:
        session = self.api.store.objects.get(name)
        if session and session["payment_status"] == "unpaid":
            intent = self.api.store.objects[session["payment_intent"]]
            if intent["status"] == "processing":
                self.api.checkout.settle(session, succeeds=True)
                tell(f"delayed payment settled, session {name[:16]}...")

    def act(self, path: list[str], given: dict[str, Any]) -> Object:
        """A call under /control/stripe, as ["sessions", id, "settle"]."""
        store, returns, checkout = self.api.store, self.api.returns, self.api.checkout
        match path:
            case ["sessions", name, action]:
                session = store.find("checkout.session", name)
                actions: dict[str, Callable[[], Object]] = {
                    "pay": lambda: self.pay(session, given.get("method", "card"), given.get("email")),
                    "settle": lambda: checkout.settle(session, succeeds=given.get("succeeds", True)),
                    "expire": lambda: checkout.expire(session),
                }
                if action in actions:
                    return actions[action]()
            case ["refunds"]:
                return returns.refund(given, None, outcome=given.get("status", self.api.knobs.refunds))
            case ["refunds", name, "finish"]:
                return returns.finish_refund(store.find("refund", name), succeeds=given.get("succeeds", True))
            case ["disputes"]:
                return returns.dispute(given)
            case ["disputes", name, "close"]:
                return returns.close_dispute(store.find("dispute", name), given.get("status", "lost"))
            case ["events", name, "resend"]:
                event = store.find("event", name)
                self.api.webhooks.send(event)
                return event
        raise StripeError(404, f"There is no /control/stripe/{'/'.join(path)}.")


def success_url(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def blueprint(api: StripeApi) -> Blueprint:
    """/pay/{session} for people, POST /pay/{session}/complete for tests, POST /control/stripe/... for what banks do."""
    routes = Blueprint("stripe_pay", __name__)
    desk = Desk(api)

    @routes.errorhandler(StripeError)
    async def refused(error: StripeError) -> Response:
        best = request.accept_mimetypes.best_match(["application/json", "text/html"])
        if request.path.startswith("/pay/") and best == "text/html":
            return Response(page("This did not work", f"<p>{escape(str(error))}</p>"), error.status)
        return Response(orjson.dumps(error.body), error.status, content_type="application/json")

    @routes.get("/payments")
    async def payments() -> str:
        rows = [
            f"<tr><td>{_items(session)}<br><small>{escape(session['customer_email'] or '')}</small></td>"
            f"<td>{session['status']}, {session['payment_status']}<br><small>{session['id'][:20]}...</small></td>"
            f"<td class=right>{money(session['amount_total'], session['currency'])}</td></tr>"
            for session in api.store.all("checkout.session")[:100]
        ]
        return page("Payments", f"<table>{''.join(rows)}</table>" if rows else "<p>Nobody has paid yet.</p>")

    @routes.get("/pay/<name>")
    async def show(name: str) -> str:
        session = api.store.find("checkout.session", name)
        if session["status"] != "open":
            return page("Checkout", f"<p>This checkout is {session['status']}.</p>")
        return page("Checkout", _form(session))

    @routes.post("/pay/<name>")
    async def submit(name: str) -> Any:
        session = api.store.find("checkout.session", name)
        form = await request.form
        desk.pay(session, form.get("method", "card"), form.get("email"))
        if session["status"] == "open":
            return page("Checkout", f"<p role=alert>Your card was declined.</p>{_form(session)}")
        return redirect(success_url(session), 303)

    @routes.post("/pay/<name>/complete")
    async def complete(name: str) -> Response:
        given = orjson.loads(await request.get_data() or b"{}")
        session = desk.pay(api.store.find("checkout.session", name), given.get("method", "card"), given.get("email"))
        body = {"session": api.store.public(session), "redirect": success_url(session)}
        return Response(orjson.dumps(body), content_type="application/json")

    @routes.post("/control/stripe/<path:path>")
    async def act(path: str) -> Response:
        given = orjson.loads(await request.get_data() or b"{}")
        done = desk.act(path.split("/"), given)
        return Response(orjson.dumps(api.store.public(done)), content_type="application/json")

    return routes


def _items(session: Object) -> str:
    return ", ".join(f"{item['quantity']} x {escape(item['description'])}" for item in session["_line_items"])


def _form(session: Object) -> str:
    email = escape(session["customer_email"] or "", quote=True)
    cancel = escape(session["cancel_url"] or session["success_url"], quote=True)
    return (
        f"<p>{_items(session)}</p><p class=total>{money(session['amount_total'], session['currency'])}</p>"
        f"<form method=post action='/pay/{session['id']}'>"
        f"<label>E-mail<input name=email type=email value='{email}'></label>"
        "<p><small>A stand-in of Stripe's page: no card is asked for, and no money moves.</small></p><div class=row>"
        "<button class=main name=method value=card>Pay</button>"
        "<button name=method value=delayed>Pay later (delayed method)</button>"
        "<button name=method value=declined>Pay with a card that is declined</button>"
        f"<a class=button href='{cancel}'>Cancel</a></div></form>"
    )
