"""What one proves oneself with beside the password: adding, removing, recovery codes, and what if it is lost."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from quart import Blueprint, Response, g
from quart.typing import ResponseReturnValue

from core.accounts import recovering
from core.accounts.factors import changes, lost, methods, passkeys
from core.accounts.factors.changes import Changed
from core.accounts.factors.email_codes import Purpose
from core.accounts.factors.methods import Factors
from core.accounts.factors.models import LostFactor, Passkey
from core.accounts.sign_in import send_code
from core.database import transaction
from web.callers import caller
from web.factor_shapes import EnrolmentFacts, FactorFacts, LostFacts, MadeCodes, MadePasskey, PasskeyFacts
from web.inputs import Input, Line, takes
from web.openapi import answers
from web.session import anyone, enrolling, fresh, signed_in
from web.shapes import CodeSent, PasskeyOptions
from web.sign_in import Code, attempt, own_token, signed_in_answer

blueprint = Blueprint("factors", __name__)

KeyName = Annotated[Line, StringConstraints(max_length=60)]


class OneCode(Input):
    code: Code


class NewPasskey(Input):
    name: KeyName
    credential: dict[str, Any]  # as PublicKeyCredential.toJSON() has it


class Renamed(Input):
    name: KeyName


class Stopped(Input):
    request: Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    proof: str = Field(max_length=64)


def _changed(done: Changed) -> Response:
    return signed_in_answer(done.token, recovery_codes=done.recovery_codes)


def shown_passkey(row: Passkey) -> PasskeyFacts:
    return {
        "id": row.id,
        "name": row.name,
        "created_at": row.created_at,
        "used_at": row.used_at,
        "backed_up": row.backed_up,
    }


def shown_lost(row: LostFactor) -> LostFacts:
    return {"created_at": row.created_at, "due_at": row.due_at}


def shown(factors: Factors) -> FactorFacts:
    return {
        "totp_since": factors.totp_since,
        "passkeys": [shown_passkey(one) for one in factors.passkeys],
        "recovery_codes_left": factors.recovery_codes_left,
        "email_codes": factors.email_codes,
        "lost": shown_lost(factors.lost) if factors.lost else None,
    }


@blueprint.get("/api/account/factors")
@signed_in
@enrolling
@answers(FactorFacts)
async def show() -> ResponseReturnValue:
    """What the account asks for beside its password."""
    async with transaction() as session:
        return dict(shown(await methods.of_account(session, account_id=g.account.id)))


@blueprint.post("/api/account/totp")
@fresh
@enrolling
@answers(EnrolmentFacts, problems=(409,))
async def begin_totp() -> ResponseReturnValue:
    """Begin with an authenticator app: its key, shown this once. Nothing asks for it before its first code came."""
    made = await changes.begin_totp(account_id=g.account.id)
    return {"key": made.key, "uri": made.uri, "qr": made.qr}


@blueprint.post("/api/account/totp/confirm")
@fresh
@enrolling
@answers(MadeCodes, problems=(409, 429))
@takes(OneCode)
async def confirm_totp(data: OneCode) -> ResponseReturnValue:
    """Take the app into use by its first code. The first factor brings recovery codes; other sessions end."""
    return _changed(
        await changes.confirm_totp(account_id=g.account.id, code=data.code, token=own_token(), caller=caller())
    )


@blueprint.delete("/api/account/totp")
@fresh
@enrolling
@answers(MadeCodes)
async def remove_totp() -> ResponseReturnValue:
    return _changed(await changes.remove_totp(account_id=g.account.id, token=own_token(), caller=caller()))


@blueprint.post("/api/account/recovery-codes")
@fresh
@enrolling
@answers(MadeCodes, problems=(409,))
async def make_recovery_codes() -> ResponseReturnValue:
    """A new set of ten; the one before is void."""
    return _changed(await changes.make_recovery_codes(account_id=g.account.id, token=own_token(), caller=caller()))


@blueprint.post("/api/account/passkeys/options")
@fresh
@enrolling
@answers(PasskeyOptions, problems=(409,))
async def ask_for_passkey() -> ResponseReturnValue:
    """What the browser is to make a passkey for."""
    return {"options": await changes.ask_for_passkey(account_id=g.account.id, token=own_token())}


@blueprint.post("/api/account/passkeys")
@fresh
@enrolling
@answers(MadePasskey, status=201, problems=(409,))
@takes(NewPasskey)
async def add_passkey(data: NewPasskey) -> ResponseReturnValue:
    """Keep a passkey that the browser has made. The first factor brings recovery codes; other sessions end."""
    done = await changes.add_passkey(
        account_id=g.account.id, credential=data.credential, name=data.name, token=own_token(), caller=caller()
    )
    assert done.passkey is not None
    response = signed_in_answer(done.token, recovery_codes=done.recovery_codes, passkey=shown_passkey(done.passkey))
    return response, 201


@blueprint.patch("/api/account/passkeys/<uuid:passkey_id>")
@fresh
@enrolling
@answers(PasskeyFacts)
@takes(Renamed)
async def rename_passkey(passkey_id: UUID, data: Renamed) -> ResponseReturnValue:
    async with transaction() as session:
        row = await passkeys.rename(session, account_id=g.account.id, passkey_id=passkey_id, name=data.name)
    return dict(shown_passkey(row))


@blueprint.delete("/api/account/passkeys/<uuid:passkey_id>")
@fresh
@enrolling
@answers(MadeCodes)
async def remove_passkey(passkey_id: UUID) -> ResponseReturnValue:
    return _changed(
        await changes.remove_passkey(account_id=g.account.id, passkey_id=passkey_id, token=own_token(), caller=caller())
    )


@blueprint.put("/api/account/email-codes")
@fresh
@enrolling
@answers(MadeCodes, problems=(409,))
async def turn_email_codes_on() -> ResponseReturnValue:
    """Have a code by mail asked for when signing in. Not beside an app or a passkey, which are safer."""
    return _changed(
        await changes.set_email_codes(account_id=g.account.id, wanted=True, token=own_token(), caller=caller())
    )


@blueprint.delete("/api/account/email-codes")
@fresh
@enrolling
@answers(MadeCodes)
async def turn_email_codes_off() -> ResponseReturnValue:
    return _changed(
        await changes.set_email_codes(account_id=g.account.id, wanted=False, token=own_token(), caller=caller())
    )


@blueprint.delete("/api/account/lost-factor")
@signed_in
@enrolling
@answers(None, status=204, problems=(404,))
async def stop_lost() -> ResponseReturnValue:
    """My second factor is not lost: stop its removal."""
    async with transaction() as session:
        await lost.stop(session, account_id=g.account.id, caller=caller())
    return "", 204


@blueprint.post("/api/session/lost-factor/code")
@anyone
@answers(CodeSent, status=202, problems=(401, 429))
async def send_lost_code() -> ResponseReturnValue:
    """In a sign-in that waits for its second step: mail a code to ask for the removal of a lost factor."""
    await send_code(attempt(), purpose=Purpose.LOST_FACTOR)
    return {"state": "code_sent"}, 202


@blueprint.post("/api/session/lost-factor")
@anyone
@answers(LostFacts, status=202, problems=(401, 429))
@takes(OneCode)
async def ask_for_removal(data: OneCode) -> ResponseReturnValue:
    """Ask for it, by that code. In 72 hours the factor is removed, unless somebody objects until then."""
    return dict(shown_lost(await recovering.ask(attempt=attempt(), code=data.code, caller=caller()))), 202


@blueprint.post("/api/lost-factor/stop")
@anyone
@answers(None, status=204, problems=(404,))
@takes(Stopped)
async def stop_by_link(data: Stopped) -> ResponseReturnValue:
    """Stop a removal by what its mails carry."""
    async with transaction() as session:
        await lost.stop_by_link(session, request_id=UUID(data.request), proof=data.proof, caller=caller())
    return "", 204
