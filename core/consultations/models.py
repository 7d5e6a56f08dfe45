"""Services, consultations, messages, and the generations that answer them."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Date, ForeignKey, Index, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Service(Base):
    """One version of a service: its price, prompt and caps never change; a change is a new version."""

    __tablename__ = "services"
    __table_args__ = (
        UniqueConstraint("slug", "version"),
        CheckConstraint("input_mc_per_1k >= 0 and output_mc_per_1k >= 0", name="never_pays_the_buyer"),
        CheckConstraint("max_output_tokens > 0 and min_output_tokens > 0", name="has_caps"),
        Index("uq_services_listed_slug", "slug", unique=True, postgresql_where=text("listed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    slug: Mapped[str]
    version: Mapped[int]
    name: Mapped[str]
    summary: Mapped[str]
    description: Mapped[str]
    category: Mapped[str]
    system_prompt: Mapped[str] = mapped_column(Text)
    sample_questions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    input_mc_per_1k: Mapped[int]  # millicredits for 1,000 tokens of prompt
    output_mc_per_1k: Mapped[int]  # millicredits for 1,000 tokens of answer
    max_output_tokens: Mapped[int]  # the cap of one answer
    min_output_tokens: Mapped[int]  # the smallest cap worth starting an answer with
    max_question_chars: Mapped[int]
    position: Mapped[int] = mapped_column(server_default="0")  # in the listing
    listed: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Consultation(Base):
    __tablename__ = "consultations"
    __table_args__ = (Index("ix_consultations_account_id_id", "account_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    service_id: Mapped[UUID] = mapped_column(ForeignKey("services.id"))  # pinned to the version it began with
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MessageRole(StrEnum):
    QUESTION = "question"
    ANSWER = "answer"


class Message(Base):
    """That something was said, not what: the words are in `message_texts`, which goes sooner."""

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("role in ('question', 'answer')", name="role"),
        Index("ix_messages_consultation_id_id", "consultation_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)  # uuid7: in the order of saying
    consultation_id: Mapped[UUID] = mapped_column(ForeignKey("consultations.id"))
    role: Mapped[str]
    said_on: Mapped[date] = mapped_column(Date)  # UTC; names the partition that its text is in
    bytes: Mapped[int]  # of its text in UTF-8, so that a price needs no look into the partitions
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MessageText(Base):
    """The words. Partitioned by day, so that the purge drops a table instead of deleting rows."""

    __tablename__ = "message_texts"
    __table_args__ = ({"postgresql_partition_by": "RANGE (said_on)"},)

    said_on: Mapped[date] = mapped_column(Date, primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class GenerationState(StrEnum):
    WAITING = "waiting"  # queued or streaming; its job says which
    DONE = "done"
    STOPPED = "stopped"  # by the person; costs what was produced
    FILTERED = "filtered"  # by the model's content filter; costs nothing
    FAILED = "failed"  # by us or the model's host; costs nothing


class Generation(Base):
    """One answer in the making: what it may cost, what it did cost, and why."""

    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'done', 'stopped', 'filtered', 'failed')", name="state"),
        CheckConstraint("cost_mc >= 0", name="never_pays_the_buyer"),
        CheckConstraint("(state = 'waiting') = (ended_at is null)", name="ended_has_date"),
        Index("ix_generations_consultation_id", "consultation_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    consultation_id: Mapped[UUID] = mapped_column(ForeignKey("consultations.id"))
    question_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"), unique=True)
    answer_id: Mapped[UUID | None] = mapped_column(ForeignKey("messages.id"), unique=True)
    service_id: Mapped[UUID] = mapped_column(ForeignKey("services.id"))  # the price that applies
    job_id: Mapped[UUID] = mapped_column(unique=True)
    hold_id: Mapped[UUID]
    hold_mc: Mapped[int] = mapped_column(BigInteger)
    prompt_cap: Mapped[int]  # bytes of the prompt that the hold allows for: a token is at least one byte
    output_cap: Mapped[int]  # tokens; shrunk to what the balance afforded
    state: Mapped[str] = mapped_column(server_default=GenerationState.WAITING)
    end_reason: Mapped[str | None]  # stop, length, stopped, content_filter, ... as the page explains
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    usage_estimated: Mapped[bool] = mapped_column(
        server_default=text("false")
    )  # counted by us: the model sent no usage
    cost_mc: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
