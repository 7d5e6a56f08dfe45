"""Mails on their way."""

from datetime import timedelta
from uuid import UUID

from core.database import transaction
from core.errors import Unavailable
from core.mail import deliveries, render, smtp
from core.mail.deliveries import OutcomeUnknown, Outgoing
from core.queue import TaskName
from workers.runtime import Run, task


@task(TaskName.SEND_MAIL, time_allowed=timedelta(seconds=90))
async def send_mail(run: Run) -> None:
    """Hand a mail to the server, at most once unless a second copy is harmless.

    `sending` is committed between the server's yes to the recipient and the mail itself: only an end within these
    milliseconds leaves the outcome open, and then the row says so.
    """
    delivery_id = UUID(run.job.payload["delivery_id"])
    async with transaction() as session:
        mail = await deliveries.get_outgoing(session, delivery_id)
    if mail is None:
        return
    try:
        await _hand_over(mail)
    except Unavailable as error:
        async with transaction() as session:
            await deliveries.mark_deferred(session, delivery_id, error=error.code)
        raise
    async with transaction() as session:
        await deliveries.mark_sent(session, delivery_id)
        await run.finish(session)


async def _hand_over(mail: Outgoing) -> None:
    try:
        async with smtp.envelope(render.render(mail)) as deliver:
            async with transaction() as session:
                await deliveries.mark_sending(session, mail.id)
            await deliver()
    except OutcomeUnknown as error:
        if mail.harmless_twice:
            raise smtp.MailServerDown(**error.facts) from error
        raise
