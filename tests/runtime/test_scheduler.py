"""Who advances by how much, who waits, and who loses pages: without a model."""

import pytest

from gristmill.runtime.pages import PagePool
from gristmill.runtime.scheduler import Scheduler
from gristmill.runtime.sequence import Sequence
from gristmill.runtime.states import NONE, StatePool


class FixedPace:
    def prompt_tokens(self, n_decoding):
        return 10 if n_decoding else 1000


def make(n_pages=100, page_size=4, budget=20, max_running=8, states=None):
    pool = PagePool(n_pages, page_size)
    return Scheduler(pool, token_budget=budget, max_running=max_running, pace=FixedPace(), states=states)


def add(scheduler, n_tokens, first=0):
    seq = Sequence(
        id=scheduler._n_arrived,
        tokens=list(range(first, first + n_tokens)),
        max_tokens=100,
        sampling=None,
        sampler=None,
        text=None,
    )
    scheduler.add(seq)
    return seq


def run(scheduler, plan=None):
    """Computes a plan; whoever has caught up draws a token."""
    plan = scheduler.schedule() if plan is None else plan
    for seq, n in plan:
        scheduler.advance(seq, n)
        if not seq.n_behind:
            seq.append(1000 + seq.n_output)
    scheduler.pool.check_integrity([s.pages for s in scheduler.running])
    scheduler.states.check_integrity(s.state for s in scheduler.running)
    return {seq.id: n for seq, n in plan}


def test_streams_go_first_and_prompts_get_what_the_pace_allows():
    scheduler = make()
    add(scheduler, 3)
    run(scheduler)
    add(scheduler, 50, first=100)
    assert run(scheduler) == {0: 1, 1: 10}


def test_a_prompt_alone_gets_the_whole_budget():
    scheduler = make()
    add(scheduler, 50)
    assert [run(scheduler) for _ in range(3)] == [{0: 20}, {0: 20}, {0: 10}]


def test_the_oldest_prompt_gets_half_and_the_shortest_the_rest():
    scheduler = make()
    for n, first in ((50, 0), (40, 100), (6, 200)):
        add(scheduler, n, first)
    assert run(scheduler) == {0: 10, 2: 6, 1: 4}


def test_a_prompt_that_another_is_computing_is_waited_for_and_found():
    scheduler = make(budget=100)
    add(scheduler, 18)
    add(scheduler, 17)
    assert run(scheduler) == {0: 18}
    assert run(scheduler) == {0: 1, 1: 1}
    assert scheduler.n_cached_tokens == 16
    assert scheduler.running[0].pages[:4] == scheduler.running[1].pages[:4]


def test_a_second_turn_computes_only_what_is_new():
    scheduler = make(budget=100)
    seq = add(scheduler, 20)
    for _ in range(5):
        run(scheduler)
    tokens = [*seq.tokens, 7, 8, 9]
    scheduler.remove(seq)
    again = add(scheduler, 0)
    again.tokens = tokens
    assert run(scheduler) == {1: 4}
    assert again.n_cached == 24


def test_the_last_token_of_a_prompt_is_always_computed():
    scheduler = make()
    scheduler.remove(_computed(scheduler, 16))
    add(scheduler, 16)
    assert run(scheduler) == {1: 4}


def _computed(scheduler, n):
    seq = add(scheduler, n)
    while seq.n_behind or not seq.n_computed:
        plan = scheduler.schedule()
        for s, count in plan:
            scheduler.advance(s, count)
    return seq


def test_the_youngest_gives_its_pages_to_the_others_and_comes_back():
    scheduler = make(n_pages=6, page_size=4, budget=100)
    old, young = add(scheduler, 8), add(scheduler, 7, first=100)
    for _ in range(30):
        run(scheduler)
        if young in scheduler.waiting:
            break
    assert scheduler.n_preempted == 1
    assert old in scheduler.running
    assert (young.n_computed, young.pages) == (0, [])
    said = list(young.tokens)
    scheduler.remove(old)
    run(scheduler)
    assert young in scheduler.running
    assert young.tokens[: len(said)] == said


