import pytest
from support.tiny_model import HIDDEN, SPECIALS, write_tiny_model
from support.vision import write_tiny_projector

from gristmill.runtime import open_model

ARCHITECTURES = {"gemma3": "gemma3", "idefics3": "llama", "mlp": "llama"}
MARKS = ("<start_of_image>", "<end_of_image>", "<fake_token_around_image>", "<global-img>")


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """``opened(kind, backend, **options)``: a tiny model that can look at pictures."""
    folder, known = tmp_path_factory.mktemp("seeing"), {}

    def open_one(kind, backend="cpu", **options):
        key = kind, backend, *sorted(options.items())
        if key not in known:
            architecture = ARCHITECTURES[kind]
            text = write_tiny_model(
                folder / f"{architecture}.gguf", architecture=architecture, specials=(*SPECIALS, *MARKS)
            )
            projector = write_tiny_projector(folder / f"mmproj-{kind}.gguf", kind, HIDDEN)
            known[key] = open_model(text, backend=backend, projector=projector, **{"n_ctx": 400, **options})
        return known[key]

    return open_one
