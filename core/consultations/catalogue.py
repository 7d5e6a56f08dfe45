"""The services that people choose from. A version never changes; publishing something else makes the next version."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations.models import Service
from core.consultations.pricing import MOST_BYTES, Price, prompt_cap
from core.errors import NotFound


@dataclass(frozen=True)
class Listing:
    """A service as it is to be offered."""

    slug: str
    name: str
    summary: str
    description: str
    category: str
    system_prompt: str
    sample_questions: list[str]
    input_mc_per_1k: int
    output_mc_per_1k: int
    max_output_tokens: int
    min_output_tokens: int
    max_question_chars: int
    position: int


async def publish(session: AsyncSession, listing: Listing) -> Service:
    """Offer this from now on; the same again changes nothing. Consultations that have begun stay with their version."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext("services"), func.hashtext(listing.slug))))
    current = await session.scalar(select(Service).where(Service.slug == listing.slug, Service.listed))
    facts = asdict(listing)
    if current is not None and all(getattr(current, name) == value for name, value in facts.items()):
        return current
    last = await session.scalar(select(func.max(Service.version)).where(Service.slug == listing.slug))
    await session.execute(update(Service).where(Service.slug == listing.slug).values(listed=False))
    service = Service(**facts, version=(last or 0) + 1, listed=True)
    session.add(service)
    await session.flush()
    return service


async def listed(session: AsyncSession) -> list[Service]:
    return list(await session.scalars(select(Service).where(Service.listed).order_by(Service.position, Service.slug)))


async def offered(session: AsyncSession, slug: str) -> Service:
    """The version on offer. Raises NotFound."""
    service = await session.scalar(select(Service).where(Service.slug == slug, Service.listed))
    if service is None:
        raise NotFound(service=slug)
    return service


async def version(session: AsyncSession, service_id: UUID) -> Service:
    return await session.get_one(Service, service_id)


def price_of(service: Service) -> Price:
    return Price(service.input_mc_per_1k, service.output_mc_per_1k)


def describe(service: Service) -> dict[str, Any]:
    """What people and programs are told of a service; the system prompt is not a secret, but not an offer either."""
    price = price_of(service)
    longest = prompt_cap(len(service.system_prompt.encode()), MOST_BYTES * service.max_question_chars)
    return {
        "slug": service.slug,
        "version": service.version,
        "name": service.name,
        "summary": service.summary,
        "description": service.description,
        "category": service.category,
        "sample_questions": service.sample_questions,
        "input_mc_per_1k": service.input_mc_per_1k,
        "output_mc_per_1k": service.output_mc_per_1k,
        "max_output_tokens": service.max_output_tokens,
        "max_question_chars": service.max_question_chars,
        "typical_answer_mc": price.typical_mc(service.system_prompt),
        "max_answer_mc": price.cost_mc(longest, service.max_output_tokens),
    }