@pytest.mark.parametrize("n_running", [2, 5])
def test_everyone_gets_to_the_end_of_a_pool_for_one(n_running):
    scheduler = make(n_pages=10, page_size=4, budget=16)
    sequences = [add(scheduler, 10, first=100 * i) for i in range(n_running)]
    for _ in range(2000):
        run(scheduler)
        for seq in [s for s in sequences if len(s.tokens) >= 40]:
            scheduler.remove(seq)
            sequences.remove(seq)
        if not sequences:
            break
    assert sequences == [], "somebody starves"
    assert scheduler.n_preempted > 0


def test_no_more_than_max_running_and_first_come_first_served():
    scheduler = make(max_running=2, budget=100)
    for i in range(4):
        add(scheduler, 5, first=100 * i)
    assert list(run(scheduler)) == [0, 1]
    scheduler.remove(scheduler.running[0])
    assert set(run(scheduler)) == {1, 2}


def test_a_draft_is_computed_with_the_token_before_it():
    scheduler = make()
    seq = _computed(scheduler, 8)
    seq.append(1)
    seq.draft = [2, 3, 4]
    assert [n for _, n in scheduler.schedule()] == [4]
    assert len(seq.pages) * 4 >= 12


def test_a_state_goes_with_its_sequence_and_comes_back():
    scheduler = make(states=StatePool(2, 0))
    seq = add(scheduler, 9)
    run(scheduler)
    row = seq.state
    assert row != NONE
    run(scheduler)
    assert seq.state == row
    scheduler.remove(seq)
    assert seq.state == NONE
    scheduler.states.check_integrity([])


def test_prompts_are_cut_where_a_snapshot_can_be_taken():
    scheduler = make(budget=30, states=StatePool(2, 8))
    seq = add(scheduler, 121)
    assert [run(scheduler) for _ in range(5)] == [{0: 28}, {0: 28}, {0: 28}, {0: 28}, {0: 9}]
    assert scheduler.states.n_snapshots == 4
    assert seq.state != NONE


def test_short_prompts_are_not_cut():
    scheduler = make(budget=100, states=StatePool(2, 8))
    add(scheduler, 50)
    assert run(scheduler) == {0: 50}


def test_pages_without_a_snapshot_are_computed_again():
    scheduler = make(budget=200, max_running=8, states=StatePool(8, 8))
    tokens = add(scheduler, 101).tokens
    run(scheduler)
    scheduler.remove(scheduler.running[0])
    assert scheduler.states.n_snapshots == 1  # after 100 tokens
    again = add(scheduler, 0)
    again.tokens = [*tokens[:90], 7, 8, 9]
    assert run(scheduler) == {1: 92}
    other = add(scheduler, 0)
    other.tokens = [*tokens[:100], 7, 8, 9]
    assert run(scheduler)[2] == 3
    assert other.n_cached == 100


def test_an_answer_leaves_its_newest_state_to_the_next_turn():
    scheduler = make(budget=200, states=StatePool(2, 8))
    seq = add(scheduler, 6)
    for _ in range(9):
        run(scheduler)
    assert scheduler.states.n_snapshots == 1
    scheduler.remove(seq)
    again = add(scheduler, 0)
    again.tokens = [*seq.tokens[:14], 7, 8]
    run(scheduler)
    assert again.n_cached == 12


def test_who_loses_its_pages_loses_its_state():
    scheduler = make(n_pages=6, page_size=4, budget=100, states=StatePool(2, 2))
    old, young = add(scheduler, 8), add(scheduler, 7, first=100)
    for _ in range(30):
        run(scheduler)
        if young in scheduler.waiting:
            break
    assert young.state == NONE
    assert old.state != NONE
