"""A closed loop: so many ask at a time, and each asks again when its answer has ended."""

import asyncio
import gc
import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bench.answers import Answer, expected, question
from bench.machine import Busy, cpu_ns


class Arm(Protocol):
    name: str

    async def answer(self, question: str) -> Answer: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Workload:
    """How many ask at a time, and how the stand-in answers."""

    name: str
    at_once: int
    tokens: int
    first_token_ms: int
    gap_ms: int
    seconds: float  # of asking, in one round of one arm
    settling: float  # seconds at its start that are not counted

    @property
    def knobs(self) -> dict[str, int]:
        return {"tokens": self.tokens, "first_token_ms": self.first_token_ms, "gap_ms": self.gap_ms}


@dataclass
class Cell:
    """One arm in one round."""

    ttft_ms: list[float]
    accepted_ms: list[float]  # to the product's 202
    lag_ms: list[float]  # of tokens, stand-in to client
    a_second: float
    cpu_ms: dict[str, float]  # an answer, by process
    stolen: float  # share of all cores' time
    foreign: float
    faults: list[str] = field(default_factory=list)


_numbers = itertools.count(1)


async def run(arm: Arm, workload: Workload, processes: Mapping[str, int]) -> Cell:
    """Load one arm for one round. processes: whose CPU is counted, by name."""
    answers: list[Answer] = []
    gc.collect()
    gc.disable()  # a pause of ours would be measured as theirs
    busy, ours, cpu = Busy.now(), cpu_ns(os.getpid()), _cpu(processes)
    begun = time.perf_counter_ns()
    until = begun + int(workload.seconds * 1e9)

    async def ask_again_and_again() -> None:
        while time.perf_counter_ns() < until:
            answers.append(await arm.answer(question(next(_numbers))))

    await asyncio.gather(*[ask_again_and_again() for _ in range(workload.at_once)])
    spent = {name: after - cpu[name] for name, after in _cpu(processes).items()}
    ours, after = cpu_ns(os.getpid()) - ours, Busy.now()
    gc.enable()
    wall = after.wall - busy.wall
    counted_from = begun + int(workload.settling * 1e9)
    counted = [one for one in answers if one.sent >= counted_from and one.first]
    return Cell(
        ttft_ms=[one.ttft_ms for one in counted],
        accepted_ms=[(one.accepted - one.sent) / 1e6 for one in counted if one.accepted],
        lag_ms=[lag / 1e6 for one in counted for lag in one.lags],
        a_second=sum(counted_from <= one.ended < until for one in answers) / (until - counted_from) * 1e9,
        cpu_ms={name: ns / len(answers) / 1e6 for name, ns in spent.items()},
        stolen=(after.stolen - busy.stolen) / wall,
        foreign=max(0.0, after.working - busy.working - ours) / wall,
        faults=[fault for one in answers for fault in _faults(one, workload.tokens)],
    )


def _cpu(processes: Mapping[str, int]) -> dict[str, int]:
    return {"client": time.process_time_ns()} | {name: cpu_ns(pid) for name, pid in processes.items()}


def _faults(answer: Answer, tokens: int) -> list[str]:
    if answer.faults:
        return answer.faults
    return [] if "".join(answer.parts) == expected(answer.question, tokens) else ["another text"]
