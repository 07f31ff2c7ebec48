"""The commands, their arguments and their help texts. Parses the command line; runs nothing.

Commands are rows of a table: their functions are named, not imported, so that ``gristmill list`` does not pay
for what ``gristmill run`` needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from gristmill.runtime.errors import GristmillError, cut

from ..settings import SETTINGS

PROGRAM = "gristmill"


class UsageError(GristmillError):
    """The command line cannot be understood."""


class Parser(argparse.ArgumentParser):
    """argparse, except that an error is ours to print and an option is never guessed from its beginning."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}, see '{self.prog} --help'")


@dataclass(frozen=True)
class Argument:
    """One positional argument or flag: its names, its help line, and what argparse shall do with it."""

    names: tuple[str, ...]
    help: str
    options: tuple[tuple[str, Any], ...] = ()
    hidden: bool = False
    is_true_alone: bool = False

    @property
    def is_flag(self) -> bool:
        return self.names[0].startswith("-")

    @property
    def usage(self) -> str:
        """``-f, --file FILE``"""
        metavar = dict(self.options).get("metavar", "")
        return f"{', '.join(self.names)}{'' if self.is_true_alone else ' '}{metavar}".rstrip()


def positional(name: str, **options: Any) -> Argument:
    return Argument((name,), "", tuple(options.items()))


def switch(*names: str, help: str, hidden: bool = False) -> Argument:
    return Argument(names, help, (("action", "store_true"),), hidden)


def option(*names: str, metavar: str, help: str, default: str | None = None, **options: Any) -> Argument:
    return Argument(names, help, (("metavar", metavar), ("default", default), *options.items()))


def choice(name: str, *, values: str, help: str) -> Argument:
    """A flag whose value, after ``=`` only, may be left out: then it is ``true``."""
    return Argument((name,), help, (("default", None), ("metavar", f"[={values}]")), is_true_alone=True)


HELP = switch("-h", "--help", help="Show this help")


