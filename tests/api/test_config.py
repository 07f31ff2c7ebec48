"""The settings file, and ``gristmill config``, which says where each value comes from."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.api.cli import main
from gristmill.api.config_file import load
from gristmill.api.readings import exports
from gristmill.api.setting import TEXT
from gristmill.api.settings import SETTINGS, Settings
from gristmill.runtime.errors import GristmillError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    """Writes the file of settings of a home; gives the environment of who lives there."""

    def write(text, **env):
        path = tmp_path / ".config" / "gristmill" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return {"HOME": str(tmp_path), **env}

    return write


def settings_of(env):
    return Settings.of(load(SETTINGS, env).readings, env)


def origins(env):
    return {r.setting.name: (r.shown, r.origin) for r in load(SETTINGS, env).readings}


def test_without_a_file_the_environment_counts(tmp_path):
    env = {"HOME": str(tmp_path), "OLLAMA_MAX_QUEUE": "7"}
    assert settings_of(env) == Settings.from_env(env)
    assert settings_of(env).max_queue == 7


def test_names_are_those_of_the_environment_or_short_ones_with_values_of_toml(write):
    settings = settings_of(
        write(
            'OLLAMA_KEEP_ALIVE = "10m"\nnum_parallel = 8\nnoprune = true\nspare_runner = false\n'
            'origins = ["https://a.example", "app://*"]\nhost = "0.0.0.0:99"\nload_timeout = -1\n'
            'GRISTMILL_BACKEND = "cpu"\nmodels = "~/weights"\n'
        )
    )
    assert (settings.keep_alive_s, settings.num_parallel) == (600, 8)
    assert (settings.noprune, settings.spare_runner) == (True, False)
    assert settings.origins == ("https://a.example", "app://*")
    assert (settings.host, settings.port, settings.backend) == ("0.0.0.0", 99, "cpu")
    assert settings.load_timeout_s == float("inf")
    assert settings.models.name == "weights"
    assert settings.models.is_absolute()


def test_the_environment_wins_over_the_file_and_an_empty_variable_is_none(write):
    env = write("max_queue = 5\nnum_parallel = 6\n", OLLAMA_MAX_QUEUE="9", OLLAMA_NUM_PARALLEL="")
    assert (settings_of(env).max_queue, settings_of(env).num_parallel) == (9, 6)
    assert origins(env)["OLLAMA_MAX_QUEUE"] == ("9", "environment")
    assert origins(env)["OLLAMA_NUM_PARALLEL"] == ("6", str(Path(env["HOME"], ".config/gristmill/config.toml")))
    assert origins(env)["OLLAMA_KEEP_ALIVE"] == ("5m", "default")


def test_a_file_may_be_named_and_xdg_is_honoured(tmp_path, write):
    env = write("max_queue = 5\n")
    (tmp_path / "other" / "gristmill").mkdir(parents=True)
    (tmp_path / "other" / "gristmill" / "config.toml").write_text("max_queue = 6\n")
    (tmp_path / "named.toml").write_text("max_queue = 7\n")
    assert settings_of(env).max_queue == 5
    assert settings_of({**env, "XDG_CONFIG_HOME": str(tmp_path / "other")}).max_queue == 6
    assert settings_of({**env, "XDG_CONFIG_HOME": "relative"}).max_queue == 5
    assert settings_of({**env, "GRISTMILL_CONFIG": "~/named.toml"}).max_queue == 7
    assert settings_of({**env, "GRISTMILL_CONFIG": os.devnull}).max_queue == 512


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = 1\nmax_queue = x\n", r"are no TOML: .*line 2"),
        (b"\xff = 1", r"are not UTF-8 text"),
        ("max_queue = 1\nOLLAMA_MAX_QUEUE = 2\n", r"name OLLAMA_MAX_QUEUE twice: as max_queue as well"),
        ("[host]\nport = 1\n", r"OLLAMA_HOST must be a text, a number, a boolean or a list of texts"),
        ("origins = [1, 2]\n", r"OLLAMA_ORIGINS must be a text"),
        ('api_keys = ["a,b"]\n', r"GRISTMILL_API_KEYS must be a text"),
        ("debug = 2024-01-01\n", r"OLLAMA_DEBUG must be a text"),
        ("x = [" + "[" * 10_000, r"are no TOML"),
        ("#" * (1 << 20) + "\n", r"over the limit of 1048576 bytes"),
    ],
)
def test_a_broken_file_is_one_line(write, text, error):
    with pytest.raises(GristmillError, match=error) as raised:
        load(SETTINGS, write(text))
    assert "\n" not in str(raised.value)


def test_a_file_that_was_named_must_be_there_and_be_a_file(tmp_path):
    for name in ("absent.toml", "."):
        with pytest.raises(GristmillError, match=r"there is no file|cannot read the settings"):
            load(SETTINGS, {"HOME": str(tmp_path), "GRISTMILL_CONFIG": str(tmp_path / name)})


def test_unknown_names_and_readable_secrets_are_warned_about(write):
    env = write('keepalive = 1\nnonsense = 2\nGRISTMILL_CONFIG = "x"\napi_keys = "secret-key"\n')
    path = Path(env["HOME"], ".config/gristmill/config.toml")
    assert len(load(SETTINGS, env).file.warnings) == 3
    path.chmod(0o644)
    keep_alive, nonsense, config, secret = load(SETTINGS, env).file.warnings
    assert keep_alive == f'{path}: unknown setting "keepalive"; is keep_alive meant?'
    assert nonsense == f'{path}: unknown setting "nonsense"'
    assert "GRISTMILL_CONFIG" in config
    assert "GRISTMILL_API_KEYS is a secret" in secret
    assert "secret-key" not in secret


def test_a_bad_value_in_the_file_is_warned_about_and_the_default_counts(write, caplog):
    env = write('max_queue = "many"\n')
    with caplog.at_level(logging.WARNING):
        assert settings_of(env).max_queue == 512
    assert 'OLLAMA_MAX_QUEUE="many" is not valid, using 512' in caplog.text


def test_what_runners_read_themselves_is_exported_from_the_file_only(write):
    env = write('cpu_level = "avx2"\nHTTPS_PROXY = "http://p:1"\n', HTTP_PROXY="http://q:2")
    assert exports(load(SETTINGS, env).readings) == {"GRISTMILL_CPU_LEVEL": "avx2", "HTTPS_PROXY": "http://p:1"}
    assert origins({**env, "https_proxy": "x"})["HTTPS_PROXY"] == ("(hidden)", "environment")


# -- the table -------------------------------------------------------------------------------------------------


def test_every_row_is_complete_and_stands_in_the_docs():
    text = (ROOT / "docs" / "running.md").read_text()
    names = [row.name for row in SETTINGS]
    shorts = [row.short for row in SETTINGS if row.short]
    assert len({*names, *shorts}) == len(names) + len(shorts)
    for row in SETTINGS:
        assert row.meaning
        if row.no_effect:
            assert f"| `{row.name}` | {row.no_effect} |" in text
            assert row.kind is TEXT
        else:
            default = f"`{row.default}`" if row.default else ""
            assert f"| `{row.name}` | {row.kind.name} | {default} | {row.meaning} |" in text


def test_the_defaults_of_the_table_are_those_of_the_class():
    home = {"HOME": os.path.expanduser("~")}
    assert Settings.from_env(home) == Settings(models=Path.home() / ".ollama" / "models")


def test_a_socket_without_an_absolute_path_is_refused():
    for text in ("unix://", "unix:///", "unix://relative.sock", "unix:///folder/"):
        with pytest.raises(GristmillError, match=r"OLLAMA_HOST: .* names no file"):
            Settings.from_env({"OLLAMA_HOST": text})
    settings = Settings.from_env({"OLLAMA_HOST": "unix:///run/g.sock"})
    assert (settings.scheme, settings.socket, settings.host, settings.port) == ("unix", "/run/g.sock", "", 0)


@pytest.mark.parametrize(("text", "expected"), [("", None), ("auto", None), ("1", True), ("0", False)])
def test_metrics_are_on_off_or_automatic(text, expected):
    assert Settings.from_env({"GRISTMILL_METRICS": text}).metrics is expected


# -- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def config(monkeypatch, capsys, write):
    """Runs ``gristmill config`` in a home with a file of settings: (status, stdout, stderr)."""

    def run(text, *flags, **env):
        for name in [*os.environ]:
            if name.startswith(("OLLAMA_", "GRISTMILL_", "XDG_")) or name.upper().endswith("_PROXY"):
                monkeypatch.delenv(name)
        for name, value in write(text, **env).items():
            monkeypatch.setenv(name, value)
        status = main(["config", *flags])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_it_prints_each_value_with_its_origin_and_no_secret(config):
    status, out, err = config(
        'keep_alive = "10m"\napi_keys = "file-secret"\nnonsense = 1\n',
        *(),
        GRISTMILL_API_KEY="env-secret",
        OLLAMA_FLASH_ATTENTION="1",
        OLLAMA_MAX_QUEUE="many",
        OLLAMA_BOGUS="1",
    )
    assert (status, err) == (0, "")
    assert "secret" not in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["OLLAMA_KEEP_ALIVE"][1] == "10m"
    assert rows["OLLAMA_KEEP_ALIVE"][2].endswith("/.config/gristmill/config.toml")
    assert rows["GRISTMILL_API_KEYS"][1] == "(hidden)"
    assert rows["GRISTMILL_API_KEY"][1:] == ["(hidden)", "environment"]
    assert rows["GRISTMILL_TLS_CERT"][1:] == ["-", "default"]
    assert "OLLAMA_FLASH_ATTENTION=1" in rows
    assert rows["OLLAMA_GPU_OVERHEAD"]
    assert 'OLLAMA_MAX_QUEUE="many" is not valid, using 512' in out
    assert 'unknown setting "nonsense"' in out
    assert "OLLAMA_BOGUS is not known (environment)" in out


def test_as_json_it_says_the_same(config):
    status, out, _ = config('api_keys = "file-secret"\n', "--json", OLLAMA_NUM_PARALLEL="3")
    assert status == 0
    assert "secret" not in out.replace("is a secret", "")
    whole = json.loads(out)
    rows = {row["name"]: row for row in whole["settings"]}
    assert list(rows) == [row.name for row in SETTINGS]
    assert (rows["OLLAMA_NUM_PARALLEL"]["value"], rows["OLLAMA_NUM_PARALLEL"]["origin"]) == ("3", "environment")
    assert rows["GRISTMILL_API_KEYS"]["value"] == "(hidden)"
    assert rows["OLLAMA_REMOTES"]["no_effect"]
    assert whole["file"].endswith("config.toml")


def test_a_broken_file_stops_every_command_with_one_line(config):
    status, out, err = config("keep_alive =")
    assert (status, out) == (1, "")
    assert err.startswith("Error: the settings in ")
    assert err.count("\n") == 1


def test_a_broken_file_stops_the_server(write):
    env = {**os.environ, **write("max_queue = [")}
    env.pop("GRISTMILL_CONFIG", None)
    env.pop("XDG_CONFIG_HOME", None)
    ended = subprocess.run(
        [sys.executable, "-m", "gristmill", "serve"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: the settings in ")


def test_serve_lists_what_the_server_reads(capsys):
    assert main(["serve", "--help"]) == 0
    out = capsys.readouterr().out
    for row in SETTINGS:
        assert (f"  {row.name} " in out) == (not row.client and not row.no_effect), row.name
