"""``/set`` at the interactive prompt: everything that changes the next requests, or how their answers look."""

from __future__ import annotations

import sys

from gristmill.runtime.errors import GristmillError

from ..store.parameters import PARAMETERS, parse_parameter
from .conversation import Conversation
from .flags import THINK_LEVELS
from .line_editor import unquoted
from .repl_help import PARAMETER_HELP, SET_HELP
from .terminal import one_line, say
from .view import View


def set_variable(conversation: Conversation, view: View, rest: str) -> None:
    """``rest`` is what stands behind ``/set``. Says what was set, or how it is done right."""
    what, _, value = rest.partition(" ")
    match what:
        case "parameter":
            _set_parameter(conversation, value.split())
        case "system":
            _set_system(conversation, value)
        case "format" | "noformat":
            _set_format(conversation, what, value.strip())
        case "think" | "nothink":
            _set_think(conversation, what, value.strip())
        case "history" | "nohistory":
            view.history.is_kept = what == "history"
        case "wordwrap" | "nowordwrap":
            view.word_wrap = what == "wordwrap"
            say(f"Set '{what}' mode.")
        case "verbose" | "quiet":
            view.verbose = what == "verbose"
            say(f"Set '{what}' mode.")
        case "":
            say(SET_HELP)
        case _:
            say(f"Unknown command '/set {what}'. Type /? for help")


def _set_format(conversation: Conversation, what: str, value: str) -> None:
    if what == "format" and value != "json":
        say("Invalid or missing format. For 'json' mode use '/set format json'")
        return
    conversation.format = value if what == "format" else ""
    say(f"Set format to '{value}' mode." if what == "format" else "Disabled format.")


def _set_think(conversation: Conversation, what: str, level: str) -> None:
    if what == "nothink":
        conversation.think = False
        say("Set 'nothink' mode.")
        return
    if level and level not in THINK_LEVELS:
        say("Usage:\n  /set think [high|medium|low|max]")
        return
    conversation.think = level or True
    if not conversation.abilities.thinks:
        name = one_line(conversation.model)
        print(f'warning: model "{name}" does not support thinking output', file=sys.stderr)
    say(f"Set 'think' mode to '{level}'." if level else "Set 'think' mode.")


def _set_system(conversation: Conversation, value: str) -> None:
    if not value.strip():
        say("Usage:\n  /set system <text>")
        return
    conversation.system = unquoted(value)
    say("Set system message.")


def _set_parameter(conversation: Conversation, words: list[str]) -> None:
    if not words:
        say(PARAMETER_HELP)
        return
    name, *values = words
    if not values:
        say("Usage:\n  /set parameter <name> <value>")
        return
    try:
        parsed = [parse_parameter(name, value) for value in values]
    except GristmillError as error:
        say(f'Couldn\'t set parameter: "{error}"')
    else:
        conversation.options[name] = parsed if PARAMETERS[name] == "array" else parsed[-1]
        say(f"Set parameter '{name}' to '{', '.join(values)}'")
