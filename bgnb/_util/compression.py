"""Gzip streams, by ISA-L if the package isal is installed, else by zlib.

Both engines give the same content and the same errors; only the compressed bytes differ.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

try:
    from isal import igzip, igzip_lib
except ImportError:
    HAS_ISAL = False
    _DAMAGED: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error)
else:
    HAS_ISAL = True  # zlib takes longer
    _DAMAGED = (gzip.BadGzipFile, zlib.error, igzip_lib.IsalError)  # type: ignore[assignment] # isal does not type it

#: First bytes of a gzip stream.
MAGIC = b"\x1f\x8b"

_LEVEL = 1
# Bytes of content that are read at a time.
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
    return igzip.compress(content, _LEVEL, mtime=0) if HAS_ISAL else zlib.compress(content, _LEVEL, wbits=16 + zlib.MAX_WBITS)


def decompress(stream: bytes, max_size: int = 1 << 40) -> bytes:
    """Decompress all members of a gzip stream; zeros after them are ignored.

    Parameters
    ----------
    stream : bytes
        The gzip stream.
    max_size : int
        Maximum size of the content.

    Raises
    ------
    StreamError
        If the stream is truncated or damaged, or its content too large.
    """
    reader = GzipReader(BytesIO(stream), max_size)
    stated = int.from_bytes(stream[-4:], "little")  # size of the last member: usually the only one, which is read in one step
    content = reader.read(min(stated, max_size) + 1)
    rest = [*iter(lambda: reader.read(_BLOCK), b"")]
    return b"".join([content, *rest]) if rest else content


class GzipReader:
    """Reader of the content of a gzip file, of which little is in memory at a time.

    Parameters
    ----------
    file : file
        The gzip file, opened for reading.
    max_size : int
        Maximum size of the content.
    engine : class
        `gzip.GzipFile` for what precedes damage in a file, also in a small one, of which ISA-L gives nothing.

    Raises
    ------
    StreamError
        By its methods, if the stream is truncated or damaged, or its content too large.
    """

    def __init__(self, file: BinaryIO, max_size: int, engine: type[gzip.GzipFile] | None = None) -> None:
        self._stream = (engine or (igzip.IGzipFile if HAS_ISAL else gzip.GzipFile))(fileobj=file, mode="rb")
        self._max_size = max_size

    def read(self, size: int) -> bytes:
        """Read a number of bytes, or fewer at the end."""
        with self._errors():
            return self._stream.read(min(size, self._max_size + 1))

    def tell(self) -> int:
        """Return the position in the content."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_CUR) -> int:
        """Skip a number of bytes, as far as there are, or go back; return the position."""
        with self._errors():
            return self._stream.seek(offset, whence)

    def finish(self) -> None:
        """Read the rest, which verifies the checksum."""
        while self.read(_BLOCK):
            pass

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except EOFError:
            raise StreamError("truncated") from None
        except _DAMAGED:
            raise StreamError("damaged") from None
        if self._stream.tell() > self._max_size:
            raise StreamError("too-large")
