"""Time to the first token: through the whole product, and through LiteLLM's proxy, over a direct call."""

import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from bench import litellm
from bench.arms import Completions, Product
from bench.figures import Interval, median_with_interval, p99, percentile, table
from bench.house import MeasuredHouse, measured_house
from bench.load import Arm, Cell, Workload, run
from bench.machine import BEHIND, FRONT, facts, pin
from core.settings import settings

PEOPLE = 16
FASTEST = 200  # answers a second that nobody here reaches; so many consultations are at hand
FULL = (
    Workload("c=1, 64 tokens at 20 ms", 1, 64, 0, 20, seconds=6.5, settling=0),
    Workload("c=1, 8 tokens after 20 ms", 1, 8, 20, 0, seconds=2.5, settling=0.3),
    Workload("c=16, 8 tokens after 20 ms", 16, 8, 20, 0, seconds=4.5, settling=0.7),
)
QUICK = (
    Workload(FULL[0].name, 1, 64, 0, 20, seconds=2.6, settling=0),
    Workload(FULL[1].name, 1, 8, 20, 0, seconds=1.2, settling=0.2),
    Workload(FULL[2].name, 16, 8, 20, 0, seconds=2.5, settling=0.7),
)
ROUNDS, QUICK_ROUNDS = 15, 5
BARS = {1: 0.6, 16: 0.3}  # issue 2: what we add, over what LiteLLM adds, by how many ask at a time
DIRECT, AGAIN, LITELLM, CLOFY = "direct", "direct again", "LiteLLM", "Clofy"
MOST_STOLEN, MOST_FOREIGN = 0.03, 0.05


@dataclass
class Measured:
    """All rounds of one workload: a cell for each arm."""

    workload: Workload
    rounds: list[dict[str, Cell]] = field(default_factory=list)

    @property
    def quiet(self) -> list[dict[str, Cell]]:
        """Those in which nobody else was at work."""
        return [
            cells
            for cells in self.rounds
            if all(cell.stolen <= MOST_STOLEN and cell.foreign <= MOST_FOREIGN for cell in cells.values())
        ]


async def measure(*, quick: bool) -> dict[str, Any]:
    """Run it all and print as it goes; returns the report."""
    litellm.prepare()
    workloads, rounds = (QUICK, QUICK_ROUNDS) if quick else (FULL, ROUNDS)
    async with measured_house(slots=64) as house:
        peer_facts = {"openai_url": house.standins.openai_url, "openai_key": house.standins.openai_key}
        peer_facts |= {"deployment": settings().openai_deployment, "api_version": settings().openai_api_version}
        with litellm.LiteLLM(house.directory, **peer_facts) as peer:
            pin(peer.child.pid, BEHIND)
            begun = time.time()
            measured, books = await _rounds(house, peer, workloads, rounds)
            return report(measured, books, quick=quick, seconds=time.time() - begun)


async def _rounds(
    house: MeasuredHouse, peer: litellm.LiteLLM, workloads: tuple[Workload, ...], rounds: int
) -> tuple[list[Measured], dict[str, int]]:
    people = await house.invite(PEOPLE)
    model, version = settings().openai_deployment, settings().openai_api_version
    straight: dict[str, Any] = {
        "url": house.standins.openai_url,
        "path": f"/openai/deployments/{model}/chat/completions?api-version={version}",
        "model": model,
        "headers": {"api-key": house.standins.openai_key},
        "connections": PEOPLE,
    }
    proxied = straight | {"url": peer.url, "path": "/v1/chat/completions", "model": litellm.MODEL}
    proxied |= {"headers": {"authorization": f"Bearer {litellm.KEY}"}}
    arms: list[Arm] = [
        await Completions.open(DIRECT, **straight),
        await Completions.open(AGAIN, **straight),
        await Completions.open(LITELLM, **proxied),
        Product(CLOFY, people),
    ]
    processes = {"stand-in": house.stand_in, "litellm": peer.child.pid} | house.groups
    measured = [Measured(workload) for workload in workloads]
    chance = random.Random(1)
    for number in range(rounds + 1):  # the first is to warm up, and is not kept
        for one in measured:
            cells: dict[str, Cell] = {}
            house.control(openai=one.workload.knobs)
            for arm in chance.sample(arms, k=len(arms)):
                await house.open_consultations(people, int(FASTEST * one.workload.seconds / PEOPLE) + 5)
                cells[arm.name] = await run(arm, one.workload, processes)
            if number:
                one.rounds.append(cells)
        print(f"round {number} of {rounds}: {_in_short(measured)}" if number else "warmed up", flush=True)
    for arm in arms:
        await arm.close()
    return measured, await house.books()


def _in_short(measured: list[Measured]) -> str:
    last = [one.rounds[-1] for one in measured]
    return "; ".join(
        " / ".join(f"{statistics.median(cells[name].ttft_ms):.1f}" for name in (DIRECT, LITELLM, CLOFY)) + " ms"
        for cells in last
    )


