"""The command line: what is understood, what is refused, and the help texts."""

import pytest

from gristmill.api.cli import args, main


def parse(*argv):
    return args.find_command(argv[0]).parse(argv[1:])


@pytest.mark.parametrize(
    ("argv", "model", "prompt"),
    [
        (["run"], None, []),
        (["run", "m"], "m", []),
        (["run", "m", "why", "is"], "m", ["why", "is"]),
        (["run", "m", "--verbose", "why", "is"], "m", ["why", "is"]),
        (["run", "--verbose", "m", "why"], "m", ["why"]),
        (["run", "m", "why", "--verbose"], "m", ["why"]),
        (["run", "m", "-5 + 3?"], "m", ["-5 + 3?"]),
        (["run", "m", "--", "--verbose"], "m", ["--verbose"]),
        (["run", "m", "--think", "why"], "m", ["why"]),
        (["run", "m", "--", "--think"], "m", ["--think"]),
        (["run", "m", "--", "--keepalive", "-1s"], "m", ["--keepalive", "-1s"]),
    ],
)
def test_run_takes_flags_anywhere(argv, model, prompt):
    arguments = parse(*argv)
    assert (arguments.model, arguments.prompt) == (model, prompt)


def test_run_takes_its_flags():
    arguments = parse("run", "m", "--keepalive", "5m", "--nowordwrap")
    assert (arguments.keepalive, arguments.nowordwrap, arguments.verbose) == ("5m", True, False)


@pytest.mark.parametrize(
    ("argv", "think"), [([], None), (["--think"], "true"), (["--think=high"], "high"), (["--think=false"], "false")]
)
def test_a_value_may_be_left_out_or_stand_behind_an_equals_sign(argv, think):
    assert parse("run", "m", *argv, "high").think == think
    assert parse("run", "m", *argv, "high").prompt == ["high"]


@pytest.mark.parametrize(("alias", "name"), [("ls", "list"), ("start", "serve")])
def test_aliases_are_the_same_command(alias, name):
    assert args.find_command(alias) is args.find_command(name)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["frobnicate"], 'unknown command "frobnicate" for "gristmill", see \'gristmill help\''),
        (["show"], "the following arguments are required: MODEL, see 'gristmill show --help'"),
        (["list", "--nonsense"], "unrecognized arguments: --nonsense, see 'gristmill list --help'"),
        (["list", "a", "b"], "unrecognized arguments: b, see 'gristmill list --help'"),
        (["show", "m", "--verb"], "unrecognized arguments: --verb, see 'gristmill show --help'"),
        (["help", "frobnicate"], 'unknown command "frobnicate" for "gristmill", see \'gristmill help\''),
    ],
)
def test_a_bad_command_line_is_one_line_and_status_1(argv, text, capsys):
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"Error: {text}\n")


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"], ["-h"]])
def test_alone_it_prints_usage(argv, capsys):
    assert main(argv) == 0
    assert capsys.readouterr().out == args.usage()


@pytest.mark.parametrize("name", [command.name for command in args.COMMANDS])
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    by_flag = capsys.readouterr().out
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == by_flag
    assert f"gristmill {name}" in by_flag
    assert "Environment Variables:" in by_flag
    assert "until-stdin-closes" not in by_flag
    assert name in args.usage()


def test_help_of_a_command_to_the_letter():
    assert args.find_command("list").help() == (
        "List models\n\n"
        "Usage:\n  gristmill list [PREFIX] [flags]\n\n"
        "Aliases:\n  list, ls\n\n"
        "Flags:\n  -h, --help   Show this help\n\n"
        "Environment Variables:\n"
        "  OLLAMA_HOST         Address of the server, or unix:///path of a socket (default 127.0.0.1:11434)\n"
        "  GRISTMILL_API_KEY   The key that client commands send\n"
        "  GRISTMILL_TLS_CA    Authority (PEM) that client commands trust as well\n"
        "  GRISTMILL_CONFIG    The file of settings (default ~/.config/gristmill/config.toml)\n"
    )


def test_the_help_of_run_names_every_flag_and_the_prompts_variables():
    text = args.find_command("run").help()
    for words in (
        "--keepalive DURATION",
        "--format FORMAT",
        "--think[=VALUE]",
        "--hidethinking",
        "--verbose",
        "--nowordwrap",
        "--truncate[=BOOL]",
        "--dimensions N",
        "OLLAMA_EDITOR",
        "OLLAMA_NOHISTORY",
    ):
        assert f" {words} " in text
    assert "OLLAMA_EDITOR" not in args.find_command("serve").help()
