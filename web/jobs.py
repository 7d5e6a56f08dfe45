"""Jobs, as their owners see them: state, events by long polling, stop."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue

from core import jobs, streams
from core.database import transaction
from core.errors import InvalidInput
from core.jobs import Job, JobState
from core.streams import Event
from web.hub import Watch
from web.live import hub
from web.openapi import answers, query
from web.session import signed_in
from web.shapes import Events, JobFacts

blueprint = Blueprint("jobs", __name__, url_prefix="/api/jobs")

AFTER_EVENT = {"type": "string", "pattern": "^([0-9]+-[0-9]+)?$", "maxLength": 20}
WAIT = {"type": "integer", "minimum": 0, "maximum": 3600}
LONGEST_WAIT = 30.0  # seconds; below the time-outs of proxies


def _seen(job: Job) -> dict[str, Any]:
    return {
        "id": str(job.id),
        "state": job.state,
        "result": job.result,
        "reason": job.error if job.state in jobs.ENDED else None,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
    }


@blueprint.get("/<uuid:job_id>")
@signed_in
@answers(JobFacts)
async def show(job_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        return _seen(await jobs.get(session, job_id, account_id=g.account.id))


@blueprint.delete("/<uuid:job_id>")
@signed_in
@answers(JobFacts)
@answers(JobFacts, status=202)
async def stop(job_id: UUID) -> ResponseReturnValue:
    """Ask to stop; 202 while its worker winds it up, 200 when it has ended."""
    async with transaction() as session:
        job = await jobs.cancel(session, job_id, account_id=g.account.id)
    if job.state == JobState.RUNNING:
        await streams.ask_to_stop(hub().redis, job.id)
        return _seen(job), 202
    if job.state == JobState.CANCELLED:
        await streams.tell_end(hub().redis, job.id, streams.end_event(*jobs.end_of(job)))
    return _seen(job)


@blueprint.get("/<uuid:job_id>/events")
@signed_in
@query(after=AFTER_EVENT, wait=WAIT)
@answers(Events)
async def events(job_id: UUID) -> ResponseReturnValue:
    """The events after an id: at once where there are some, else the next ones within `wait` seconds."""
    after, wait = _after(), _wait()
    job = await jobs.glimpse(job_id, account_id=g.account.id)
    got: list[Event] = []
    some = asyncio.Event()

    def deliver(_: Watch, event: Event) -> None:
        got.append(event)
        some.set()

    watch = await hub().watch(job, after, deliver)
    try:
        if not got and not watch.ended and wait > 0:
            await asyncio.wait_for(some.wait(), wait)
    except TimeoutError:
        pass
    finally:
        done = watch.ended
        await hub().unwatch(watch)
    body = b'{"events":[' + b",".join(event.body for event in got) + b'],"done":' + orjson.dumps(done) + b"}"
    return Response(body, mimetype="application/json")


def _after() -> streams.EventId:
    try:
        return streams.parse_id(request.args.get("after", ""))
    except ValueError as error:
        raise InvalidInput(field="after", rule=str(error)) from error


def _wait() -> float:
    text = request.args.get("wait", "0")
    if not (text.isascii() and text.isdigit() and int(text) <= 3600):
        raise InvalidInput(field="wait", rule="whole seconds")
    return min(float(text), LONGEST_WAIT)
