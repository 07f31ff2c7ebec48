"""Challenges, tokens, keys: what is sent, to whom, and what is refused (D1, D6, D28)."""

import base64
import gzip
import hashlib
import logging
import os
import sys
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from hypothesis import given
from hypothesis import strategies as st
from support.model_folder import tiny_gguf
from support.registry import MODEL, Registry, body, lines_of, status
from yarl import URL

from gristmill.api.registry.challenge import Challenge, bearer_challenge, parse_challenges
from gristmill.api.registry.errors import RegistryError
from gristmill.api.registry.keypair import ensure_key_pair, key_path, load_key_pair
from gristmill.api.registry.tokens import token_url

ALWAYS = 10**6


def pull(transfers, registry):
    return lines_of(transfers.pull(f"{registry.host}/a/b", insecure=True))


@pytest.fixture
async def locked():
    """A registry that wants a token for everything."""
    async with Registry(needs_token=True) as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()))
        yield registry


# --- challenges ---


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://a/t",scope="x y"', {"realm": "https://a/t", "scope": "x y"}),
        ('bearer  realm = "a,b" , Service=s', {"realm": "a,b", "service": "s"}),
        ('Bearer realm="a\\"b\\\\"', {"realm": 'a"b\\'}),
        ('Basic realm="q", Bearer realm=x', {"realm": "x"}),
        ("Negotiate abc==, Bearer realm=x", {"realm": "x"}),
        ("Bearer", {}),
        ('Bearer realm=""', {"realm": ""}),
    ],
)
def test_challenges(header, found):
    assert bearer_challenge([header]) == Challenge("bearer", found)


@pytest.mark.parametrize(
    "headers",
    [
        ['Bearer realm="a'],
        ['Bearer realm="a"b'],
        ['Bearer realm="a",realm="b"'],
        ['Bearer realm="a"', 'Bearer realm="b"'],
        ['Bearer realm="a", Bearer realm="b"'],
        ['"Bearer"'],
        ["Bearer realm=a\x00"],
        ["Bearer " + "x" * (1 << 20)],
    ],
)
def test_challenges_that_say_nothing_clear(headers):
    with pytest.raises(ValueError):  # noqa: PT011 - its text is put into another
        bearer_challenge(headers)


def test_no_challenge():
    assert bearer_challenge([]) is None
    assert bearer_challenge(["Basic realm=x", ""]) is None


@given(st.text(max_size=200))
def test_any_header_is_parsed_or_refused(header):
    with suppress(ValueError):
        for challenge in parse_challenges(header):
            assert challenge.scheme == challenge.scheme.lower()


# --- tokens ---


def test_the_query_of_a_token_is_in_order():
    challenge = Challenge("bearer", {"service": "s", "scope": "b a"})
    url = token_url(URL("https://r/token?account=x"), challenge, 1700000000, bytes(16))
    assert str(url).partition("?")[2].split("&") == [
        "account=x",
        "nonce=AAAAAAAAAAAAAAAAAAAAAA",
        "scope=b",
        "scope=a",
        "service=s",
        "ts=1700000000",
    ]


async def test_the_request_for_a_token_is_signed(locked, make_transfers, tmp_path):
    ensure_key_pair(tmp_path / "id")
    await pull(make_transfers(key=tmp_path / "id"), locked)
    asked = [seen for seen in locked.seen if seen.kind == "token"]
    assert len(asked) == 1
    field, _, signature = asked[0].headers["Authorization"].partition(":")
    line = (tmp_path / "id.pub").read_bytes()
    assert line.split()[1].decode() == field
    nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
    key = load_ssh_public_key(line)
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(signature), f"GET,{locked.url}{asked[0].path},{nothing}".encode())


async def test_without_a_key_tokens_are_asked_for_anonymously(locked, make_transfers, tmp_path):
    await pull(make_transfers(key=tmp_path / "none"), locked)
    assert all("Authorization" not in seen.headers for seen in locked.seen if seen.kind == "token")


async def test_a_token_that_runs_out_is_renewed(locked, make_transfers):
    async def expire(registry, request):
        registry.tokens.clear()
        registry.tokens.add("older")

    locked.fault("blob", expire)
    await pull(make_transfers(), locked)
    assert locked.count("token") == 2


async def test_a_second_refusal_is_the_last(locked, make_transfers):
    async def refuse(registry, request):
        return registry.challenge()

    locked.fault("manifest", refuse, ALWAYS)
    with pytest.raises(RegistryError, match=r"^pull model manifest: unauthorized: access denied$"):
        await pull(make_transfers(), locked)
    assert locked.count("token") == 1


