"""How long from `run` to the first token, and how much memory does a loaded model take?

    python benchmarks/bench_first_token.py [--model smollm2] [--host 127.0.0.1:11434] [--runs 9]

Talks to a running server (any with Ollama's API: name another with --versus HOST to alternate the two in one run).
The model is loaded first. Each run sends a new 20-word prompt with streaming and measures the time to the first
line that holds text. Memory is `size` of /api/ps, with the whole KV cache. The limit of decoding is
the machine's read bandwidth, measured in the same run, over the size of the model's file: each token reads all
weights once. Prints a table and a final JSON line; ratios and medians are what to quote.
"""

from __future__ import annotations

import argparse
import http.client
import json
import platform
import random
import statistics
import sys
import time

WORDS = ("river", "mill", "stone", "grain", "flour", "wheel", "water", "autumn", "bread", "village", "bridge", "winter")


def post(host: str, path: str, body: dict[str, object]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(host, timeout=600)
    connection.request("POST", path, json.dumps(body))
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"{host}{path}: {response.status} {response.read().decode()}")
    return response


def run_once(host: str, model: str, seed: int) -> tuple[float, float]:
    """(seconds to the first text, tokens per second after it)"""
    rng = random.Random(seed)
    prompt = "Write about: " + " ".join(rng.choice(WORDS) for _ in range(18))
    body = {"model": model, "prompt": prompt, "options": {"temperature": 0, "num_predict": 32}}
    start = time.perf_counter()
    first, last = 0.0, {}
    for line in post(host, "/api/generate", body):
        last = json.loads(line)
        if last.get("response") and not first:
            first = time.perf_counter() - start
    return first, last["eval_count"] / last["eval_duration"] * 1e9


def resident(host: str, model: str) -> int:
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/api/ps")
    loaded = json.loads(connection.getresponse().read())["models"]
    return next(m["size"] for m in loaded if m["name"].split(":")[0] == model.split(":")[0])


def file_bytes(host: str, model: str) -> int:
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/api/tags")
    stored = json.loads(connection.getresponse().read())["models"]
    return next(m["size"] for m in stored if m["name"].split(":")[0] == model.split(":")[0])


def read_bandwidth() -> float:
    """Bytes per second that all cores together read from memory, the best of some passes over 512 MB."""
    import torch

    data = torch.ones(1 << 27)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        data.sum()
        times.append(time.perf_counter() - start)
    return data.numel() * 4 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--host", default="127.0.0.1:11434")
    parser.add_argument("--versus", help="another server, measured in alternation")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    hosts = [args.host, *([args.versus] if args.versus else [])]
    print(f"{platform.platform()}, Python {platform.python_version()}, model {args.model}, {args.runs} runs")
    for host in hosts:
        post(host, "/api/generate", {"model": args.model, "stream": False}).read()
        run_once(host, args.model, 0)
    samples: dict[str, list[tuple[float, float]]] = {host: [] for host in hosts}
    for i in range(args.runs):
        for host in hosts:
            samples[host].append(run_once(host, args.model, i + 1))
    print(f"{'server':24}{'first token, s':>16}{'min':>8}{'max':>8}{'decode, tok/s':>16}{'memory, MB':>12}")
    result = {}
    for host in hosts:
        first = [s[0] for s in samples[host]]
        speed, memory = statistics.median(s[1] for s in samples[host]), resident(host, args.model)
        print(
            f"{host:24}{statistics.median(first):16.3f}{min(first):8.3f}{max(first):8.3f}"
            f"{speed:16.1f}{memory / 1e6:12.0f}"
        )
        result[host] = {"first_token_s": statistics.median(first), "decode_tok_s": speed, "memory_bytes": memory}
    bandwidth = read_bandwidth()
    limit = bandwidth / file_bytes(args.host, args.model)
    share = result[args.host]["decode_tok_s"] / limit
    print(f"limit of decoding: {bandwidth / 1e9:.1f} GB/s are {limit:.0f} tok/s; reached: {share:.0%}")
    if args.versus:
        ratio = result[args.host]["first_token_s"] / result[args.versus]["first_token_s"]
        print(f"first token, ratio {args.host} / {args.versus}: {ratio:.2f}")
    print(json.dumps({"benchmark": "first_token", "model": args.model, "limit_tok_s": limit, "servers": result}))


if __name__ == "__main__":
    main()
