"""Gzip streams, by ISA-L if the package isal is installed, else by zlib.

Both engines give the same content and the same errors; only the compressed bytes differ.
"""

from __future__ import annotations

import os
import zlib
from io import BytesIO
from typing import Any, BinaryIO

try:
    from isal import igzip, igzip_lib
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
# Bytes of content that are skipped at a time.
_BLOCK = 1 << 24


class StreamError(ValueError):
    """A gzip stream that cannot be decompressed.

    Parameters
    ----------
    code : {"truncated", "damaged", "too-large"}
        Kind of the error, as in ``docs/reference/errors.md``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the gzip stream is {code}")
        self.code = code


def compress(content: bytes) -> bytes:
    """Compress to a gzip stream without a time stamp.

    >>> decompress(compress(b"events") + compress(b" and times") + bytes(3))
    b'events and times'
    """
    # In one call: streams of isal_zlib.compressobj now and then differ for equal content.
    return igzip.compress(content, _LEVEL, mtime=0) if HAS_ISAL else zlib.compress(content, _LEVEL, wbits=_GZIP)


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
    piece, rest = (_member_by_isal if HAS_ISAL else _member_by_zlib)(stream, max_size + 1)
    if len(piece) > max_size:
        raise StreamError("too-large")
    if not rest.startswith(MAGIC):
        return piece
    others = GzipReader(BytesIO(rest), max_size - len(piece))  # in steps, as each member copies what follows it
    return b"".join([piece, *iter(lambda: others.read(_BLOCK), b"")])


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


class GzipReader:
    """Forward reader of the content of a gzip file, of which a few steps are in memory at a time.

    Parameters
    ----------
    file : file
        The gzip file, opened for reading.
    max_size : int
        Maximum size of the content.

    Raises
    ------
    StreamError
        By its methods, if the stream is truncated or damaged, or its content too large.
    """

    def __init__(self, file: BinaryIO, max_size: int) -> None:
        self._file, self._room = file, max_size
        self._pending, self._last = b"", b""
        self._position = 0
        self._member: Any = None
        self._stream = file.read(_STEP)
        if not MAGIC.startswith(self._stream[:2]):
            raise StreamError("damaged")

    def read(self, size: int) -> bytes:
        """Read a number of bytes, or fewer at the end."""
        pieces, missing = [self._pending[:size]], size - len(self._pending)
        self._pending = self._pending[size:]
        while missing > 0 and (piece := self._decompressed(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self._last = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._position += len(self._last)
        return self._last

    def tell(self) -> int:
        """Return the position in the content."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_CUR) -> int:
        """Skip a number of bytes, as far as there are, or go back within the bytes read last; return the position."""
        if whence != os.SEEK_CUR or -offset > len(self._last):
            raise ValueError("only relative positions ahead, or in the bytes read last, can be reached")
        if offset < 0:
            self._pending = self._last[offset:] + self._pending
            self._position += offset
        while offset > 0 and (skipped := len(self.read(min(offset, _BLOCK)))):
            offset -= skipped
        return self._position

    def finish(self) -> None:
        """Read the rest, which verifies the checksum."""
        while self.read(_BLOCK):
            pass

    def _decompressed(self, size: int) -> bytes:
        """Decompress up to a number of bytes; none at the end of the stream."""
        while True:
            if self._member is None or self._member.eof:
                if len(self._stream) < len(MAGIC):
                    self._stream += self._file.read(_STEP)
                if self._member is not None and not self._stream.startswith(MAGIC):
                    return b""
                self._member = _new_member()
            elif not self._stream and (not HAS_ISAL or self._member.needs_input):
                self._stream = self._file.read(_STEP)
            is_at_end = not self._stream
            try:
                piece = self._member.decompress(self._stream, size)
            except _errors():
                raise StreamError("damaged") from None
            if self._member.eof:
                self._stream = self._member.unused_data
            else:
                self._stream = b"" if HAS_ISAL else self._member.unconsumed_tail
            self._room -= len(piece)
            if self._room < 0:
                raise StreamError("too-large")
            if piece:
                return piece
            if is_at_end and not self._member.eof and (not HAS_ISAL or self._member.needs_input):
                raise StreamError("truncated")


def _new_member() -> Any:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP) if HAS_ISAL else zlib.decompressobj(wbits=_GZIP)


def _errors() -> tuple[type[Exception], ...]:
    if HAS_ISAL:
        return (igzip_lib.IsalError,)  # type: ignore[return-value] # isal does not type it
    return (zlib.error,)
