import asyncio

from workers.turns import A_LONG_LINE, MOST_ENDINGS, Turns


async def test_endings_go_one_at_a_time_while_somebody_waits_for_a_first_word() -> None:
    turns, at_once, most = Turns(), 0, 0

    async def end() -> None:
        nonlocal at_once, most
        async with turns.ending():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    with turns.beginning():
        await asyncio.gather(*[end() for _ in range(A_LONG_LINE)])
        assert most == 1
        await asyncio.gather(*[end() for _ in range(5 * A_LONG_LINE)])
        assert 1 < most < MOST_ENDINGS
    await asyncio.gather(*[end() for _ in range(20)])
    assert most == MOST_ENDINGS


async def test_a_first_word_lets_the_others_go_on() -> None:
    turns, ended = Turns(), asyncio.Semaphore(0)
    hold = asyncio.Event()

    async def end() -> None:
        async with turns.ending():
            ended.release()
            await hold.wait()

    with turns.beginning() as began:
        tasks = [asyncio.create_task(end()) for _ in range(3)]
        await ended.acquire()
        assert ended.locked()
        began()
        began()
        await asyncio.wait_for(asyncio.gather(ended.acquire(), ended.acquire()), 1)
    hold.set()
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_waiting_or_ending_holds_nobody_up() -> None:
    turns, hold = Turns(), asyncio.Event()

    async def end() -> str:
        async with turns.ending():
            await hold.wait()
            return "ended"

    with turns.beginning():
        first, second, third = [asyncio.create_task(end()) for _ in range(3)]
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        hold.set()
        assert await asyncio.wait_for(third, 1) == "ended"
    async with asyncio.timeout(1), turns.ending():
        pass
