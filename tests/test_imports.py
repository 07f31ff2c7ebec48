"""The arrow between the layers points one way, and what must be light is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {"kernels": {"kernels"}, "runtime": {"kernels", "runtime"}, "api": {"kernels", "runtime", "api"}}


def imported_layers(path: Path) -> set[str]:
    """Layers that a file imports absolutely, and how far its relative imports reach is checked too."""
    depth = len(path.relative_to(ROOT).parts) - 1
    layers = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level <= depth, f"{path}: a relative import leaves its layer"
            names = [node.module or ""] if not node.level else []
        layers |= {name.split(".")[1] for name in names if name.startswith("gristmill.")}
        assert not {name.split(".")[0] for name in names} & MAY_IMPORT.keys(), f"{path}: import gristmill.<layer>"
    return layers


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_layers_import_downwards_only(layer):
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    for path in files:
        assert imported_layers(path) <= MAY_IMPORT[layer], path


@pytest.mark.parametrize(
    "module",
    [
        "gristmill",
        "gristmill.kernels",
        "gristmill.kernels.formats",
        "gristmill.runtime",
        "gristmill.runtime.checkpoint",
        "gristmill.runtime.chat",
        "gristmill.runtime.chat.output",
        "gristmill.runtime.runner.client",
        "gristmill.runtime.tokenizer",
        "gristmill.api.server",
        "gristmill.api.cli",
    ],
)
def test_the_server_and_the_client_commands_do_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_resolve():
    import gristmill

    for name in gristmill.__all__:
        assert getattr(gristmill, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gristmill.nothing  # noqa: B018
