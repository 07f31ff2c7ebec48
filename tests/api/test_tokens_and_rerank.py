import pytest


async def test_tokenize_and_back(api):
    answer = await api.json("/api/tokenize", {"model": "tiny", "text": "hé"})
    assert answer == {"model": "tiny", "tokens": [1, 104, 233], "count": 3}
    assert await api.json("/api/detokenize", {"model": "tiny", "tokens": answer["tokens"]}) == {
        "model": "tiny",
        "text": "\x01hé",
    }


@pytest.mark.parametrize("key", ["text", "content", "prompt"])
async def test_the_text_has_three_spellings(api, key):
    answer = await api.json("/v1/tokenize", {"model": "tiny", key: "a", "add_special": False})
    assert answer["tokens"] == [97]


async def test_pieces_are_told_with_their_bytes(api):
    answer = await api.json("/api/tokenize", {"model": "tiny", "text": "é", "add_special": False, "with_pieces": True})
    assert answer["pieces"] == [{"id": 233, "text": "é", "bytes": [195, 169]}]


@pytest.mark.parametrize("tokens", [[-1], [1.5], ["a"], [2**31], "ab"])
async def test_ids_that_are_none_are_refused(api, tokens):
    status, text = await api.error("/api/detokenize", {"model": "tiny", "tokens": tokens})
    assert status == 400
    assert text.startswith("tokens")


async def test_documents_are_ordered_by_likeness(api, monkeypatch):
    import struct

    from gristmill.runtime.runner.messages import Embedded

    await api.json("/api/embed", {"model": "tiny", "input": "load"})

    async def embed(inputs, **options):
        rows = [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.6, 0.8)]
        return Embedded(id=1, dim=2, vectors=b"".join(struct.pack("<2f", *row) for row in rows), n_tokens=[1] * 4)

    monkeypatch.setattr(api.runners.last, "embed", embed)
    body = {"model": "tiny", "query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2, "return_documents": True}
    assert await api.json("/v1/rerank", body) == {
        "object": "list",
        "model": "tiny",
        "results": [
            {"index": 1, "relevance_score": 1.0, "document": {"text": "b"}},
            {"index": 2, "relevance_score": pytest.approx(0.6), "document": {"text": "c"}},
        ],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"documents": ["a"]}, "query is required"),
        ({"query": "q"}, "documents is required: a list of texts"),
        ({"query": "q", "documents": [1]}, "documents[0]: expected str | object, got int"),
        ({"query": "q", "documents": ["a"], "top_n": -1}, "top_n: expected int >= 0"),
    ],
)
async def test_what_cannot_be_ranked(api, fields, text):
    assert await api.error("/api/rerank", {"model": "tiny", **fields}) == (400, text)
