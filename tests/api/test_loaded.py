"""Places in a model: turns by client, and nothing lost when somebody leaves."""

import asyncio
import random

import pytest

from gristmill.api.loaded import Places


async def start(places, order, client, name):
    async def hold():
        await places.acquire(client)
        order.append(name)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0)
    return task


async def test_clients_take_turns_and_each_ones_requests_keep_their_order():
    places, order = Places(1), []
    waiting = [("greedy", f"g{i}") for i in range(4)] + [("other", "o0"), ("third", "t0"), ("other", "o1")]
    tasks = [await start(places, order, client, name) for client, name in waiting]
    for _ in waiting[1:]:
        places.release()
        await asyncio.sleep(0)
    assert order == ["g0", "g1", "o0", "t0", "g2", "o1", "g3"]
    await asyncio.gather(*tasks)


async def test_who_leaves_gives_up_its_turn_even_if_it_just_came():
    places, order = Places(1), []
    tasks = [await start(places, order, client, client) for client in "abcd"]
    tasks[1].cancel()
    places.release()  # c has it
    tasks[2].cancel()  # and leaves before it runs
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["a", "d"]
    places.release()
    assert (places.n_free, places.n_waiting) == (1, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_no_place_is_ever_lost_or_made_up(seed):
    rng, places, inside = random.Random(seed), Places(3), 0

    async def request():
        nonlocal inside
        await places.acquire(rng.choice("abc"))
        inside += 1
        assert inside <= 3
        try:
            await asyncio.sleep(rng.random() / 100)
        finally:
            inside -= 1
            places.release()

    tasks = [asyncio.create_task(request()) for _ in range(100)]
    for task in rng.sample(tasks, 40):
        await asyncio.sleep(rng.random() / 500)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (places.n_free, places.n_waiting) == (3, 0)
