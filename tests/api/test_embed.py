import pytest


async def test_one_text_gives_one_vector_and_figures(api):
    answer = await api.json("/api/embed", {"model": "tiny", "input": "text"})
    assert list(answer)[:2] == ["model", "embeddings"]
    assert answer["embeddings"] == [[0.6, 0.8, 0.0]], "floats of 32 bits in their shortest form"
    assert answer["prompt_eval_count"] == 4
    assert answer["total_duration"] > 0
    assert answer["load_duration"] > 0


async def test_each_input_has_its_vector(api):
    answer = await api.json("/api/embed", {"model": "tiny", "input": ["a", "", "ccc"], "truncate": False})
    assert len(answer["embeddings"]) == 3
    assert api.runners.last.embedded == [(["a", "", "ccc"], False)]


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_without_input_the_model_is_loaded(api, given):
    assert await api.json("/api/embed", {"model": "tiny", **given}) == {"model": "tiny", "embeddings": []}
    assert api.runners.last.embedded == []


@pytest.mark.parametrize("given", [5, {"a": 1}, ["a", 1], [["a"]], [[]], [1, -1], [True], [1.5], [[1], "a"]])
async def test_other_inputs_are_refused(api, given):
    assert await api.error("/api/embed", {"model": "tiny", "input": given}) == (400, "invalid input type")


async def test_token_ids_are_taken_as_they_are(api):
    await api.json("/api/embed", {"model": "tiny", "input": [1, 2]})
    await api.json("/api/embed", {"model": "tiny", "input": [[1, 2], [3]]})
    assert [inputs for inputs, _ in api.runners.last.embedded] == [[[1, 2]], [[1, 2], [3]]]


@pytest.mark.parametrize(("dimensions", "vector"), [(1, [1.0]), (2, [0.6, 0.8]), (3, [0.6, 0.8, 0.0]), (-1, None)])
async def test_fewer_dimensions_have_length_one_again(api, dimensions, vector):
    answer = await api.json("/api/embed", {"model": "tiny", "input": "x", "dimensions": dimensions})
    assert answer["embeddings"][0] == pytest.approx(vector or [0.6, 0.8, 0.0])


async def test_too_many_inputs_are_refused(api):
    status, text = await api.error("/api/embed", {"model": "tiny", "input": ["x"] * 16_385})
    assert status == 400
    assert text.startswith("input: 16385 texts")


async def test_a_text_that_is_too_long_is_the_callers_error_without_truncate(api):
    body = {"model": "tiny", "input": "x" * 5000, "truncate": False}
    assert await api.error("/api/embed", body) == (400, "the input length exceeds the context length")


@pytest.mark.parametrize(
    ("path", "model", "error"),
    [
        ("/api/embed", "", (404, "model '' not found")),
        ("/api/embed", "no", (404, 'model "no" not found, try pulling it first')),
        ("/api/embeddings", "", (400, "model is required")),
        ("/api/embeddings", "no", (404, 'model "no" not found, try pulling it first')),
    ],
)
async def test_models_that_are_not_there(api, path, model, error):
    assert await api.error(path, {"model": model}) == error


async def test_the_older_form(api):
    assert await api.json("/api/embeddings", {"model": "tiny", "prompt": "x"}) == {
        "embedding": pytest.approx([0.6, 0.8, 0.0])
    }
    assert await api.json("/api/embeddings", {"model": "tiny", "prompt": ""}) == {"embedding": []}
    status, _ = await api.error("/api/embeddings", {"model": "tiny", "prompt": "x" * 5000})
    assert status == 400
