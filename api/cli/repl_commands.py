"""The slash commands of the interactive prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gristmill.runtime.errors import GristmillError

from ..store.parameters import PARAMETERS, parse_parameter
from . import answer, models, show, terminal
from .client import Client, ServerError
from .conversation import Conversation
from .line_editor import unquoted
from .repl_help import HELP, SET_HELP, SHORTCUTS, SHOW_HELP


def _say(text: str = "", end: str = "\n") -> None:
    """Prints for a terminal: much of it comes from models."""
    print(terminal.printable(text), end=end)


class Leave(Exception):
    """The user wants to go."""


class KeptHistory(Protocol):
    """Whether new messages are remembered."""

    is_kept: bool


@dataclass
class View:
    """How answers are shown, and the history that ``/set`` switches."""

    history: KeptHistory
    word_wrap: bool = True
    verbose: bool = False


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
            _say(f"Unknown command '{name}'. Type /? for help")
        else:
            command(rest.strip())

    def load_model(self) -> None:
        """Loads the conversation's model and shows the messages stored in it. Raises GristmillError."""
        conversation = self._conversation
        answer.load_model(self._client, conversation.model, conversation.keep_alive)
        for message in self._facts().get("messages") or []:
            prompt = ">>> " if message["role"] == "user" else ""
            _say(f"{prompt}{message['content']}")
            if not prompt:
                _say()

    def _facts(self) -> dict[str, Any]:
        return self._client.post("/api/show", {"model": self._conversation.model})

    def _leave(self, _: str) -> None:
        raise Leave

    def _help(self, topic: str) -> None:
        topics = {"set": SET_HELP, "show": SHOW_HELP, "shortcut": SHORTCUTS, "shortcuts": SHORTCUTS}
        _say(topics.get(topic.removeprefix("/"), HELP))

    def _clear(self, _: str) -> None:
        self._conversation.clear()
        _say("Cleared session context")

    def _list(self, prefix: str) -> None:
        _say(models.list_table(self._client, prefix), end="")

    def _load(self, name: str) -> None:
        if not name:
            _say("Usage:\n  /load <model>")
            return
        before = self._conversation.model
        _say(f"Loading model '{name}'")
        self._conversation.model = name
        try:
            self.load_model()
        except GristmillError as error:
            self._conversation.model = before
            if not isinstance(error, ServerError) or error.status != 404:
                raise
            _say(f"Couldn't find model '{name}'")
        else:
            self._conversation.clear()

    def _set(self, rest: str) -> None:
        what, _, value = rest.partition(" ")
        view = self._view
        match what:
            case "parameter":
                self._set_parameter(value.split())
            case "system":
                self._set_system(value)
            case "format" | "noformat":
                self._set_format(what, value)
            case "history" | "nohistory":
                view.history.is_kept = what == "history"
            case "wordwrap" | "nowordwrap":
                view.word_wrap = what == "wordwrap"
                _say(f"Set '{what}' mode.")
            case "verbose" | "quiet":
                view.verbose = what == "verbose"
                _say(f"Set '{what}' mode.")
            case "":
                _say(SET_HELP)
            case _:
                _say(f"Unknown command '/set {what}'. Type /? for help")

    def _set_format(self, what: str, value: str) -> None:
        if what == "format" and value.strip() != "json":
            _say("Invalid or missing format. For 'json' mode use '/set format json'")
            return
        self._conversation.format = value.strip()
        _say(f"Set format to '{value.strip()}' mode." if what == "format" else "Disabled format.")

    def _set_system(self, value: str) -> None:
        if not value.strip():
            _say("Usage:\n  /set system <text>")
            return
        self._conversation.system = unquoted(value)
        _say("Set system message.")

    def _set_parameter(self, words: list[str]) -> None:
        if len(words) < 2:
            _say("Usage:\n  /set parameter <name> <value>")
            return
        name, *values = words
        try:
            parsed = [parse_parameter(name, value) for value in values]
        except GristmillError as error:
            _say(f'Couldn\'t set parameter: "{error}"')
        else:
            self._conversation.options[name] = parsed if PARAMETERS[name] == "array" else parsed[-1]
            _say(f"Set parameter '{name}' to '{', '.join(values)}'")

    def _show(self, what: str) -> None:
        facts = self._facts() if what else {}
        match what:
            case "info":
                _say(show.describe(facts), end="")
            case "license":
                _say(facts.get("license") or "No license was specified for this model.")
            case "modelfile":
                _say(facts.get("modelfile", ""))
            case "parameters":
                self._show_parameters(facts.get("parameters", ""))
            case "system":
                text = self._conversation.system or facts.get("system")
                _say(f"{text}\n" if text else "No system message was specified for this model.")
            case "template":
                _say(facts.get("template") or "No prompt template was specified for this model.")
            case "":
                _say(SHOW_HELP)
            case _:
                _say(f"Unknown command '/show {what}'. Type /? for help")

    def _show_parameters(self, of_model: str) -> None:
        lines = of_model.splitlines() or ["No additional parameters were specified for this model."]
        _say("Model defined parameters:")
        for line in lines:
            _say(f"  {line}")
        _say()
        if self._conversation.options:
            _say("User defined parameters:")
            for name, value in self._conversation.options.items():
                _say(f"  {name:<30} {', '.join(value) if isinstance(value, list) else value}")
            _say()