@pytest.mark.parametrize(
    "realm",
    [
        "https://127.0.0.1:{port}/token",
        "http://127.0.0.2:{port}/token",
        "http://127.0.0.1:1/token",
        "http://u:p@127.0.0.1:{port}/token",
        "http://127.0.0.1.evil.example/token",
        "/token",
        "ftp://127.0.0.1:{port}/token",
        "http://[/token",
    ],
)
async def test_tokens_are_not_asked_for_elsewhere(locked, make_transfers, realm, tmp_path):
    ensure_key_pair(tmp_path / "id")
    locked.realm = realm.format(port=locked.host.partition(":")[2])
    text = "realm host .* does not match original host|names no place for tokens"
    with pytest.raises(RegistryError, match=rf"^pull model manifest: .*({text})"):
        await pull(make_transfers(key=tmp_path / "id"), locked)
    assert locked.count("token") == 0


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (body(b"x" * ((1 << 20) + 1)), "token is over the limit of 1048576 bytes"),
        (body(gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"), "compressed"),
        (body(b"<html>"), "token is not JSON"),
        (body(b"[" * 100_000), "token is not JSON"),
        (body(b'{"token": 1}'), "token is not JSON"),
        (body(b"{}"), "gave no token"),
        (body(b'{"token": "a\\nb"}'), "no text of a token"),
        (body(b'{"token": "' + b"a" * 40_000 + b'"}'), "no text of a token"),
        (status(403, "not you"), "403: not you"),
    ],
)
async def test_tokens_that_are_none(locked, make_transfers, act, error):
    locked.fault("token", act)
    with pytest.raises(RegistryError, match=rf"^pull model manifest: .*{error}"):
        await pull(make_transfers(), locked)


async def test_no_challenge_is_a_plain_no(registry, make_transfers):
    registry.fault("manifest", status(401))
    with pytest.raises(RegistryError, match=r"unauthorized: access denied"):
        await pull(make_transfers(), registry)


async def test_the_log_has_no_secrets(make_transfers, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    ensure_key_pair(tmp_path / "id")
    async with Registry() as cdn, Registry(needs_token=True, cdn=cdn) as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()))
        cdn.blobs = registry.blobs
        cdn.fault("blob", status(403), ALWAYS)
        with pytest.raises(RegistryError) as error:
            await pull(make_transfers(key=tmp_path / "id"), registry)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gristmill")]
    for text in (*ours, str(error.value)):
        assert not any(secret in text for secret in ("token-0", "sig=", "secret", "AAAA"))


# --- the key ---


def test_the_key_is_made_once_and_for_us_alone(tmp_path):
    path = key_path({"HOME": str(tmp_path)})
    assert path == tmp_path / ".ollama" / "id_ed25519"
    pair = ensure_key_pair(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".pub").stat().st_mode & 0o777 == 0o644
    assert path.with_suffix(".pub").read_text() == f"{pair.public_line}\n"
    assert ensure_key_pair(path) is None
    assert load_key_pair(path).public_field == pair.public_field
    assert sorted(os.listdir(path.parent)) == ["id_ed25519", "id_ed25519.pub"]


HOLLOW = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize("data", [b"", HOLLOW], ids=["empty", "hollow"])
def test_a_key_that_is_none(tmp_path, data, caplog):
    (tmp_path / "id").write_bytes(data)
    assert load_key_pair(tmp_path / "id") is None
    assert "id_ed25519 cannot be used" in caplog.text
    assert ensure_key_pair(tmp_path / "id") is None
    assert (tmp_path / "id").read_bytes() == data


def test_no_place_for_a_key(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    assert ensure_key_pair(tmp_path / "file" / "id") is None
    assert load_key_pair(tmp_path / "file" / "id") is None


def test_without_cryptography_nothing_is_signed(tmp_path, monkeypatch, caplog):
    ensure_key_pair(tmp_path / "id")
    for module in ("asymmetric.ed25519", "serialization"):
        monkeypatch.setitem(sys.modules, f"cryptography.hazmat.primitives.{module}", None)
    assert load_key_pair(tmp_path / "id") is None
    assert "the package cryptography is missing (extra push)" in caplog.text
    assert ensure_key_pair(tmp_path / "other") is None
    assert not (tmp_path / "other").exists()
