"""Posts that are published at a time."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from core import jobs
from core.blog import pages, posts
from core.database import transaction
from core.queue import TaskName
from workers.runtime import Run, task


@task(TaskName.PUBLISH_POST, time_allowed=timedelta(minutes=1))
async def publish(run: Run) -> None:
    """By PostgreSQL's clock, which also said when the job is due."""
    async with transaction() as session:
        done = await posts.publish_due(session, UUID(run.job.payload["post"]), now=await jobs.now_of(session))
        await run.finish(session, {"published": done})


@task(TaskName.RENDER_ANEW, time_allowed=timedelta(minutes=5))
async def render_anew(_: Run) -> dict[str, Any]:
    """Bring pages that an older renderer made up to ours."""
    async with transaction() as session:
        return {"rendered": await pages.render_anew(session)}
