"""What was done to an account, as its owner reads it."""

from typing import Any
from uuid import UUID

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core import audit
from core.audit import Action, AuditEntry, Outcome
from core.database import transaction
from web.inputs import last_number
from web.openapi import answers, query
from web.session import signed_in
from web.shapes import History

PAGE = 50
BEFORE = {"type": "string", "pattern": "^[0-9]{0,18}$"}
WORDS: dict[Action, tuple[str, str]] = {  # done, refused
    Action.REGISTERED: ("Registered", "Registration refused"),
    Action.EMAIL_VERIFIED: ("Address confirmed", "Wrong code for the address"),
    Action.SIGNED_IN: ("Signed in", "Sign-in refused"),
    Action.SIGNED_OUT: ("Signed out", "Sign-out refused"),
    Action.SESSION_REVOKED: ("Signed out another device", "Signing out a device refused"),
    Action.OTHER_SESSIONS_ENDED: ("Signed out everywhere else", "Signing out elsewhere refused"),
    Action.RESET_ASKED: ("A new password was asked for", "Asking for a new password refused"),
    Action.PASSWORD_RESET: ("Password reset", "Wrong code for a new password"),
    Action.PASSWORD_CHANGED: ("Password changed", "Wrong password at changing it"),
    Action.EMAIL_CHANGE_ASKED: ("A change of the address was asked for", "Asking for another address refused"),
    Action.EMAIL_CHANGED: ("Address changed", "Wrong code for another address"),
    Action.EMAIL_CHANGE_STOPPED: ("Change of the address stopped", "Stopping a change of the address refused"),
    Action.PROFILE_CHANGED: ("Name or company changed", "Change of name or company refused"),
    Action.STEPPED_UP: ("Signed in again", "Signing in again refused"),
    Action.SECOND_FACTOR: ("Second step passed", "Second step refused"),
    Action.FACTOR_ADDED: ("Second factor added", "Adding a second factor refused"),
    Action.FACTOR_REMOVED: ("Second factor removed", "Removing a second factor refused"),
    Action.RECOVERY_CODES_MADE: ("Recovery codes made", "Making recovery codes refused"),
    Action.RECOVERY_CODE_USED: ("Recovery code used", "Recovery code refused"),
    Action.LOST_FACTOR_ASKED: ("Help for a lost factor was asked for", "Help for a lost factor refused"),
    Action.LOST_FACTOR_STOPPED: ("Removal of a lost factor stopped", "Stopping a removal refused"),
    Action.LOST_FACTOR_DONE: ("Lost factor removed", "Removing a lost factor refused"),
    Action.DISABLED: ("Account shut", "Shutting the account refused"),
    Action.ENABLED: ("Account opened again", "Opening the account refused"),
    Action.ROLE_CHANGED: ("Rights changed", "Change of rights refused"),
    Action.CREDITS_ADJUSTED: ("Credits adjusted", "Adjusting credits refused"),
    Action.REFUND_MADE: ("Refund made", "Refund refused"),
    Action.EXPORT_ASKED: ("A copy of your data was asked for", "Asking for a copy of your data refused"),
    Action.EXPORT_READY: ("A copy of your data is ready", "Making a copy of your data refused"),
    Action.EXPORT_FETCHED: ("A copy of your data was downloaded", "Downloading a copy of your data refused"),
    Action.MAIL_RESENT: ("A mail was sent again", "Sending a mail again refused"),
    Action.ERASURE_ASKED: ("Erasure of the account asked for", "Asking for erasure refused"),
    Action.ERASURE_UNDONE: ("Erasure undone", "Undoing the erasure refused"),
    Action.ERASED: ("Account erased", "Erasing the account refused"),
    Action.TEAM_MADE: ("Team made", "Making a team refused"),
    Action.TEAM_DELETED: ("Team deleted", "Deleting a team refused"),
    Action.TEAM_INVITED: ("Somebody invited to a team", "Inviting to a team refused"),
    Action.TEAM_JOINED: ("Joined a team", "Joining a team refused"),
    Action.TEAM_LEFT: ("Left a team", "Leaving a team refused"),
    Action.TEAM_REMOVED: ("Removed from a team by its owner", "Removal from a team refused"),
    Action.TEAM_ROLE_CHANGED: ("Role in a team changed", "Change of a role in a team refused"),
    Action.TEAM_SHARING_CHANGED: ("What a team's owners see changed", "Change of what a team's owners see refused"),
    Action.REQUEST_FILED: ("A privacy request was made", "A privacy request refused"),
    Action.REQUEST_CONFIRMED: ("A privacy request by mail was confirmed", "Confirming a privacy request refused"),
    Action.REQUEST_DENIED: ("A privacy request by mail was not yours", "Answering to a privacy request refused"),
    Action.REQUEST_WITHDRAWN: ("A privacy request was withdrawn", "Withdrawing a privacy request refused"),
    Action.REQUEST_SEEN: ("A privacy request was read", "Reading a privacy request refused"),
    Action.REQUEST_HANDLED: ("A privacy request was worked on", "Work on a privacy request refused"),
    Action.RESTRICTED: ("Use of your data restricted", "Restricting the use of your data refused"),
    Action.RESTRICTION_ENDED: ("Restriction of your data ended", "Ending a restriction refused"),
    Action.RESTRICTION_END_ANNOUNCED: ("End of a restriction announced", "Announcing the end of a restriction refused"),
    Action.HOLD_PLACED: ("Deletion stopped by law", "Stopping deletion refused"),
    Action.HOLD_LIFTED: ("Deletion goes on again", "Letting deletion go on refused"),
}

blueprint = Blueprint("audit", __name__)


@blueprint.get("/api/account/history")
@signed_in
@query(before=BEFORE)
@answers(History)
async def show_history() -> ResponseReturnValue:
    """What was done to one's account and from where, the latest first; `before` is the `next` of the page before."""
    return await shown(g.account.id, request.args.get("before", ""))


async def shown(account_id: UUID, before: str) -> dict[str, Any]:
    """One page of it. Raises InvalidInput."""
    last = last_number(before, field="before")
    async with transaction() as session:
        rows = await audit.history(session, account_id=account_id, before=last, limit=PAGE)
    entries = [
        {
            "id": str(row.id),
            "at": row.at,
            "action": row.action,
            "words": WORDS[Action(row.action)][row.outcome == Outcome.REFUSED],
            "outcome": row.outcome,
            "by": _by(row, account_id),
            **_from(row, account_id),
        }
        for row in rows
    ]
    return {"entries": entries, "next": entries[-1]["id"] if len(entries) == PAGE else None}


def _by(row: AuditEntry, account_id: UUID) -> str:
    """In a team, what somebody else does is an owner's doing; elsewhere it is ours."""
    if row.actor_id == account_id:
        return "you"
    return "somebody" if row.actor_id is None or row.action.startswith("team_") else "us"


def _from(row: AuditEntry, account_id: UUID) -> dict[str, str]:
    """Where it was done from; of somebody else whom we know, that is theirs."""
    is_anothers = row.actor_id not in (None, account_id)
    return {"ip": "" if is_anothers else row.ip, "user_agent": "" if is_anothers else row.user_agent}
