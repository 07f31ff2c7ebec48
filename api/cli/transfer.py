"""The ``pull`` and ``push`` commands: one request, and bars for what it says."""

from __future__ import annotations

from argparse import Namespace

from gristmill.runtime.errors import GristmillError

from ..store import Name
from .client import Client, open_client
from .progress import Progress

_HOSTS = (".ollama.ai", ".ollama.com")  # whose models have pages at the address below
_PAGES = "https://ollama.com/"


def pull(arguments: Namespace) -> int:
    pull_model(open_client(), arguments.model, insecure=arguments.insecure)
    return 0


def push(arguments: Namespace) -> int:
    _transfer(open_client(), "/api/push", arguments.model, arguments.insecure)
    print(f"\nYou can find your model at:\n\n\t{model_page(Name.parse(arguments.model))}")
    return 0


def pull_model(client: Client, model: str, *, insecure: bool = False) -> None:
    """Has the server pull a model and shows how far it is. Raises GristmillError."""
    _transfer(client, "/api/pull", model, insecure)


def model_page(name: Name) -> str:
    """Where people find the model that ``name`` was pushed to."""
    if name.host.endswith(_HOSTS):
        return _PAGES + f"{name.namespace}/{name.model}:{name.tag}".removesuffix(":latest")
    return name.full


def _transfer(client: Client, path: str, model: str, insecure: bool) -> None:
    status = ""
    body = {"model": model, **({"insecure": True} if insecure else {})}
    with Progress() as progress:
        for item in client.stream(path, body):
            status = str(item.get("status", ""))
            if "digest" not in item or item.get("completed"):
                progress.show(status, item.get("completed"), item.get("total"))
    if status != "success":
        raise GristmillError("the server did not say whether it has finished")
