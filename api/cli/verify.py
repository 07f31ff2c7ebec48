"""The ``verify`` command: whether the stored models are whole. Asks no server, changes nothing."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict

from ..store import Store
from ..store.verify import Problem, verify_store
from .address import read_settings
from .progress import Progress


def verify(arguments: Namespace) -> int:
    """The exit status is 1 where something is wrong. Raises OSError for a store that cannot be listed."""
    store = Store(read_settings().models)
    with Progress(keep=False) as progress:
        found = verify_store(
            store, fast=arguments.fast, on_progress=lambda done, total: progress.show("reading the store", done, total)
        )
    n_models = len(store.scan().names)
    if arguments.json:
        answer = {"models": n_models, "problems": [asdict(problem) for problem in found]}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        lines = [_line(problem) for problem in found] or [f"{n_models} models, nothing is wrong"]
        sys.stdout.write("\n".join(lines) + "\n")
    return 1 if found else 0


def _line(problem: Problem) -> str:
    users = f" (used by {', '.join(problem.models)}: pull or create it again)" if problem.models else ""
    return f"{problem.kind} {problem.name} {problem.what}{users}"
