"""How much prompt goes beside running streams, from made-up times."""

from gristmill.runtime.pace import FIRST_GUESS, LEAST, LONGEST_S, PATIENCE, Pace


def learned(decode_s, token_s, n_decoding=4):
    pace = Pace()
    for _ in range(30):
        pace.observe(n_decoding, 0, decode_s)
        pace.observe(n_decoding, 100, decode_s + 100 * token_s)
    return pace


def test_nothing_known_gives_a_careful_guess():
    assert Pace().prompt_tokens(0) == Pace().prompt_tokens(1) == FIRST_GUESS


def test_a_step_takes_no_longer_than_the_streams_patience():
    pace = learned(decode_s=0.010, token_s=0.0004)
    n = pace.prompt_tokens(4)
    assert 0.010 + n * 0.0004 <= PATIENCE * 0.010 * 1.01
    assert 0.010 + (n + 1) * 0.0004 >= PATIENCE * 0.010 * 0.95


def test_there_is_always_progress():
    assert learned(decode_s=0.001, token_s=0.1).prompt_tokens(4) == LEAST


def test_the_nearest_known_number_of_streams_counts():
    pace = learned(decode_s=0.010, token_s=0.0004, n_decoding=2)
    pace.observe(16, 0, 0.040)
    assert pace.prompt_tokens(3) == pace.prompt_tokens(2) < pace.prompt_tokens(15) == pace.prompt_tokens(16)


def test_prompts_alone_teach_too_and_one_slow_step_changes_little():
    pace = learned(decode_s=0.010, token_s=0.0004)
    before = pace.prompt_tokens(4)
    pace.observe(0, 512, 512 * 0.0004)
    pace.observe(4, 0, 0.100)
    assert before <= pace.prompt_tokens(4) < 4 * before


def test_a_prompt_alone_takes_what_a_second_holds():
    assert abs(learned(decode_s=0.010, token_s=0.0004).prompt_tokens(0) * 0.0004 - LONGEST_S) < 0.1
    assert learned(decode_s=5.0, token_s=0.5).prompt_tokens(0) == LEAST
