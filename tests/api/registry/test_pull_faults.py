"""Whatever the registry does (D4 to D15), nothing wrong gets a name, and a clean pull mends it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.model_folder import problems, tiny_gguf
from support.registry import (
    MANIFEST_TYPE,
    MODEL,
    SMALL,
    SYSTEM,
    Registry,
    body,
    changed,
    cut,
    digest_of,
    hang_up,
    header,
    ignore_range,
    lines_of,
    redirect,
    say_nothing,
    status,
    statuses,
    unsized,
    wrong_bytes,
)

from gristmill.api.registry.errors import RegistryError
from gristmill.runtime.errors import InvalidRequest

SOON = format_datetime(datetime.now(UTC) + timedelta(days=40000))
ALWAYS = 10**6


def pull(transfers, registry, name="a/b"):
    return lines_of(transfers.pull(f"{registry.host}/{name}", insecure=True))


async def ends(transfers, registry, store, error):
    """The pull fails with ``error``, or succeeds where that is None; the store is whole; a clean pull succeeds."""
    if error is None:
        assert statuses(await pull(transfers, registry))[-1] == "success"
    else:
        with pytest.raises(RegistryError, match=error):
            await pull(transfers, registry)
        assert store.list() == []
    published = {path.name for path in (store.root / "blobs").glob("*") if "partial" not in path.name}
    assert published <= {digest.replace(":", "-") for digest in registry.blobs}
    registry.faults.clear()
    await pull(transfers, registry)
    assert problems(store.root) == []
    assert [model.name.model for model in store.list()] == ["b"]


MANIFESTS = [
    ("not there", status(404), "^pull model manifest: file does not exist$"),
    ("an error with a text", status(403, "go\x07away"), "^pull model manifest: 403: go"),
    ("a web page of an error", body(b"<html>secret", 400), "^pull model manifest: 400: Bad Request$"),
    ("a web page", body(b"<html>"), "^pull model manifest: not a manifest of a model: "),
    ("too large", body(b" " * ((4 << 20) + 1)), "manifest is over the limit of 4194304 bytes"),
    ("deep", body(b"[" * 100_000), "^pull model manifest: not a manifest"),
    ("wrong types", body(b'{"schemaVersion":"2"}'), "^pull model manifest: not a manifest"),
    ("an empty object", body(b"{}"), "^pull model manifest: not a manifest"),
    ("compressed", header("Content-Encoding", "gzip"), "compressed"),
    ("another digest", header("Docker-Content-Digest", "sha256:" + "0" * 64), "the registry says sha256:0000"),
    ("no answer for a manifest", status(204), "204: not an answer"),
]


@pytest.mark.parametrize(("act", "error"), [row[1:] for row in MANIFESTS], ids=[row[0] for row in MANIFESTS])
async def test_manifests_that_are_none(registry, transfers, store, model, act, error):
    registry.fault("manifest", act)
    await ends(transfers, registry, store, error)


@pytest.mark.parametrize(("n_more", "fits"), [(0, True), (1, False)])
async def test_the_limit_of_manifests(registry, transfers, model, n_more, fits):
    data = registry.manifests["a/b", "latest"]
    registry.manifests["a/b", "latest"] = data + b" " * ((4 << 20) - len(data) + n_more)
    if fits:
        await pull(transfers, registry)
    else:
        with pytest.raises(RegistryError, match=r"over the limit"):
            await pull(transfers, registry)


def with_fields(change):
    """The usual manifest with a change to its decoded form."""

    def act(answer):
        manifest = json.loads(answer.body)
        change(manifest)
        answer.body = json.dumps(manifest).encode()

    return changed(act)


def part(**fields):
    return with_fields(lambda manifest: manifest["layers"][1].update(fields))


CHANGED = [
    ("no layers", with_fields(lambda m: m.update(layers=[])), "it has no layers"),
    ("layers are null", with_fields(lambda m: m.update(layers=None)), "not a manifest"),
    ("too many layers", with_fields(lambda m: m.update(layers=m["layers"] * 5000)), "over the limit of 10000"),
    ("an older schema", with_fields(lambda m: m.update(schemaVersion=1)), "schemaVersion is 1"),
    ("an index", with_fields(lambda m: m.update(mediaType=MANIFEST_TYPE.replace("manifest", "list"))), "mediaType is"),
    ("a short digest", part(digest="sha256:12"), "invalid digest format"),
    ("a path as a digest", part(digest="sha256:../../../../etc/passwd"), "invalid digest format"),
    ("a digest and a newline", part(digest="sha256:" + "0" * 64 + "\n"), "invalid digest format"),
    ("a negative size", part(size=-1), "not a manifest"),
    ("a huge size", part(size=2**63), "not a manifest"),
    ("a size as text", part(size="12"), "not a manifest"),
    ("two sizes", with_fields(lambda m: m["layers"].append({**m["layers"][0], "size": 1})), "two sizes for one blob"),
    ("a large config", with_fields(lambda m: m["config"].update(size=5 << 20)), "config's 5242880 bytes"),
    ("tensors", part(mediaType="application/vnd.ollama.image.tensor"), "requires MLX support"),
]


@pytest.mark.parametrize(("act", "error"), [row[1:] for row in CHANGED], ids=[row[0] for row in CHANGED])
async def test_manifests_that_lie(registry, transfers, store, model, act, error):
    registry.fault("manifest", act)
    await ends(transfers, registry, store, f"^pull model manifest: .*{error}|^this model {error}")
    assert registry.count("blob") <= 5 + 3  # of the clean pull


PASSING = [
    ("hang-up", hang_up, 2),
    ("an error of the server", status(500, "oh"), 2),
    ("too many requests", status(429, Retry_After="0"), 2),
]


@pytest.mark.parametrize(("act", "times"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
async def test_a_manifest_is_asked_for_again(registry, transfers, store, model, act, times):
    registry.fault("manifest", act, times)
    await ends(transfers, registry, store, None)
    registry.fault("manifest", act, ALWAYS)
    with pytest.raises(RegistryError, match=r"^pull model manifest: max retries exceeded: "):
        await pull(transfers, registry)


BLOBS = [
    ("cut at once", cut(0), 3, None),
    ("cut in the middle", cut(2000), 5, None),
    ("cut before the last byte", cut(3999), 5, None),
    ("hang-ups", hang_up, 5, None),
    ("stalls", cut(1000, then="stall"), 1, None),
    ("silence", say_nothing, 1, None),
    ("errors of the server", status(503), 5, None),
    ("retry in a second that is cut", status(503, Retry_After="1000000000"), 1, None),
    ("retry at a date", status(429, Retry_After=SOON), 1, None),
    ("retry at nonsense", status(429, Retry_After="soon"), 2, None),
    ("ranges are ignored", ignore_range, ALWAYS, None),
    ("no length", unsized(), ALWAYS, None),
    ("more than was asked for, once", unsized(b"more"), 2, None),
    ("another range", header("Content-Range", "bytes 1-4000/18001"), 1, None),
    ("no range in a 206", changed(lambda a: a.headers.pop("Content-Range", None)), 1, None),
    ("several ranges", header("Content-Type", "multipart/byteranges; boundary=x"), 1, None),
    ("no such range, once", status(416), 1, None),
    ("another size, once", header("Content-Range", "bytes 0-4499/18002"), 1, None),
    ("a wrong length", header("ETag", '"x"'), 1, None),
    ("never any bytes", cut(0), ALWAYS, "max retries exceeded: the connection to 127.0.0.1 broke"),
    ("always the same error", status(500, "oh"), ALWAYS, "max retries exceeded: 500: oh"),
    ("no such range", status(416), ALWAYS, "^416: "),
    ("another size", header("Content-Range", "bytes 0-4499/18002"), ALWAYS, "registry says 18002|announced"),
    ("not there", status(404), ALWAYS, "^blob sha256:[0-9a-f]{64} is not there$"),
    ("forbidden", status(403, "no"), ALWAYS, "^403: no$"),
    ("compressed", header("Content-Encoding", "gzip"), ALWAYS, "compressed"),
    ("wrong bytes", changed(wrong_bytes), ALWAYS, "^digest mismatch, file must be downloaded again: want sha256:"),
    ("a web page", body(b"<html>"), ALWAYS, "max retries exceeded: .* expected|digest mismatch"),
    ("nothing", body(b""), ALWAYS, "max retries exceeded: "),
    ("always more", unsized(b"more"), ALWAYS, "max retries exceeded: more bytes came"),
    ("no answer to this", status(204), ALWAYS, "max retries exceeded: 204"),
]


@pytest.mark.parametrize(("act", "times", "error"), [row[1:] for row in BLOBS], ids=[row[0] for row in BLOBS])
async def test_blobs(registry, transfers, store, model, act, times, error):
    registry.fault("blob", act, times)
    await ends(transfers, registry, store, error)


async def test_a_version_that_changes_is_begun_anew_once(registry, transfers, store, model):
    registry.fault("blob", header("ETag", '"1"'), 2)
    registry.fault("blob", header("ETag", '"2"'), ALWAYS)
    await ends(transfers, registry, store, None)


@pytest.mark.parametrize("config", [b"{", b"[]", b'{"model_format": 3}'])
async def test_a_config_that_is_none(registry, transfers, store, config):
    registry.add_model("a/b", (SYSTEM, b"Be brief."), config=None)
    manifest = json.loads(registry.manifests["a/b", "latest"])
    manifest["config"].update(digest=registry.add(config), size=len(config))
    registry.manifests["a/b", "latest"] = json.dumps(manifest).encode()
    with pytest.raises(RegistryError, match=r"^the model's config cannot be used: "):
        await pull(transfers, registry)
    assert store.list() == []


async def test_weights_that_are_none_get_no_name(registry, transfers, store, model):
    await pull(transfers, registry)
    before = store.find(f"{registry.host}/a/b").digest
    registry.add_model("a/b", (MODEL, tiny_gguf()[:500]))
    with pytest.raises(RegistryError, match=r"^the model's weights cannot be used: "):
        await pull(transfers, registry)
    assert store.find(f"{registry.host}/a/b").digest == before


async def test_half_an_update_changes_nothing(registry, transfers, store, model):
    await pull(transfers, registry)
    before = store.find(f"{registry.host}/a/b").digest
    registry.add_model("a/b", (MODEL, tiny_gguf()), (SYSTEM, b"Be long." * 3000))
    registry.fault("blob", cut(100), ALWAYS)
    with pytest.raises(RegistryError, match=r"max retries"):
        await pull(transfers, registry)
    assert store.find(f"{registry.host}/a/b").digest == before
    registry.faults.clear()
    assert "removing unused layers" in statuses(await pull(transfers, registry))
    assert store.find(f"{registry.host}/a/b").system.startswith("Be long.")
    assert problems(store.root) == []


@pytest.mark.parametrize("location", [None, "", "file:///etc/passwd", "ftp://h/x", "http://u:p@h/x", "http://h:x/"])
async def test_redirects_to_no_address(registry, transfers, store, model, location):
    registry.fault("blob", redirect(location))
    await ends(transfers, registry, store, "^the registry redirects to ")


async def test_redirects_in_a_circle(registry, transfers, store, model):
    registry.fault("blob", redirect("?again"), ALWAYS)
    await ends(transfers, registry, store, "^the registry redirects more than 10 times$")


async def test_ten_redirects_are_followed(registry, transfers, store, model):
    registry.fault("blob", redirect("?again"), 10)
    await ends(transfers, registry, store, None)


async def test_credentials_and_signatures_stay_with_the_registry(make_transfers, store, tmp_path):
    async with Registry() as cdn, Registry(needs_token=True, cdn=cdn) as registry:
        registry.add_model("a/b", (MODEL, tiny_gguf()), (SYSTEM, b"Be brief." * 1000))
        cdn.blobs = registry.blobs
        await pull(make_transfers(), registry)
        assert registry.count("token") == 1
        assert all(seen.headers["Authorization"].startswith("Bearer ") for seen in registry.seen if seen.kind == "blob")
        assert cdn.count("blob") == 5
        assert not any({"Authorization", "Cookie"} & seen.headers.keys() for seen in cdn.seen)
        # Where a blob lies is asked once, whatever its number of parts.
        assert registry.count("blob") == 3


async def test_an_address_that_is_no_longer_good_is_asked_for_again(make_transfers, store, bulk):
    async with Registry() as cdn, Registry(cdn=cdn) as registry:
        registry.add_model("a/b", ("application/vnd.example.bulk", bulk))
        cdn.blobs = registry.blobs

        async def is_over(cdn, request):
            """Until the way is asked again, for another part than the first."""
            asked_again = any(seen.range and seen.range[0] for seen in registry.seen)
            is_first = request.headers.get("Range", "bytes=0-").startswith("bytes=0-")
            return None if asked_again or is_first else await status(403, "expired")(cdn, request)

        cdn.fault("blob", is_over, ALWAYS)
        await pull(make_transfers(), registry)
        assert problems(store.root) == []
        assert registry.count("blob") >= 3


async def test_https_does_not_lead_to_http():
    from yarl import URL

    from gristmill.api.registry.addresses import follow
    from gristmill.api.registry.errors import RedirectRefused

    assert follow(URL("https://a/v2/x"), "/y?z=%2F") == URL("https://a/y?z=%2F", encoded=True)
    with pytest.raises(RedirectRefused, match=r"from https to plain http, at b"):
        follow(URL("https://a/v2/x"), "http://b/y?sig=secret")


async def test_plain_http_must_be_asked_for(transfers):
    with pytest.raises(InvalidRequest, match=r"^insecure protocol http$"):
        transfers.pull("http://localhost:1/a/b")
    with pytest.raises(InvalidRequest, match=r"^invalid model name$"):
        transfers.pull("localhost:port/a/b")


async def test_nobody_there(transfers, unused_tcp_port):
    with pytest.raises(RegistryError, match=r"^pull model manifest: no connection to 127.0.0.1: connection refused$"):
        await lines_of(transfers.pull(f"127.0.0.1:{unused_tcp_port}/a/b", insecure=True))
    with pytest.raises(RegistryError, match=r"^pull model manifest: no address found for host no.such.host.invalid: "):
        await lines_of(transfers.pull("no.such.host.invalid/a/b"))


async def test_a_part_that_came_is_not_fetched_again(registry, transfers, store, model, bulk):
    registry.fault("blob", cut(0), ALWAYS, skip=3)  # the weights and two parts come
    with pytest.raises(RegistryError, match=r"max retries"):
        await pull(transfers, registry)
    state = sorted(path.name for path in (store.root / "blobs").iterdir() if "partial" in path.name)
    digest = digest_of(bulk)
    assert state[0] == digest.replace(":", "-") + "-partial"
    registry.faults.clear()
    synced = sum(json.loads((store.root / "blobs" / name).read_text())["Completed"] for name in state[1:])
    registry.sent.clear()
    await pull(transfers, registry)
    assert registry.sent[digest] == len(bulk) - synced <= len(bulk) - 9000
    assert problems(store.root) == []


async def test_what_came_before_a_break_counts(registry, make_transfers, store, model, bulk):
    """Even if it is less than what is written at once: or a bad line would never bring a large blob."""
    transfers = make_transfers(replace(SMALL, write_bytes=1 << 20, renewal_bytes=100))
    registry.fault("blob", cut(300), 60, skip=1)
    await pull(transfers, registry)
    assert registry.count("blob") > 60
    assert problems(store.root) == []


async def test_a_pull_that_is_left_stops_and_goes_on_later(registry, transfers, store, model, bulk):
    registry.fault("blob", cut(3000, then="stall"), ALWAYS, skip=2)
    lines = transfers.pull(f"{registry.host}/a/b", insecure=True)
    async for line in lines:
        if line.get("digest") == digest_of(bulk) and line.get("completed", 0) > 4500:
            break
    await lines.aclose()
    await registry.until(lambda: registry.in_flight == 0)
    registry.faults.clear()
    registry.sent.clear()
    await pull(transfers, registry)
    assert registry.sent[digest_of(bulk)] < len(bulk) - 4500
    assert problems(store.root) == []
