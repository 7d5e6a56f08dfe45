"""Mails on their way."""

from datetime import timedelta
from uuid import UUID

from core.database import transaction
from core.errors import Unavailable
from core.mail import deliveries, render, smtp
from core.mail.deliveries import Outgoing
from core.queue import TaskName
from workers.runtime import Run, task


@task(TaskName.SEND_MAIL, time_allowed=smtp.LONGEST + timedelta(minutes=2))
async def send_mail(run: Run) -> None:
    """Hand a mail to the server, at most once.

    `sending` is committed when the server has all of the mail but its last dot: only an end between the dot and the
    server's answer leaves the outcome open, and then the row says so (docs/decisions/0014).
    """
    delivery_id = UUID(run.job.payload["delivery_id"])
    async with transaction() as session:
        mail = await deliveries.get_outgoing(session, delivery_id)
    if mail is None:
        return
    try:
        await _hand_over(mail)
    except smtp.MailRefused as error:
        async with transaction() as session:
            await deliveries.mark_bounced(session, delivery_id, error=f"{error.code} {error.facts['smtp_code']}")
        raise
    except Unavailable as error:
        async with transaction() as session:
            await deliveries.mark_deferred(session, delivery_id, error=error.code)
        raise
    async with transaction() as session:  # by itself: it is true whoever has the job now
        await deliveries.mark_sent(session, delivery_id)


async def _hand_over(mail: Outgoing) -> None:
    async with smtp.envelope(render.render(mail)) as deliver:
        async with transaction() as session:
            await deliveries.mark_sending(session, mail.id)
        await deliver()
