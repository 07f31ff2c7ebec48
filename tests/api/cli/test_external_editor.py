"""Writing in another program: which one is started, and what comes back."""

import sys

import pytest

from gristmill.api.cli.external_editor import ExternalEditor
from gristmill.runtime.errors import GristmillError


@pytest.fixture
def program(tmp_path):
    """Makes an editor out of Python statements about ``path``."""

    def make(name, code):
        script = tmp_path / f"{name}.py"
        script.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\n{code}\n")
        return f"'{sys.executable}' '{script}'"

    return make


def test_the_text_is_changed_in_the_editor(program):
    command = program("upper", "path.write_text(path.read_text().upper() + '\\nmore\\n\\n')")
    assert ExternalEditor({"EDITOR": command}).edit("wörd") == "WÖRD\nmore"


def test_the_first_variable_that_is_set_names_the_editor(program):
    def says(name):
        return program(name, f"path.write_text('{name}')")

    environment = {"OLLAMA_EDITOR": says("ours"), "VISUAL": says("visual"), "EDITOR": says("editor")}
    assert ExternalEditor(environment).edit("") == "ours"
    assert ExternalEditor({**environment, "OLLAMA_EDITOR": " "}).edit("") == "visual"
    assert ExternalEditor({"EDITOR": environment["EDITOR"]}).edit("") == "editor"


def test_without_any_it_is_vi(program, monkeypatch, tmp_path):
    vi = tmp_path / "vi"
    vi.write_text('#!/bin/sh\nprintf vi > "$1"\n')
    vi.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert ExternalEditor({}).edit("") == "vi"


@pytest.mark.parametrize("command", ["/no/such/editor", "'unclosed"])
def test_an_editor_that_does_not_start_is_named(command):
    with pytest.raises(GristmillError, match=r"could not start the editor .*: set OLLAMA_EDITOR to another"):
        ExternalEditor({"EDITOR": command}).edit("")


def test_an_editor_that_fails_changes_nothing(program):
    with pytest.raises(GristmillError, match="ended with status 3: the message is as it was"):
        ExternalEditor({"EDITOR": program("fails", "sys.exit(3)")}).edit("text")
