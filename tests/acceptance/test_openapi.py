"""Requests made from our own OpenAPI document, by the thousand: none may fail in a way that the document does not name.

``GRISTMILL_CASES`` is how many for each endpoint (default 40).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

PROGRAM = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
NAMES = {"model": ["scripted", "absent"], "name": [""], "source": ["scripted", "absent"], "from": ["scripted", ""]}


def with_names(document):
    """Most requests name a model that is there, or they would never come further than to that."""
    for schema in document["components"]["schemas"].values():
        title = schema.get("title", "")
        for field, names in NAMES.items() if title.endswith("Request") else ():
            if field in schema["properties"]:
                # What is deleted or replaced must not be the model that the others need.
                ours = title in ("DeleteRequest", "CreateRequest") and field == "model"
                schema["properties"][field] = {"enum": ["other", "absent"] if ours else names}
                if title in ("PullRequest", "PushRequest"):
                    schema["properties"][field] = {"enum": ["no name", ""]}  # no test asks a registry of the internet
    return document


# Names that are not here would be looked up in the internet: such requests are only sent as the document has them, with
# names of ours. All else is also sent with what the document does not allow.
ABROAD = "^/api/(pull|push|create)$"
KINDS = {
    "own": ["--exclude-path-regex", "^/api/(pull|push)$"],
    "abroad": ["--include-path-regex", ABROAD, "--mode", "positive"],
}


@pytest.mark.skipif(PROGRAM is None, reason="schemathesis is not installed: pip install -e '.[acceptance]'")
@pytest.mark.parametrize("kind", KINDS)
def test_no_request_of_the_document_surprises_us(kind, own_clerk, tmp_path):
    clerk = own_clerk
    with urllib.request.urlopen(f"{clerk.url}/openapi.json") as response:
        document = with_names(json.load(response))
    if kind == "own":
        del document["components"]["schemas"]["CreateRequest"]["properties"]["from"]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    cases = os.environ.get("GRISTMILL_CASES", "40")
    options = ["--url", clerk.url, "--checks", ",".join(CHECKS), "-n", cases, "--phases", "fuzzing", *KINDS[kind]]
    run = subprocess.run(
        [PROGRAM, "run", "openapi.json", *options, "--request-timeout", "30", "--seed", "1", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    report = run.stdout[-6000:] + run.stderr[-2000:]
    assert run.returncode == 0, report
    found = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert found, report
    assert found[1] == found[2], report
    print(found[0])
