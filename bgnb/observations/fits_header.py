"""Headers of FITS files: cards, keywords and their values, and what stands where a header should be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from bgnb._util.errors import DataError

BLOCK = 2880
CARD = 80
#: What to do with a file that came to harm on its way.
AGAIN = "; copy it again from where it is whole"

_LONGEST = 1000  # blocks, 36 000 cards
_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:/\s*(.*))?$")


@dataclass(frozen=True)
class Card:
    """Value and comment of a header card."""

    value: Any
    comment: str = ""


@dataclass(frozen=True)
class Header:
    """Text behind each keyword, the bytes of the header, and what is odd about it."""

    cards: Mapping[str, str]
    content: bytes
    notes: tuple[str, ...]


def read_header(stream: BinaryIO, path: Path, number: int) -> Header | None:
    """The next header; None at the end of the file."""
    cards: dict[str, str] = {}
    blocks: list[bytes] = []
    notes = []
    key = ""
    while len(blocks) < _LONGEST:
        block = stream.read(BLOCK)
        if not blocks:
            if number and not block.strip(b"\0 \n"):
                return None  # perhaps padded
            if not block.startswith(b"XTENSION=" if number else b"SIMPLE  ="):
                raise DataError(f"{path}: {_instead(block) if number == 0 else f'after HDU {number - 1} comes no other HDU'}")
        if len(block) < BLOCK:
            raise DataError(f"{path}: is cut, at the header of HDU {number}{AGAIN}")
        blocks.append(block)
        text = block.decode("latin-1")
        if not text.isascii():
            notes.append("a header has characters that are not ASCII")
        for position in range(0, BLOCK, CARD):
            card = text[position : position + CARD]
            if card[8:10] == "= ":
                key, value = card[:8].rstrip(), card[10:]
            elif card.startswith("END     "):
                return Header(cards, b"".join(blocks), tuple(dict.fromkeys(notes)))
            elif card.startswith("HIERARCH ") and "=" in card:
                key, value = card[9:].split("=", 1)
                key = key.strip().upper()
            else:
                if card.startswith("CONTINUE") and key:
                    cards[key] = _continued(cards[key], card[8:])
                continue
            if cards.setdefault(key, value) != value:
                notes.append(f"keyword {key} stands in a header more than once, and the first is used")
    raise DataError(f"{path}: the header of HDU {number} does not end")


def _continued(text: str, more: str) -> str:
    """A text that ends with & goes on in the next card (FITS 4.0, section 4.2.1.2)."""
    begun, rest = _QUOTED.match(text), _QUOTED.match(more)
    return f"'{begun[1].rstrip()[:-1]}{rest[1]}'" if begun and rest and begun[1].rstrip().endswith("&") else text


def _instead(start: bytes) -> str:
    """What a file is that is no FITS file."""
    if not start:
        return f"is empty{AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs, not the file itself; fetch it with git lfs pull"
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "is a web page, not a FITS file; was its download refused?"
    return "is not a FITS file"


@lru_cache(maxsize=4096)
def parse_card(text: str) -> Card:
    """Value and comment from the text behind a keyword."""
    if quoted := _QUOTED.match(text):
        return Card(quoted[1].replace("''", "'").rstrip(), (quoted[2] or "").strip())
    value, _, comment = text.partition("/")
    return Card(_parse_scalar(value.strip()), comment.strip())


def _parse_scalar(text: str) -> bool | int | float | str | None:
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return text or None


def value_of(header: Mapping[str, str], keyword: str, default: Any) -> Any:
    """Value of a keyword, or ``default``."""
    return parse_card(header[keyword]).value if keyword in header else default


def size_of(header: Mapping[str, str], keyword: str, where: str, default: int | None = None) -> int:
    """Value of a keyword that counts something."""
    value = value_of(header, keyword, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: keyword {keyword} must be a whole number that is not negative, got {value!r}")
    return value


def number_of(header: Mapping[str, str], keyword: str, where: str, default: int) -> int | float:
    """Value of a keyword that scales or shifts a column."""
    value = value_of(header, keyword, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: keyword {keyword} is not a number: {value!r}")
    return value


def data_size(header: Mapping[str, str], where: str) -> int:
    """Bytes of the data of an HDU, without padding."""
    naxis = size_of(header, "NAXIS", where)
    if naxis == 0:
        return 0
    cells = math.prod(size_of(header, f"NAXIS{i + 1}", where) for i in range(naxis))
    groups, extra = size_of(header, "GCOUNT", where, 1), size_of(header, "PCOUNT", where, 0)
    bits = value_of(header, "BITPIX", 8)
    if bits not in (8, 16, 32, 64, -32, -64):
        raise DataError(f"{where}: keyword BITPIX must be 8, 16, 32, 64, -32 or -64, got {bits!r}")
    return abs(bits) // 8 * groups * (extra + cells)