def report(measured: list[Measured], books: dict[str, int], *, quick: bool, seconds: float) -> dict[str, Any]:
    """What was seen, as it is written to results/ttft.json."""
    return {
        "what": "time to first token over a direct call to the same stand-in",
        "quick": quick,
        "seconds": round(seconds),
        "machine": facts(),
        "litellm": litellm.version(),
        "settings": {
            "cores": {"client and stand-in": FRONT, "everything behind the port": BEHIND},
            "web": "1 uvicorn process",
            "worker-ai": "1 process, -P threads -c 64",
            "prompt_bytes": 1024,
            "postgres": "fsync on, synchronous_commit on",
            "valkey": "appendonly everysec",
            "litellm": "1 worker, master key, no database",
        },
        "books": books,
        "workloads": [summary(one, books) for one in measured],
    }


def summary(measured: Measured, books: dict[str, int]) -> dict[str, Any]:
    """One workload: what each arm took, what the two add, and whether the figures count."""
    workload, rounds = measured.workload, measured.quiet or measured.rounds
    base = [(_p50(cells[DIRECT]) + _p50(cells[AGAIN])) / 2 for cells in rounds]
    added = {name: [_p50(cells[name]) - b for cells, b in zip(rounds, base, strict=True)] for name in (LITELLM, CLOFY)}
    ratio = median_with_interval([ours / theirs for ours, theirs in zip(added[CLOFY], added[LITELLM], strict=True)])
    control = median_with_interval([_p50(cells[AGAIN]) / _p50(cells[DIRECT]) for cells in rounds])
    faults = {name: [fault for cells in measured.rounds for fault in cells[name].faults] for name in rounds[0]}
    bar = BARS[workload.at_once]
    right = not faults[CLOFY] and not any(books.values())
    return {
        "workload": workload.name,
        "at_once": workload.at_once,
        "arms": {name: _arm([cells[name] for cells in rounds]) for name in rounds[0]},
        "added_ms": {name: median_with_interval(values) for name, values in added.items()},
        "ratio": ratio,
        "control": control,
        "bar": bar,
        "correct": right,
        "met": right and ratio[2] <= bar,
        "faults": {name: found[:5] for name, found in faults.items() if found},
        "void": _void(measured, control),
        "rounds": [
            {name: {"p50": _p50(cell), "stolen": cell.stolen, "foreign": cell.foreign} for name, cell in cells.items()}
            for cells in measured.rounds
        ],
    }


def _p50(cell: Cell) -> float:
    return statistics.median(cell.ttft_ms)


def _void(measured: Measured, control: Interval) -> list[str]:
    """Why the figures do not count, if so. Where 16 ask at once, the control is shown and does not void."""
    reasons = []
    dropped = len(measured.rounds) - len(measured.quiet)
    if dropped > len(measured.rounds) / 4:
        reasons.append(f"others were at work in {dropped} of {len(measured.rounds)} rounds")
    if measured.workload.at_once == 1 and not 0.95 <= control[0] <= 1.05:
        reasons.append(f"direct again / direct = {control[0]:.3f}")
    return reasons


def _arm(cells: list[Cell]) -> dict[str, Any]:
    samples = [one for cell in cells for one in cell.ttft_ms]
    accepted = [one for cell in cells for one in cell.accepted_ms]
    lags = [one for cell in cells for one in cell.lag_ms]
    return {
        "samples": len(samples),
        "ttft_ms": {"p50": statistics.median(samples), "p90": percentile(samples, 0.9), "p99": p99(samples)},
        "accepted_ms": statistics.median(accepted) if accepted else None,
        "token_lag_ms": statistics.median(lags) if lags else None,
        "answers_a_second": statistics.median([cell.a_second for cell in cells]),
        "cpu_ms": {name: statistics.median([cell.cpu_ms[name] for cell in cells]) for name in cells[0].cpu_ms},
    }


def show(seen: dict[str, Any]) -> str:
    """The report for people."""
    parts = [f"LiteLLM {seen['litellm']}, commit {seen['machine']['commit']}, books {seen['books']}"]
    for one in seen["workloads"]:
        rows = []
        for name, arm in one["arms"].items():
            ttft, cpu = arm["ttft_ms"], arm["cpu_ms"]
            behind = ["litellm"] if name == LITELLM else ["web", "worker-ai", "worker-default", "valkey", "postgres"]
            cost = [cpu[part] for part in behind] if name in (LITELLM, CLOFY) else []
            added = one["added_ms"].get(name, [None])[0]
            rows.append([name, arm["samples"], ttft["p50"], ttft["p90"], ttft["p99"], added])
            rows[-1] += [
                arm["answers_a_second"],
                sum(cost) if cost else None,
                " + ".join(f"{ms:.2f}" for ms in cost) or "-",
            ]
        head = ["arm", "samples", "p50 ms", "p90", "p99", "added ms", "answers/s", "CPU ms an answer", "of it"]
        middle, low, high = one["ratio"]
        verdict = "met" if one["met"] else "NOT met"
        said = f"added, Clofy / LiteLLM: {middle:.3f} (95 % CI {low:.3f} to {high:.3f}); bar {one['bar']}: {verdict}; "
        said += f"direct again / direct {one['control'][0]:.3f}"
        said += "".join(f"\nVOID: {reason}" for reason in one["void"])
        said += "".join(f"\nFAULTS of {name}: {found}" for name, found in one["faults"].items())
        parts.append(f"\n{one['workload']}\n{table(head, rows)}\n{said}")
    parts.append("\nOf it: web + worker-ai + worker-default + valkey + postgres.")
    return "\n".join(parts)
