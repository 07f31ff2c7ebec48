"""docs/cli.md names every command, flag, slash command and variable."""

import re
from pathlib import Path

import pytest

from gristmill.api.cli import args, repl_help

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("command", args.COMMANDS, ids=lambda command: command.name)
def test_every_command_and_flag_is_on_the_page(command):
    flags = [argument for argument in command.arguments if argument.is_flag and not argument.hidden]
    for name in (command.name, *command.aliases, *(name for flag in flags for name in flag.names)):
        assert re.search(rf"`{re.escape(name)}[ `\[]", PAGE), name


def test_every_slash_command_is_on_the_page():
    texts = repl_help.HELP + repl_help.SET_HELP + repl_help.SHOW_HELP
    commands = re.findall(r"^  (/[a-z]+(?: [a-z]+)?)", texts, re.MULTILINE)
    assert {"/set", "/save", "/set think", "/show template"} <= set(commands)
    for command in commands:
        assert re.search(rf"`{command}[ `]", PAGE), command
