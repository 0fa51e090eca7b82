"""Gzip streams with either engine, against the standard library."""

import gzip
from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgnb._util.compression import GzipReader, StreamError, compress, decompress
from tests.helpers.time_limit import time_limit

pytestmark = pytest.mark.usefixtures("engine")
CONTENT = np.random.default_rng(0).normal(size=100_000).astype(">f4").tobytes() + bytes(300_000)


def code_of(stream: bytes, max_size: int = 1 << 30) -> str:
    with pytest.raises(StreamError) as caught:
        decompress(stream, max_size)
    return caught.value.code


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "byte", "long"])
def test_content_is_unchanged(content):
    assert gzip.decompress(compress(content)) == content
    assert decompress(gzip.compress(content)) == content


def test_equal_content_gives_equal_bytes():
    """Bytes 4 to 7 of a gzip header are the time."""
    stream = compress(CONTENT)
    assert stream == compress(CONTENT)
    assert stream[4:8] == bytes(4)


def test_many_members():
    """The time grows as the number of members, not as its square."""
    stream = gzip.compress(b"") * 200_000 + gzip.compress(CONTENT) + gzip.compress(b"last")
    with time_limit():
        assert decompress(stream) == CONTENT + b"last"
    stream = gzip.compress(b"") * 1000 + gzip.compress(CONTENT) + gzip.compress(b"last")
    assert code_of(stream, len(CONTENT)) == "too-large"
    assert code_of(stream[:-1]) == "truncated"


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=4), st.integers(0, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_members_are_joined(members, padding):
    stream = b"".join(gzip.compress(member) for member in members)
    assert decompress(stream + bytes(padding)) == b"".join(members)


def test_every_truncation_is_found():
    """The last eight bytes are checksum and size."""
    stream = gzip.compress(CONTENT)
    for size in [0, 1, 5, 10, 11, 1000, len(stream) // 2, *range(len(stream) - 20, len(stream))]:
        assert code_of(stream[:size]) == "truncated", size


def test_truncated_second_member_is_found():
    assert code_of(gzip.compress(b"events") + gzip.compress(CONTENT)[:-1]) == "truncated"


def test_every_flipped_checksum_bit_is_found():
    stream = gzip.compress(CONTENT)
    for bit in range(64):
        damaged = bytearray(stream)
        damaged[len(stream) - 8 + bit // 8] ^= 1 << bit % 8
        assert code_of(bytes(damaged)) == "damaged", bit


def test_flipped_bits_in_content_are_found():
    stream = gzip.compress(CONTENT)
    for position in np.random.default_rng(1).integers(12, len(stream) - 8, 200):
        damaged = bytearray(stream)
        damaged[position] ^= 0x10
        assert code_of(bytes(damaged)) in ("damaged", "truncated"), position


JUNK = b"\x1f\x8b\x07junkjunk"


@pytest.mark.parametrize("stream", [b"junk", JUNK, gzip.compress(b"x") + JUNK], ids=["text", "method", "second member"])
def test_other_content_is_damaged(stream):
    assert code_of(stream) == "damaged"


@pytest.mark.parametrize("members", [1, 2, 5])
def test_maximum_size_is_that_of_all_members(members):
    size = len(CONTENT) // members
    stream = b"".join(gzip.compress(CONTENT[i * size : (i + 1) * size]) for i in range(members))
    assert decompress(stream, members * size) == CONTENT[: members * size]
    assert code_of(stream, members * size - 1) == "too-large"
    assert code_of(stream, 1) == "too-large"


def test_errors_do_not_name_the_engine():
    """Errors are written to report.json, which does not depend on the engine."""
    with pytest.raises(StreamError, match=r"^the gzip stream is damaged$"):
        decompress(b"\x1f\x8b\x07junkjunk")


@pytest.mark.parametrize("step", [1000, 70_000, 1 << 20])
def test_reader_gives_content_in_steps(step):
    """Members are joined, positions are those of the content, and padding is ignored."""
    reader = GzipReader(BytesIO(gzip.compress(CONTENT) + gzip.compress(b"end") + bytes(99)), 1 << 30)
    content = b""
    while piece := reader.read(step):
        content += piece
        reader.seek(-1)
        assert reader.read(1) == piece[-1:]
        assert reader.tell() == len(content)
    assert content == CONTENT + b"end"
    skipping = GzipReader(BytesIO(gzip.compress(CONTENT)), 1 << 30)
    assert skipping.seek(len(CONTENT) - 2) == len(CONTENT) - 2
    assert skipping.read(step) == CONTENT[-2:]
    assert skipping.seek(5) == len(CONTENT)


def test_reader_finds_the_same_errors():
    """Truncated, damaged and too large streams are found at the latest by the end."""
    stream = gzip.compress(CONTENT)
    flipped = bytearray(stream)
    flipped[-6] ^= 1
    streams = {stream[: len(stream) // 2]: "truncated", stream[:-1]: "truncated", stream[:1]: "truncated"}
    streams |= {bytes(flipped): "damaged", b"junk": "damaged", stream + JUNK: "damaged", stream + stream: "too-large"}
    for broken, code in streams.items():
        with pytest.raises(StreamError) as caught:
            GzipReader(BytesIO(broken), len(CONTENT)).finish()
        assert caught.value.code == code
