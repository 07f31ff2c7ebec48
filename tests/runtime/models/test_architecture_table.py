"""The tables in docs/architectures.md and README.md say of every architecture what is true, and of nothing else."""

import re
import sys
from pathlib import Path

from support.golden import architecture_files

from gristmill.runtime import architectures

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "architectures.md"
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| \[(?P<file>[^]]+)\]\((?P<link>[^)]+)\) \|.*\| (?P<tested>[^|]*) \|$", re.M)


def rows():
    return {row["name"]: row for row in ROW.finditer(DOCS.read_text())}


def test_there_is_a_row_for_every_architecture():
    assert list(rows()) == sorted(architectures())


def test_rows_link_to_the_files_that_build():
    for name, row in rows().items():
        file = Path(sys.modules[architectures()[name].__module__].__file__).name
        assert (row["file"], row["link"]) == (file, f"../runtime/models/{file}"), name


def test_rows_name_the_golden_files():
    golden = architecture_files()
    for name, row in rows().items():
        named = re.search(r"llama\.cpp: ([^;]+)", row["tested"])
        expected = [file for file in golden if file.rsplit("-", 1)[0] == name]
        assert not golden or (named[1].split(", ") if named else []) == expected, name


def test_every_row_names_what_it_was_tested_against():
    for name, row in rows().items():
        assert "llama.cpp: " in row["tested"] or "transformers" in row["tested"], name


def test_the_short_table_says_the_same():
    said = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        if re.match(r"\| `[a-z0-9_.-]+`[,| ]", line) and line.count("|") == 6:
            names, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            said |= {name: tuple(cells) for name in re.findall(r"`([^`]+)`", names)}
    assert said == {name: short(row[0]) for name, row in rows().items()}


def short(row):
    _, _, gguf, classes, native, tested = (cell.strip() for cell in row.strip("|").split("|"))
    others = ", ".join(other for other in ("llama.cpp", "transformers") if other in tested)
    return gguf, "yes" if classes else "no", native, others
