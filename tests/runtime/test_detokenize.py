from hypothesis import given
from hypothesis import strategies as st

from gristmill.runtime.detokenize import TextStream


class Letters:
    """A detokenizer whose ids index a list of texts."""

    def __init__(self, texts):
        self.texts = texts

    def push(self, token_id):
        return self.texts[token_id]

    def finish(self):
        return ""


def feed(texts, stop):
    stream = TextStream(Letters(texts), stop)
    out = []
    for i in range(len(texts)):
        out.append(stream.push(i))
        if stream.stopped:
            break
    return out, stream


def test_text_before_a_stop_string_is_released_and_nothing_after_it():
    out, stream = feed(["Hello wo", "rld", " END of", " it"], ["END"])
    assert "".join(out) == "Hello world "
    assert stream.stopped
    assert stream.finish() == ""


def test_what_may_become_a_stop_string_is_held_back_until_it_cannot():
    out, stream = feed(["a<", "/", "x", "<"], ["</s>"])
    assert out == ["a", "", "</x", ""]
    assert stream.finish() == "<"


def test_the_first_of_several_stop_strings_wins():
    out, _ = feed(["one two three"], ["three", "two"])
    assert "".join(out) == "one "


@given(st.lists(st.text("ab", max_size=3), max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_streamed_text_is_the_text_up_to_the_first_complete_stop_string(texts, stop):
    out, stream = feed(texts, stop)
    whole, expected = "", None
    for text in texts:
        whole += text
        found = [whole.find(s) for s in stop if s in whole]
        if found:
            expected = whole[: min(found)]
            break
    assert stream.stopped == (expected is not None)
    assert "".join(out) + stream.finish() == (whole if expected is None else expected)
