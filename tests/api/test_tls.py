"""HTTPS: the server's certificate, what it refuses, and the client's authorities."""

import logging
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from support.fake_runner import FakeRunners
from support.service import free_port, running_service

from gristmill.api.cli.address import Address
from gristmill.api.cli.client import Client, NoServer
from gristmill.api.cli.connect import UntrustedServer
from gristmill.api.listen import tls_context
from gristmill.api.server import make_app
from gristmill.api.settings import Settings
from gristmill.runtime.errors import GristmillError, InvalidRequest


class Files:
    """An authority, and a certificate with its key for 127.0.0.1, in files."""

    def __init__(self, folder: Path):
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.ca, self.cert, self.key, self.both = (folder / f"{n}.pem" for n in ("ca", "cert", "key", "both"))
        authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)
        issued.private_key_and_cert_chain_pem.write_to_path(self.both)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(files, tmp_path_factory):
    store = tmp_path_factory.mktemp("tls-store") / "models"
    settings = {"GRISTMILL_TLS_CERT": str(files.cert), "GRISTMILL_TLS_KEY": str(files.key)}
    with running_service(store, tls_ca=files.ca, **settings) as service:
        yield service


def test_a_client_with_the_authority_talks_to_the_server(service, files):
    client = Client(Address("https", "127.0.0.1", service.port), tls_ca=files.ca)
    assert client.is_running()
    assert client.get("/api/tags") == {"models": []}
    log = (service.store.parent / f"serve-{service.port}.log").read_text()
    assert f"Listening on https://127.0.0.1:{service.port}" in log


def test_a_client_without_it_is_told_what_to_do(service):
    with pytest.raises(UntrustedServer, match=r"is not trusted: .*GRISTMILL_TLS_CA names the file of an authority"):
        Client(Address("https", "127.0.0.1", service.port)).get("/api/tags")


def test_the_name_in_the_certificate_counts(service, files):
    with pytest.raises(UntrustedServer, match="is not trusted"):
        Client(Address("https", "localhost", service.port), tls_ca=files.ca).get("/api/tags")


def test_plain_http_to_it_is_one_line(service):
    with pytest.raises(GristmillError) as raised:
        Client(Address("http", "127.0.0.1", service.port)).get("/api/tags")
    assert "\n" not in str(raised.value)


def test_https_to_a_plain_server_is_one_line(tmp_path):
    with running_service(tmp_path / "models") as plain, pytest.raises(UntrustedServer, match="the server speak https"):
        Client(Address("https", "127.0.0.1", plain.port)).get("/api/tags")


def test_nobody_there_is_said_as_ever():
    with pytest.raises(NoServer):
        Client(Address("https", "127.0.0.1", free_port())).get("/api/tags")


@pytest.mark.parametrize(("name", "text"), [("absent.pem", "cannot read"), ("empty.pem", "holds no certificate")])
def test_a_bad_authority_is_one_line(service, tmp_path, name, text):
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(GristmillError, match=f"GRISTMILL_TLS_CA: .*{text}"):
        Client(Address("https", "127.0.0.1", service.port), tls_ca=tmp_path / name).get("/api/tags")


# -- the server's settings -------------------------------------------------------------------------------------


def test_the_least_version_is_1_2(files):
    context = tls_context(Settings(tls_cert=files.cert, tls_key=files.key))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_key_may_be_in_the_certificates_file(files):
    assert tls_context(Settings(tls_cert=files.both)) is not None
    assert tls_context(Settings()) is None


def encrypted(files, path):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(files.key.read_bytes(), None)
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"password")))
    return path


def test_files_that_cannot_be_used_stop_the_start_with_the_settings_name(files, tmp_path):
    stranger = trustme.CA().issue_cert("127.0.0.1").private_key_pem
    stranger.write_to_path(tmp_path / "stranger.pem")
    (tmp_path / "nonsense.pem").write_text("nonsense")
    absent, nonsense = tmp_path / "absent.pem", tmp_path / "nonsense.pem"
    cases = [
        (Settings(tls_key=files.key), "GRISTMILL_TLS_KEY is set without GRISTMILL_TLS_CERT"),
        (Settings(tls_cert=absent), "GRISTMILL_TLS_CERT: cannot read .*absent.pem: No such file"),
        (Settings(tls_cert=tmp_path), "GRISTMILL_TLS_CERT: cannot read .*: Is a directory"),
        (Settings(tls_cert=files.cert, tls_key=absent), "GRISTMILL_TLS_KEY: cannot read .*absent.pem"),
        (Settings(tls_cert=files.cert), "GRISTMILL_TLS_CERT: .*cert.pem"),
        (Settings(tls_cert=nonsense, tls_key=files.key), "GRISTMILL_TLS_CERT: .*nonsense.pem and .*key.pem"),
        (Settings(tls_cert=files.cert, tls_key=tmp_path / "stranger.pem"), "GRISTMILL_TLS_CERT: .*key values mismatch"),
        (Settings(tls_cert=files.cert, tls_key=encrypted(files, tmp_path / "e.pem")), "the key is encrypted"),
        (Settings(tls_cert=files.both, scheme="unix", socket="/s"), "GRISTMILL_TLS_CERT is for TCP, not for a socket"),
    ]
    for settings, text in cases:
        with pytest.raises(InvalidRequest, match=text) as raised:
            tls_context(settings)
        assert "\n" not in str(raised.value)


def test_serve_with_a_bad_path_ends_with_one_line(tmp_path):
    env = {
        "HOME": str(tmp_path),
        "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "GRISTMILL_TLS_CERT": "/none.pem",
        "GRISTMILL_SPARE_RUNNER": "0",
    }
    command = [sys.executable, "-m", "gristmill", "serve"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last == "Error: GRISTMILL_TLS_CERT: cannot read /none.pem: No such file or directory"


def test_https_in_the_address_without_a_certificate_is_warned_about(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        make_app(Settings(models=tmp_path, scheme="https"), start_runner=FakeRunners())
    assert "GRISTMILL_TLS_CERT is not set: this server speaks plain http" in caplog.text
