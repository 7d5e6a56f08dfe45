"""Money that goes back at the stand-in of Stripe: refunds and disputes."""

from sandbox.stripe_account import Account, step
from sandbox.stripe_store import Object, StripeError, new_id, now


class Returns:
    def __init__(self, account: Account) -> None:
        self.account, self.store = account, account.store

    def refund(self, given: Object, key: str | None, *, outcome: str = "succeeded") -> Object:
        """outcome: succeeded; pending, until `finish_refund`."""
        charge = self._charge(given)
        left = charge["amount"] - charge["amount_refunded"]
        amount = int(given.get("amount", left))
        if left == 0:
            said = f"Charge {charge['id']} has already been refunded."
            raise StripeError(400, said, code="charge_already_refunded")
        if charge["disputed"] and self.store.all("dispute", charge=charge["id"], status="lost"):
            raise StripeError(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
        if amount > left:
            said = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
            raise StripeError(400, said, param="amount")
        if amount % step(charge["currency"]):
            raise StripeError(400, f"Invalid amount for {charge['currency']}.", param="amount")
        if amount < 1:
            raise StripeError(400, "Invalid positive integer", code="parameter_invalid_integer", param="amount")
        refund = {
            "id": new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": now(),
            "currency": charge["currency"],
            "description": None,
            "destination_details": {"type": "card"},
            "failure_reason": None,
            "metadata": given.get("metadata", {}),
            "payment_intent": charge["payment_intent"],
            "reason": given.get("reason"),
            "receipt_number": None,
            "status": outcome,
        }
        refund["balance_transaction"] = self.account.book(refund, -amount, "refund")
        self.store.put(refund)
        self._refunded(charge, amount, "charge.refunded", key)
        self.account.event("refund.created", refund, key=key)
        if outcome == "succeeded":
            before = {"destination_details": {"type": "card"}}
            refund["destination_details"] = {"type": "card", "card": {"reference_status": "pending", "type": "refund"}}
            self.store.put(refund)
            self.account.event("refund.updated", refund, before=before)
        return refund

    def finish_refund(self, refund: Object, *, succeeds: bool) -> Object:
        """A refund that was pending arrives, or (also later, as banks do) comes back as failed."""
        if refund["status"] == "failed" or (succeeds and refund["status"] != "pending"):
            raise StripeError(400, f"This refund is {refund['status']}.")
        before = {"status": refund["status"]}
        if succeeds:
            self.store.put(refund | {"status": "succeeded"})
            self.account.event("refund.updated", self.store.objects[refund["id"]], before=before)
        else:
            self.store.put(refund | {"status": "failed", "failure_reason": "lost_or_stolen_card"})
            self.account.book(refund, refund["amount"], "refund_failure")
            failed = self.store.objects[refund["id"]]
            self._refunded(self.store.objects[refund["charge"]], -refund["amount"], "charge.updated", None)
            self.account.event("refund.updated", failed, before=before)
            self.account.event("refund.failed", failed)
        return self.store.objects[refund["id"]]

    def _refunded(self, charge: Object, amount: int, kind: str, key: str | None) -> None:
        before = {name: charge[name] for name in ("amount_refunded", "refunded")}
        total = charge["amount_refunded"] + amount
        self.store.put(charge | {"amount_refunded": total, "refunded": total == charge["amount"]})
        self.account.event(kind, self.store.objects[charge["id"]], key=key, before=before)

    def _charge(self, given: Object) -> Object:
        if "charge" in given:
            return self.store.find("charge", given["charge"], "charge")
        if "payment_intent" not in given:
            said = "One of the following params should be provided for this request: payment_intent or charge."
            raise StripeError(400, said)
        intent = self.store.find("payment_intent", given["payment_intent"], "payment_intent")
        if intent["latest_charge"] is None:
            raise StripeError(400, f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.")
        return self.store.objects[intent["latest_charge"]]

    def dispute(self, given: Object) -> Object:
        """The payer's bank disputes a charge. With `inquiry` it only asks, and takes no money yet."""
        charge = self._charge(given)
        inquiry = bool(given.get("inquiry"))
        dispute: Object = {
            "id": new_id("dp"),
            "object": "dispute",
            "amount": int(given.get("amount") or charge["amount"] - charge["amount_refunded"]),
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now(),
            "currency": charge["currency"],
            "evidence": {},
            "evidence_details": {"due_by": now() + 7 * 86400, "has_evidence": False, "submission_count": 0},
            "is_charge_refundable": inquiry,
            "livemode": False,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": given.get("reason") or "fraudulent",
            "status": "warning_needs_response" if inquiry else "needs_response",
        }
        self.store.put(charge | {"disputed": True})
        self.store.put(dispute)
        self.account.event("charge.dispute.created", dispute)
        if not inquiry:
            self._move(dispute, -dispute["amount"], "charge.dispute.funds_withdrawn")
        return dispute

    def close_dispute(self, dispute: Object, status: str) -> Object:
        """status: won (the money comes back), lost, or warning_closed for an inquiry that went no further."""
        if dispute["status"] in {"won", "lost", "warning_closed"}:
            raise StripeError(400, f"This dispute is already closed: {dispute['status']}.")
        dispute["status"] = status
        self.store.put(dispute)
        if status == "won" and dispute["balance_transactions"]:
            self._move(dispute, dispute["amount"], "charge.dispute.funds_reinstated")
        self.account.event("charge.dispute.closed", dispute)
        return dispute

    def _move(self, dispute: Object, amount: int, kind: str) -> None:
        line = self.account.book(dispute, amount, "adjustment")
        dispute["balance_transactions"].append(self.store.objects[line])
        self.store.put(dispute)
        self.account.event(kind, dispute)
