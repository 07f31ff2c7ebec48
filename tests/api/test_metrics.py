"""GET /metrics: what is counted, under which labels, and that it is what Prometheus reads."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.service import running_service
from support.tiny_model import write_tiny_model

from gristmill.api.counters import MANY, MAX_MODELS, Metrics, TokenWatch
from gristmill.api.quick_histogram import QuickHistogram
from gristmill.api.service import SERVICE
from gristmill.runtime.errors import RunnerStopped
from gristmill.runtime.events import Finished, Piece
from gristmill.runtime.params import Usage
from gristmill.runtime.runner.client import STOPPED

GENERATE = {"model": "tiny", "prompt": "x"}


class Page:
    """A scrape. ``page[name, label, ...]`` is a sample's value, its labels' values in their names' order."""

    def __init__(self, text):
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
                assert key not in self.samples, f"{key} is there twice: Prometheus would refuse the page"
                self.samples[key] = sample.value

    def __getitem__(self, key):
        return self.samples[key if isinstance(key, tuple) else (key,)]

    def get(self, *key):
        return self.samples.get(key, 0)

    def labels(self, name):
        return {key[1:] for key in self.samples if key[0] == name}


async def until(condition):
    while not condition():  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.01)


async def scrape(api):
    status, content_type, data = await api.send("GET", "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Page(data.decode())


async def test_every_family_is_ours_and_says_what_it_is(api):
    await api.lines("/api/generate", GENERATE)
    page = await scrape(api)
    for name, family in page.families.items():
        assert name.startswith("gristmill_")
        assert family.documentation
    assert not [key for key in page.samples if key[0].endswith("_created")]
    assert page["gristmill_process_resident_memory_bytes"] > 0
    assert len(page.labels("gristmill_build_info")) == 1


async def test_requests_are_counted_by_route_and_status(api):
    await api.send("GET", "/api/tags")
    await api.send("GET", "/api/tags")
    await api.send("POST", "/api/generate", b"{")
    await api.send("HEAD", "/api/blobs/sha256:" + "0" * 64)
    await api.send("GET", "/secret/path")
    await api.send("PROPFIND", "/api/tags")
    await api.send("GET", "/", headers={"Host": "evil.example"})
    page = await scrape(api)
    requests = {key: page["gristmill_requests_total", *key] for key in page.labels("gristmill_requests_total")}
    assert requests == {
        ("GET", "/api/tags", "200"): 2,
        ("POST", "/api/generate", "400"): 1,
        ("HEAD", "/api/blobs/{digest}", "404"): 1,
        ("GET", "(none)", "404"): 1,
        ("other", "(none)", "405"): 1,
        ("GET", "/", "403"): 1,
    }
    assert page["gristmill_request_seconds_count", "/api/tags"] == 2
    assert page["gristmill_first_byte_seconds_count", "/api/tags"] == 2
    assert page["gristmill_requests_in_flight"] == 1  # the scrape


async def test_tokens_are_counted_by_model(api):
    api.runners.script = ["a", "b", "c"]
    await api.lines("/api/generate", GENERATE)
    await api.lines("/api/chat", {"model": "TINY:latest", "messages": [{"role": "user", "content": "x"}]})
    page = await scrape(api)
    name = "tiny:latest"
    assert page["gristmill_output_tokens_total", name] == 6
    assert page["gristmill_prompt_tokens_total", name] == 6  # the runner says 3 each time
    assert page["gristmill_prompt_cached_tokens_total", name] == 0
    assert page["gristmill_first_token_seconds_count", name] == 2
    assert page["gristmill_token_seconds_count", name] == 4
    assert page["gristmill_load_seconds_count", name] == 1
    assert page.labels("gristmill_output_tokens_total") == {(name,)}


async def test_models_that_do_not_exist_leave_no_label(api):
    for i in range(3):
        await api.send("POST", "/api/generate", {"model": f"none{i}", "prompt": "x"})
    page = await scrape(api)
    assert not any("none0" in key for key in page.samples)
    assert page["gristmill_requests_total", "POST", "/api/generate", "404"] == 3


async def test_running_and_waiting_requests_and_the_loaded_model(api):
    gate = asyncio.Event()
    api.runners.script = ["a", gate]
    running = [asyncio.create_task(api.send("POST", "/api/generate", GENERATE)) for _ in range(18)]  # of sixteen places
    await until(lambda: api.service.manager.n_pending == 2)
    api.runners.last.running = 16
    page = await scrape(api)
    assert page["gristmill_model_requests_running", "tiny:latest"] == 16
    assert page["gristmill_model_requests_waiting", "tiny:latest"] == 2
    assert page["gristmill_requests_pending"] == 2
    assert page["gristmill_requests_in_flight"] == 19
    assert page["gristmill_engine_sequences_running", "tiny:latest"] == 16
    assert page["gristmill_model_memory_bytes", "tiny:latest"] == 1000
    assert (page["gristmill_models_loaded"], page["gristmill_models_loading"]) == (1, 0)
    gate.set()
    await asyncio.gather(*running)
    page = await scrape(api)
    assert page["gristmill_model_requests_running", "tiny:latest"] == 0
    assert page["gristmill_requests_in_flight"] == 1


async def test_the_engines_own_figures(api):
    await api.lines("/api/generate", GENERATE)
    api.runners.last.steps = 7
    api.runners.last.figures = {"total_pages": 10, "free_pages": 6, "cached_pages": 2, "drafted_tokens": 5}
    page = await scrape(api)
    assert page["gristmill_engine_steps_total", "tiny:latest"] == 7
    assert page["gristmill_engine_drafted_tokens_total", "tiny:latest"] == 5
    pages = {state: page["gristmill_engine_pages", "tiny:latest", state] for state in ("used", "cached", "free")}
    assert pages == {"used": 4, "cached": 2, "free": 4}


async def test_a_runner_that_does_not_answer_lacks_its_engines_figures_only(api):
    await api.lines("/api/generate", GENERATE)
    api.runners.last.hangs = True
    page = await scrape(api)
    assert page["gristmill_model_memory_bytes", "tiny:latest"] == 1000
    assert not page.labels("gristmill_engine_steps_total")


async def test_two_models_of_one_name_are_one_series(api):
    await api.lines("/api/generate", GENERATE)
    (model,) = api.service.manager.models
    twin = replace(model, path=model.path.with_name("other"), expires_at=9e9)
    api.service.manager._models[twin.path] = twin
    assert (await scrape(api))["gristmill_model_memory_bytes", model.name] == 2000
    del api.service.manager._models[twin.path]


async def test_an_answer_that_breaks_off_counts_what_was_said(api):
    api.runners.script = ["a", "b", RunnerStopped(STOPPED)]
    await api.send("POST", "/api/generate", GENERATE)
    page = await scrape(api)
    assert page["gristmill_output_tokens_total", "tiny:latest"] == 2
    assert page.get("gristmill_prompt_tokens_total", "tiny:latest") == 0


async def test_a_client_that_leaves_is_counted_as_that(api):
    api.runners.script = [asyncio.Event()]
    request = asyncio.create_task(api.send("POST", "/api/generate", GENERATE))
    await until(lambda: api.runners.started and api.runners.last.prompts)
    request.cancel()
    await until(lambda: api.service.metrics.requests.labels("POST", "/api/generate", "left")._value.get())
    page = await scrape(api)
    assert page["gristmill_requests_total", "POST", "/api/generate", "left"] == 1
    assert page["gristmill_requests_in_flight"] == 1


def test_models_beyond_the_limit_are_one():
    metrics = Metrics()
    for i in range(MAX_MODELS + 50):
        metrics.loaded(f"m{i}", 1.0)
    metrics.loaded("m0", 1.0)
    page = Page(metrics.page([]).decode())
    assert len(page.labels("gristmill_load_seconds_count")) == MAX_MODELS + 1
    assert page["gristmill_load_seconds_count", MANY] == 50
    assert page["gristmill_load_seconds_count", "m0"] == 2


def test_tokens_that_come_together_share_their_time_and_the_last_ones_count():
    metrics = Metrics()
    watch = TokenWatch(metrics, "m", 0)
    watch.see(Piece(id=1, text="", tokens=[1, 2]), 5)
    watch.see(Piece(id=1, text="held back", tokens=[]), 6)
    watch.see(Piece(id=1, text="", tokens=[3, 4, 5]), 7)
    usage = Usage(prompt_tokens=9, cached_tokens=8, prompt_ns=1, output_tokens=6, output_ns=1)
    watch.see(Finished(id=1, reason="stop", usage=usage, prompt_ids=[]), 8)
    page = Page(metrics.page([]).decode())
    assert page["gristmill_output_tokens_total", "m"] == 6
    assert page["gristmill_token_seconds_count", "m"] == 3
    assert page["gristmill_first_token_seconds_count", "m"] == 1
    assert (page["gristmill_prompt_tokens_total", "m"], page["gristmill_prompt_cached_tokens_total", "m"]) == (9, 8)


def test_a_real_engine_reports_pages_and_cached_prefixes(tmp_path):
    gguf = write_tiny_model(tmp_path / "tiny.gguf", context=512)
    prompt = {"model": "tiny", "prompt": "word " * 60, "raw": True, "stream": False, "options": {"num_predict": 4}}
    with running_service(tmp_path / "models") as service:
        service.create("tiny", gguf)
        first, second = (service.json("POST", "/api/generate", prompt) for _ in range(2))
        status, data = service.request("GET", "/metrics")
    assert status == 200
    page, name = Page(data.decode()), "tiny:latest"
    n_prompt = first["prompt_eval_count"] + second["prompt_eval_count"]
    assert page["gristmill_prompt_tokens_total", name] == n_prompt
    assert 0 < page["gristmill_prompt_cached_tokens_total", name] < n_prompt
    assert page["gristmill_output_tokens_total", name] == first["eval_count"] + second["eval_count"]
    assert page["gristmill_engine_pages", name, "cached"] > 0
    assert page["gristmill_engine_steps_total", name] > 0
    assert page["gristmill_model_memory_bytes", name] > 1 << 20


@pytest.mark.parametrize("path", ["/metrics", "/api/health", "/api/health/ready"])
async def test_the_service_has_them_in_its_routes(api, path):
    assert api.client.server.app[SERVICE] is api.service
    status, _, _ = await api.send("GET", path)
    assert status == 200


def test_the_quick_histogram_shows_what_the_librarys_does():
    bounds = (0.125, 0.25, 1.0, 2.5)
    values = [(0.0, 1), (0.125, 2), (0.1875, 3), (1.0, 1), (2.5, 4), (2.75, 5), (99.0, 1)]  # whose sums are exact
    quick, slow = CollectorRegistry(), CollectorRegistry()
    ours = QuickHistogram("x_seconds", "Text", "model", bounds, quick)
    theirs = Histogram("x_seconds", "Text", ["model"], buckets=bounds, registry=slow)
    for name, (value, n) in itertools.product(("a", "b"), values):
        ours.of(name).observe(value, n)
        for _ in range(n):
            theirs.labels(name).observe(value)
    shown = [line for line in generate_latest(slow).decode().splitlines() if "_created" not in line]
    assert generate_latest(quick).decode().splitlines() == shown
