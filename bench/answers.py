"""What is asked in every arm, and what must come back, byte for byte."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.consultations.offers import OFFERS
from sandbox.prose import tokens

SERVICE = OFFERS[0]
FILLER = (
    "I run a small workshop with four people and have to choose between two machines. The first is cheap to buy and "
    "dear to run, the second the other way round; the bank would lend for either. Orders come in waves, the busiest "
    "month has three times the work of the slowest, and nobody can say whether the large customer will stay. Spare "
    "parts for the first are made nearby, for the second they come by ship. One of us knows the first machine well. "
)
QUESTION_BYTES = 1024


@dataclass
class Answer:
    """One answer as its client saw it; times in nanoseconds of CLOCK_MONOTONIC."""

    question: str
    sent: int = 0  # the request was handed to the kernel
    accepted: int = 0  # the product's 202
    first: int = 0  # the first text
    ended: int = 0
    parts: list[str] = field(default_factory=list)
    lags: list[int] = field(default_factory=list)  # stand-in to client, for each token that carries its time
    job: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def ttft_ms(self) -> float:
        return (self.first - self.sent) / 1e6


def question(number: int) -> str:
    """A question of 1 KB, and no two alike."""
    begun = f"Case {number}: which of them? "
    return (begun + FILLER * 3)[:QUESTION_BYTES].strip()


def messages(asked: str) -> list[dict[str, str]]:
    """What the model is asked: the same in every arm."""
    return [{"role": "system", "content": SERVICE.system_prompt}, {"role": "user", "content": asked}]


def request(asked: str, model: str) -> bytes:
    """The body of a chat completion as the product sends it."""
    body: dict[str, Any] = {
        "messages": messages(asked),
        "model": model,
        "max_tokens": SERVICE.max_output_tokens,
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return orjson.dumps(body)


def expected(asked: str, length: int) -> str:
    """What the stand-in answers to this question, in `length` tokens."""
    pieces = tokens(asked, hashlib.sha256(orjson.dumps(messages(asked))).hexdigest(), length)
    return "".join([*pieces[:-1], "."])