@dataclass(frozen=True)
class Command:
    """One row: ``function`` is ``module:name`` below this package and takes the parsed arguments."""

    name: str
    usage: str
    summary: str
    function: str
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Raises UsageError."""
        parser = Parser(f"{PROGRAM} {self.name}")
        for argument in (*self.arguments, HELP):
            parser.add_argument(*argument.names, **dict(argument.options))
        if any(word in HELP.names for word in argv[: argv.index("--") if "--" in argv else None]):
            return argparse.Namespace(help=True)  # asked for help, nothing else has to be complete
        return parser.parse_intermixed_args(self._with_joined_values(argv))

    def _with_joined_values(self, argv: Sequence[str]) -> list[str]:
        """``--think`` as ``--think=true``; ``--keepalive -1s`` as ``--keepalive=-1s``, else argparse sees a flag."""
        options = {name for a in self.arguments if "metavar" in dict(a.options) for name in a.names if a.is_flag}
        true_alone = {name for a in self.arguments if a.is_true_alone for name in a.names}
        end = argv.index("--") if "--" in argv else len(argv)
        words: list[str] = []
        for word in argv[:end]:
            if word in true_alone:
                words.append(f"{word}=true")
            elif words and words[-1] in options and word[:1] == "-" and word[1:2].isdigit():
                words[-1] += f"={word}"
            else:
                words.append(word)
        return [*words, *argv[end:]]

    def help(self) -> str:
        lines = [self.summary, "", "Usage:", f"  {PROGRAM} {self.name} {self.usage}".rstrip()]
        if self.aliases:
            lines += ["", "Aliases:", f"  {', '.join((self.name, *self.aliases))}"]
        flags = [a for a in (*self.arguments, HELP) if a.is_flag and not a.hidden]
        lines += ["", "Flags:", *_aligned([(a.usage, a.help) for a in flags])]
        if self.environment:
            rows = [(row.name, row.help) for row in SETTINGS if row.name in self.environment]
            lines += ["", "Environment Variables:", *_aligned(rows)]
        return "\n".join(lines) + "\n"


_CLIENT = ("OLLAMA_HOST", "GRISTMILL_API_KEY", "GRISTMILL_TLS_CA", "GRISTMILL_CONFIG")
_MODEL = positional("model", metavar="MODEL")
_INSECURE = switch("--insecure", help="Use plain HTTP to the registry")
_PREFIX = positional("prefix", metavar="PREFIX", nargs="?", default="")

_JSON = switch("--json", help="Print JSON")
_READING = (
    option("-c", "--ctx", metavar="N", default="512", type=int, help="Tokens of a window (default 512)"),
    option("--chunks", metavar="N", default="0", type=int, help="Read only the first N windows"),
    switch("--all", help="Let windows overlap, so that every token of the text is scored"),
    option("--backend", metavar="NAME", default="auto", help="auto, cpu or reference (exact, slow)"),
)
_TEXT = positional("text", metavar="TEXT")

COMMANDS = (
    Command(
        "serve",
        "[flags]",
        "Start the server",
        "serve:serve",
        (switch("--until-stdin-closes", help="", hidden=True),),
        aliases=("start",),
        environment=tuple(row.name for row in SETTINGS if not row.client and not row.no_effect),
    ),
    Command(
        "run",
        "[MODEL | FILE.gguf] [PROMPT...] [flags]",
        "Run a model: answer a prompt, or chat (default model: smollm2)",
        "run:run",
        (
            positional("model", metavar="MODEL", nargs="?", default=None),
            positional("prompt", metavar="PROMPT", nargs="*"),
            option("--keepalive", metavar="DURATION", help="How long the model stays loaded (e.g. 5m)"),
            option("--format", metavar="FORMAT", default="", help="Format of the answer: json, or a JSON schema"),
            choice("--think", values="VALUE", help="Think first: true, false, high, medium, low or max"),
            switch("--hidethinking", help="Do not show what the model thinks"),
            switch("--verbose", help="Show timings after each answer"),
            _INSECURE,
            switch("--nowordwrap", help="Do not wrap words at the terminal's width"),
            choice("--truncate", values="BOOL", help="Embedding models: cut a text that is too long (default true)"),
            option("--dimensions", metavar="N", type=int, help="Embedding models: length of the vector"),
        ),
        environment=(*_CLIENT, "OLLAMA_MODELS", "OLLAMA_NOHISTORY", "OLLAMA_EDITOR"),
    ),
    Command(
        "create",
        "MODEL [flags]",
        "Create a model from a Modelfile",
        "create:create",
        (
            _MODEL,
            option("-f", "--file", metavar="FILE", help='Name of the Modelfile (default "Modelfile")'),
            option("-q", "--quantize", metavar="TYPE", help="Quantize the weights (e.g. q4_K_M)"),
            option("--draft-quantize", metavar="TYPE", help="Quantize the weights of the DRAFT model"),
        ),
        environment=_CLIENT,
    ),
    Command(
        "show",
        "MODEL [flags]",
        "Show information about a model",
        "show:show",
        (
            _MODEL,
            switch("--license", help="Show the license"),
            switch("--modelfile", help="Show the Modelfile"),
            switch("--parameters", help="Show the parameters"),
            switch("--template", help="Show the template"),
            switch("--system", help="Show the system message"),
            switch("-v", "--verbose", help="Show all metadata and tensors"),
        ),
        environment=_CLIENT,
    ),
    Command("stop", "MODEL [flags]", "Unload a model", "models:stop", (_MODEL,), environment=_CLIENT),
    Command("pull", "MODEL [flags]", "Pull a model from a registry", "transfer:pull", (_MODEL, _INSECURE), (), _CLIENT),
    Command("push", "MODEL [flags]", "Push a model to a registry", "transfer:push", (_MODEL, _INSECURE), (), _CLIENT),
    Command("list", "[PREFIX] [flags]", "List models", "models:list_models", (_PREFIX,), ("ls",), _CLIENT),
    Command("ps", "[PREFIX] [flags]", "List loaded models", "models:ps", (_PREFIX,), environment=_CLIENT),
    Command(
        "cp",
        "SOURCE DESTINATION [flags]",
        "Copy a model",
        "models:copy",
        (positional("source", metavar="SOURCE"), positional("destination", metavar="DESTINATION")),
        environment=_CLIENT,
    ),
    Command(
        "rm",
        "MODEL [MODEL...] [flags]",
        "Remove models",
        "models:remove",
        (positional("models", metavar="MODEL", nargs="+"),),
        environment=_CLIENT,
    ),
    Command(
        "perplexity",
        "MODEL TEXT [flags]",
        "Measure how well a model predicts the text in a file",
        "perplexity:perplexity",
        (_MODEL, _TEXT, *_READING, _JSON),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "divergence",
        "MODEL REFERENCE TEXT [flags]",
        "Measure how far a model's predictions are from a reference's",
        "divergence:divergence",
        (
            _MODEL,
            positional("reference", metavar="REFERENCE"),
            _TEXT,
            *_READING,
            option("--reference-backend", metavar="NAME", default="reference", help="Of the reference model"),
            option("--plot", metavar="FILE", help="Save a plot (png, svg, pdf)"),
            _JSON,
        ),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "imatrix",
        "MODEL TEXT [flags]",
        "Collect an importance matrix of a model from a text",
        "imatrix:imatrix",
        (
            _MODEL,
            _TEXT,
            option("-o", "--output", metavar="FILE", default="imatrix.gguf", help="(default imatrix.gguf)"),
            *_READING,
            switch("--force", help="Overwrite the file"),
        ),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "inspect",
        "FILE | MODEL [flags]",
        "Show the tensors of a model file, and their errors against another",
        "inspect:inspect",
        (
            positional("file", metavar="FILE"),
            option("--reference", metavar="FILE", help="Show each tensor's error against this file's"),
            option("--imatrix", metavar="FILE", help="Weigh the errors by an importance matrix"),
            option("--tensor", metavar="REGEX", default="", help="Only tensors whose name matches"),
            switch("--histogram", help="Show how the values are spread"),
            option("--plot", metavar="FILE", help="Save a plot of the histograms (png, svg, pdf)"),
            _JSON,
        ),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "formats",
        "[MODEL TEXT] [flags]",
        "List the weight formats, or measure what each costs a model on a text",
        "formats:formats",
        (
            positional("model", metavar="MODEL", nargs="?", default=None),
            positional("text", metavar="TEXT", nargs="?", default=None),
            option("--formats", metavar="A,B", help="Only these"),
            option("--imatrix", metavar="FILE", help="Encode with an importance matrix, where a format can"),
            *_READING,
            _JSON,
        ),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "verify",
        "[flags]",
        "Check that the stored models are whole, and that every file is what its name says",
        "verify:verify",
        (switch("--fast", help="Compare sizes only"), _JSON),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "quantize",
        "IN OUT TYPE [flags]",
        "Quantize a model file (IN: a GGUF file, a folder of safetensors, or a model)",
        "quantize:quantize",
        (
            positional("source", metavar="IN"),
            positional("target", metavar="OUT"),
            positional("type", metavar="TYPE"),
            option("--imatrix", metavar="FILE", help="Importance matrix: which columns matter most"),
            option(
                "--tensor-type",
                metavar="REGEX=TYPE",
                help="Format of tensors in whose names REGEX is found; may be repeated",
                action="append",
            ),
            option("--output-tensor-type", metavar="TYPE", help="Format of output.weight"),
            option("--token-embedding-type", metavar="TYPE", help="Format of token_embd.weight"),
            switch("--pure", help="One format for all matrices, no mix"),
            switch("--dry-run", help="Only say what would be done"),
            switch("--force", help="Replace OUT if it is there"),
            switch("--json", help="Print JSON"),
        ),
        environment=("OLLAMA_MODELS",),
    ),
    Command(
        "config",
        "[flags]",
        "Show every setting with its value and where it comes from",
        "config:config",
        (switch("--json", help="Print JSON"),),
        environment=("GRISTMILL_CONFIG",),
    ),
    Command(
        "doctor",
        "[flags]",
        "Check what this machine offers and what is missing",
        "doctor:doctor",
        environment=(*_CLIENT, "OLLAMA_MODELS"),
    ),
)


def find_command(name: str) -> Command:
    """Raises UsageError for a name that no command has."""
    for command in COMMANDS:
        if name == command.name or name in command.aliases:
            return command
    raise UsageError(f"unknown command {cut(name, 40)} for \"{PROGRAM}\", see '{PROGRAM} help'")


def usage() -> str:
    """What ``gristmill`` alone prints."""
    commands = [(command.name, command.summary) for command in COMMANDS]
    flags = [(HELP.usage, HELP.help), ("-v, --version", "Show the versions of client and server")]
    lines = [
        "Runs large language models on this machine, with the API of an Ollama server",
        "",
        "Usage:",
        f"  {PROGRAM} [flags]",
        f"  {PROGRAM} [command]",
        "",
        "Available Commands:",
        *_aligned([*commands, ("help", "Help about any command")]),
        "",
        "Flags:",
        *_aligned(flags),
        "",
        f'Use "{PROGRAM} [command] --help" for more information about a command.',
    ]
    return "\n".join(lines) + "\n"


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """``  name     text`` for each row; long options without a short form line up with the others."""
    named = [(f"    {name}" if name.startswith("--") else name, text) for name, text in rows]
    width = max(len(name) for name, _ in named)
    return [f"  {name.ljust(width)}   {text}" for name, text in named]
