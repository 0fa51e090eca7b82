"""Gzip streams, by ISA-L if the package isal is installed, else by zlib.

Both engines give the same content and the same errors; only the compressed bytes differ.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO

try:
    from isal import igzip_lib, isal_zlib
except ImportError:
    HAS_ISAL = False
else:
    HAS_ISAL = True  # zlib takes longer

#: First bytes of a gzip stream.
MAGIC = b"\x1f\x8b"

_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
# Compressed bytes that zlib decompresses in one step: at most a thousand times as many in memory.
_STEP = 1 << 16
# Bytes that are compressed in one step: ISA-L is slower if it has to allocate memory for all of them.
_PIECE = 1 << 20


class StreamError(ValueError):
    """A gzip stream that cannot be decompressed.

    Parameters
    ----------
    code : {"truncated", "damaged", "too-large"}
        Kind of the error, as in ``docs/errors.md``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the gzip stream is {code}")
        self.code = code


def compress(content: bytes) -> bytes:
    """Compress to a gzip stream without a time stamp.

    >>> decompress(compress(b"events") + compress(b" and times") + bytes(3))
    b'events and times'
    """
    return b"".join(compressed([content]))


def compressed(contents: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Compress contents to one gzip stream without a time stamp, piece by piece."""
    stream = isal_zlib.compressobj(_LEVEL, wbits=_GZIP) if HAS_ISAL else zlib.compressobj(_LEVEL, wbits=_GZIP)
    for content in contents:
        view = memoryview(content)
        for start in range(0, len(view), _PIECE):
            yield stream.compress(view[start : start + _PIECE])
    yield stream.flush()


def decompress(stream: bytes, max_size: int = 1 << 40) -> bytes:
    """Decompress all members of a gzip stream; padding after them is ignored.

    Parameters
    ----------
    stream : bytes
        The gzip stream.
    max_size : int
        Maximum size of the content. Larger content takes no more memory than this.

    Raises
    ------
    StreamError
        If the stream is truncated or damaged, or its content too large.
    """
    if not MAGIC.startswith(stream[:2]):
        raise StreamError("damaged")
    pieces: list[bytes] = []
    room = max_size
    while not pieces or stream.startswith(MAGIC):
        piece, stream = (_member_by_isal if HAS_ISAL else _member_by_zlib)(stream, room + 1)
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            raise StreamError("too-large")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _member_by_isal(stream: bytes, max_size: int) -> tuple[bytes, bytes]:
    """Decompress the first member, up to a maximum size; return it and the rest of the stream."""
    member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    stated = int.from_bytes(stream[-4:], "little")  # size of the last member: if true, memory is allocated once
    try:
        piece = member.decompress(stream, min(stated, max_size))
        if not member.eof:
            piece += member.decompress(b"", max_size - len(piece))
    except igzip_lib.IsalError:  # type: ignore[misc] # isal does not type it
        raise StreamError("damaged") from None
    return _checked(piece, member.eof, max_size), member.unused_data


def _member_by_zlib(stream: bytes, max_size: int) -> tuple[bytes, bytes]:
    """Decompress the first member, up to a maximum size; return it and the rest of the stream."""
    member = zlib.decompressobj(wbits=_GZIP)
    piece, position = BytesIO(), 0
    try:
        while position < len(stream) and not member.eof and piece.tell() < max_size:
            piece.write(member.decompress(stream[position : position + _STEP], max_size - piece.tell()))
            position += _STEP
    except zlib.error:
        raise StreamError("damaged") from None
    return _checked(piece.getvalue(), member.eof, max_size), member.unused_data + stream[position:]


def _checked(piece: bytes, is_complete: bool, max_size: int) -> bytes:
    if not is_complete and len(piece) < max_size:
        raise StreamError("truncated")
    return piece
