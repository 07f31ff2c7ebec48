"""The slash commands of the interactive prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gristmill.runtime.errors import GristmillError

from . import answer, human, models, show
from .abilities import Abilities
from .client import Client, ServerError
from .conversation import Conversation
from .create import create_model
from .progress import Progress
from .repl_help import HELP, PARAMETER_HELP, SET_HELP, SHORTCUTS, SHOW_HELP
from .repl_set import set_variable
from .terminal import say
from .view import View


class Leave(Exception):
    """The user wants to go."""


class Commands:
    """Runs one command line after another on a conversation; prints what they say on standard output."""

    def __init__(self, client: Client, conversation: Conversation, view: View) -> None:
        self._client = client
        self._conversation = conversation
        self._view = view

    def run(self, line: str) -> None:
        """``line`` starts with a slash. Raises Leave, GristmillError."""
        name, _, rest = line.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/set": self._set,
            "/show": self._show,
            "/load": self._load,
            "/save": self._save,
            "/list": self._list,
            "/ls": self._list,
            "/clear": self._clear,
            "/bye": self._leave,
            "/exit": self._leave,
            "/?": self._help,
            "/help": self._help,
        }
        command = commands.get(name)
        if command is None:
            say(f"Unknown command '{name}'. Type /? for help")
        else:
            command(rest.strip())

    def load_model(self) -> None:
        """Loads the conversation's model and shows the messages stored in it. Raises GristmillError."""
        conversation = self._conversation
        answer.load_model(self._client, conversation.model, conversation.keep_alive)
        facts = self._facts()
        conversation.abilities = Abilities.of(facts)
        for message in facts.get("messages") or []:
            prompt = ">>> " if message["role"] == "user" else ""
            say(f"{prompt}{message['content']}")
            if not prompt:
                say()

    def _facts(self) -> dict[str, Any]:
        return self._client.post("/api/show", {"model": self._conversation.model})

    def _leave(self, _: str) -> None:
        raise Leave

    def _help(self, topic: str) -> None:
        topics = {
            "set": SET_HELP,
            "set parameter": PARAMETER_HELP,
            "show": SHOW_HELP,
            "shortcut": SHORTCUTS,
            "shortcuts": SHORTCUTS,
        }
        say(topics.get(topic.removeprefix("/"), HELP))

    def _clear(self, _: str) -> None:
        self._conversation.clear()
        say("Cleared session context")

    def _list(self, prefix: str) -> None:
        say(models.list_table(self._client, prefix), end="")

    def _load(self, name: str) -> None:
        if not name:
            say("Usage:\n  /load <model>")
            return
        before = self._conversation.model
        say(f"Loading model '{name}'")
        self._conversation.model = name
        try:
            self.load_model()
        except GristmillError as error:
            self._conversation.model = before
            if not isinstance(error, ServerError) or error.status != 404:
                raise
            say(f"Couldn't find model '{name}'")
        else:
            self._conversation.clear()

    def _set(self, rest: str) -> None:
        set_variable(self._conversation, self._view, rest)

    def _save(self, name: str) -> None:
        """A new model from the present one, with what was set and all that was said."""
        if not name:
            say("Usage:\n  /save <modelname>")
            return
        conversation = self._conversation
        body: dict[str, Any] = {
            "model": name,
            "from": conversation.model,
            "system": conversation.system,
            "parameters": conversation.options,
            "messages": [*(self._facts().get("messages") or []), *conversation.messages],
        }
        try:
            with Progress(keep=False) as progress:
                create_model(self._client, {key: value for key, value in body.items() if value}, progress)
        except ServerError as error:
            if "invalid model name" not in str(error):
                raise
            say(f"error: The model name '{name}' is invalid")
        else:
            say(f"Created new model '{name}'")

    def _show(self, what: str) -> None:
        facts = self._facts() if what else {}
        match what:
            case "info":
                say(show.describe(facts), end="")
            case "license":
                say(facts.get("license") or "No license was specified for this model.")
            case "modelfile":
                say(facts.get("modelfile", ""))
            case "parameters":
                self._show_parameters(facts.get("parameters", ""))
            case "system":
                text = self._conversation.system or facts.get("system")
                say(f"{text}\n" if text else "No system message was specified for this model.")
            case "template":
                say(facts.get("template") or "No prompt template was specified for this model.")
            case "":
                say(SHOW_HELP)
            case _:
                say(f"Unknown command '/show {what}'. Type /? for help")

    def _show_parameters(self, of_model: str) -> None:
        lines = of_model.splitlines() or ["No additional parameters were specified for this model."]
        say("Model defined parameters:")
        for line in lines:
            say(f"  {line}")
        say()
        if self._conversation.options:
            say("User defined parameters:")
            for name, value in self._conversation.options.items():
                say(f"  {name:<30} {_value_text(value)}")
            say()


def _value_text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return human.go_number(value) if isinstance(value, float) else str(value)
