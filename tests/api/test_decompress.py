"""Compressed bodies: as they were, or refused before they become large."""

import random

import pytest
import zstandard

from gristmill.api.decompress import MAX_BODY_BYTES, bound, decompress
from gristmill.api.errors import BodyTooLarge
from gristmill.runtime.errors import InvalidRequest

MIB = 1 << 20


def skippable(data):
    """A frame without content (RFC 8878, 3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def noise(n):
    return random.Random(n).randbytes(n)


@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025, 131_071, 300_000])
@pytest.mark.parametrize("level", [1, 19])
def test_content_comes_back(n, level):
    for content in (noise(n), b"word " * (n // 5)):
        assert decompress(zstandard.ZstdCompressor(level, write_checksum=True).compress(content)) == content


def test_nothing_is_nothing():
    assert decompress(b"") == b""


def test_frames_one_behind_the_other_are_one_content():
    frames = [zstandard.compress(text) for text in (b"one", b"", b"two" * 5000, b"three")]
    assert decompress(b"".join(frames)) == b"one" + b"two" * 5000 + b"three"


def test_content_may_reach_the_bound_and_no_more():
    assert decompress(zstandard.compress(b" " * MIB)) == b" " * MIB
    with pytest.raises(BodyTooLarge, match="limit 1048576 bytes after decompression"):
        decompress(zstandard.compress(b" " * (MIB + 1)))


def test_a_bomb_is_refused_however_it_is_packed():
    small = zstandard.compress(b" " * (100 << 10))
    for bomb in (zstandard.compress(bytes(MAX_BODY_BYTES + 1)), small * 40, skippable(b"x" * 10) + small * 40):
        with pytest.raises(BodyTooLarge):
            decompress(bomb)


def test_the_bound_is_a_ratio_between_two_sizes():
    assert [bound(n) for n in (1, 5242, 5243)] == [MIB, MIB, 200 * 5243]
    assert bound(MAX_BODY_BYTES) == MAX_BODY_BYTES


@pytest.mark.parametrize("cut", [1, 3, 5, 100])
def test_a_stream_that_is_cut_off_is_refused(cut):
    with pytest.raises(InvalidRequest, match="cut off"):
        decompress(zstandard.ZstdCompressor(write_checksum=True).compress(noise(5000))[:-cut])


def test_damage_is_noticed():
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(noise(5000))
    for damaged in (b"x" + whole[1:], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"more", b"plain text"):
        with pytest.raises(InvalidRequest, match=r"no zstd stream|cut off"):
            decompress(damaged)


def test_a_window_above_8_mib_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    whole = compressor.compress(noise(9 << 20)) + compressor.flush()
    with pytest.raises(InvalidRequest, match="window above 8 MiB"):
        decompress(whole)
