"""``doctor``: what it reports, what it calls broken, and that each problem comes with its fix."""

from importlib.metadata import PackageNotFoundError

import pytest

from gristmill.api.cli import doctor, machine
from gristmill.api.cli.doctor import Check, packages, report


def lines_of(out):
    """Mark and text by name."""
    rows = [(line[:8].strip(), line[8:23].strip(), line[23:].strip()) for line in out.splitlines() if line[:7].strip()]
    return {name: (mark, text) for mark, name, text in rows}


@pytest.fixture
def good_packages(monkeypatch):
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.9"])
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.13.0+cpu")


def test_a_good_machine_is_all_ok(gristmill, server, good_packages):
    status, out, err = gristmill("doctor")
    lines = lines_of(out)
    assert (status, err) == (0, "")
    assert list(lines) == [
        "python", "gristmill", "torch", "packages", "processor", "cores", "memory", "kernels", "models", "disk",
        "server", "default model",
    ]  # fmt: skip
    assert lines["torch"] == ("ok", "2.13.0+cpu")
    assert lines["models"][1].startswith("0 in ")
    assert lines["server"] == ("ok", f"answers at {server.address}, version 0.33.0")


def test_no_server_is_ok_because_run_starts_one(gristmill, free_address, good_packages):
    status, out, _ = gristmill("doctor")
    assert status == 0
    assert lines_of(out)["server"] == ("ok", f"none at {free_address}; 'gristmill run' starts one for its session")


def test_a_foreign_program_on_the_port_is_broken(gristmill, server, good_packages):
    server.banner = b"<html>"
    status, out, _ = gristmill("doctor")
    assert status == 1
    assert lines_of(out)["server"][0] == "broken"
    assert "fix: set OLLAMA_HOST to a free address\n" in out


def test_a_missing_package_is_broken(gristmill, server, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.9"])
    monkeypatch.setattr(doctor.metadata, "version", version)
    status, out, _ = gristmill("doctor")
    assert status == 1
    assert lines_of(out)["torch"] == ("broken", "not installed")
    assert "fix: pip install 'torch>=2.9'\n" in out


def test_packages_that_are_too_old_are_broken():
    checks = list(packages({"torch": "2.10.0", "jinja2": "3.1.5", "orjson": "3.11"}.__getitem__,
                           ["torch>=2.9", "jinja2>=3.1.6", "orjson"]))  # fmt: skip
    assert checks == [
        Check("torch", "2.10.0"),
        Check("jinja2", "3.1.5, older than 3.1.6", "pip install --upgrade 'jinja2>=3.1.6'", is_broken=True),
        Check("packages", "2 installed"),
    ]


def test_low_memory_is_a_hint_and_not_a_failure(gristmill, server, good_packages, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(10**9, 2 * 10**9))
    status, out, _ = gristmill("doctor")
    assert status == 0
    assert lines_of(out)["memory"] == ("hint", "1 GB free of 2 GB")


def test_a_store_that_cannot_be_written_is_broken(gristmill, server, good_packages, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "file"))
    status, out, _ = gristmill("doctor")
    assert status == 1
    assert lines_of(out)["store"][0] == "broken"


def test_a_default_model_that_cannot_be_had_is_broken(gristmill, server, good_packages, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    status, out, _ = gristmill("doctor")
    assert status == 1
    assert lines_of(out)["default model"] == ("broken", "smollm2 is not here, and nothing that could download it")


def test_the_report_to_the_letter():
    checks = [Check("python", "3.11.7"), Check("memory", "low", "buy some"), Check("torch", "none", "get it", True)]
    assert report(checks) == (
        "ok      python         3.11.7\n"
        "hint    memory         low\n"
        "                       fix: buy some\n"
        "broken  torch          none\n"
        "                       fix: get it\n"
    )


def test_kernels_that_are_not_built_come_with_the_way_to_build_them(monkeypatch):
    def missing():
        raise ImportError("no extension")

    monkeypatch.setattr(doctor, "cpu_levels", missing)
    check = doctor._kernels()
    assert not check.is_broken
    assert "not built" in check.text
    assert "compiler" in check.fix


def test_a_level_that_the_processor_does_not_have_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "cpu_levels", lambda: ["avx2", "portable"])
    assert doctor._kernels().text == "native, avx2"
    monkeypatch.setenv("GRISTMILL_CPU_LEVEL", "portable")
    assert doctor._kernels().text == "native, portable"
    monkeypatch.setenv("GRISTMILL_CPU_LEVEL", "mmx")
    assert doctor._kernels().text == "GRISTMILL_CPU_LEVEL=mmx is not one of avx2, portable"
