"""Headers of FITS files: cards, keywords and their values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from bgnb._util.compression import GzipReader
from bgnb._util.errors import DataError

BLOCK = 2880
CARD = 80
#: Advice for files that were damaged after they were written.
AGAIN = "; copy it again from an intact source"

# Maximum number of axes (FITS 4.0, section 4.4.1.1).
_MAX_NAXIS = 999
_MAX_BLOCKS = 1000  # 36 000 cards
# Maximum number of columns (FITS 4.0, section 7.3.1), of which Astropy makes lists.
_MAX_FIELDS = 999
_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:/\s*(.*))?$")


class HduClass(Enum):
    """Content of a table in a DL3 file; the values are HDU_TYPE in the HDU index of GADF."""

    EVENTS = "events"
    GTI = "gti"
    AEFF = "aeff"
    EDISP = "edisp"
    PSF = "psf"
    RAD_MAX = "rad_max"


# By HDUCLAS1, by HDUCLAS2 of instrument responses, or by EXTNAME.
_HDU_CLASSES = {each.name: each for each in HduClass} | {"EFF_AREA": HduClass.AEFF, "EFFECTIVE AREA": HduClass.AEFF}
_HDU_CLASSES |= {"ENERGY DISPERSION": HduClass.EDISP, "RPSF": HduClass.PSF, "POINT SPREAD FUNCTION": HduClass.PSF}


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header of an HDU. Cards are parsed when their value is needed.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    hdu : int
        Number of the HDU; 0 is the primary HDU.
    cards : mapping of str to str
        Text after each keyword. Keywords in upper case; HIERARCH keywords without that word.
    content : bytes
        All blocks of the header.
    notes : tuple of str
        Warnings raised while reading.
    defaults : mapping
        Values of keywords that the header lacks.
    """

    path: Path
    hdu: int
    cards: Mapping[str, str]
    content: bytes
    notes: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """EXTNAME, as written in the file."""
        return str(self.get("EXTNAME", "")).strip()

    @cached_property
    def hdu_class(self) -> HduClass | None:
        """Content of the table according to HDUCLAS1 and HDUCLAS2, or else to EXTNAME; None for other HDUs."""
        if self.get("XTENSION") != "BINTABLE":
            return None
        stated = [str(self.get(keyword, "")).strip().upper() for keyword in ("HDUCLAS1", "HDUCLAS2")]
        return _HDU_CLASSES.get(stated[stated[0] == "RESPONSE"]) or _HDU_CLASSES.get(self.name.upper())

    @cached_property
    def where(self) -> str:
        """File and HDU, as named in error messages."""
        return f"{self.path}, HDU {self.name or self.hdu}"

    def error(self, code: str, message: str) -> DataError:
        """Make an error that names the file and the HDU."""
        return DataError(code, f"{self.where}: {message}")

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of a keyword, or ``default``."""
        value = self.stated(keyword)
        if value is None:
            value = self.defaults.get(keyword)
        return default if value is None else value

    def stated(self, keyword: str) -> Any:
        """Return the value of a keyword in the header itself, None if it has none, or an empty text."""
        value = parse_card(self.cards[keyword])[0] if keyword in self.cards else None
        return None if value == "" else value

    def comment(self, keyword: str) -> str:
        """Return the comment of a keyword."""
        return parse_card(self.cards.get(keyword, ""))[1]

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return the value of a keyword as a float; text that contains a number is accepted.

        Raises
        ------
        DataError
            If it is missing and there is no default, or is not a finite number.
        """
        value = self.get(keyword, default)
        if value is None:
            raise self.error("missing-keyword", f"keyword {keyword} is missing")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise self.error("bad-keyword", f"keyword {keyword} is not a number: {value!r}")
        return number

    def size(self, keyword: str, default: int | None = None) -> int:
        """Return the value of a keyword that must be a non-negative whole number."""
        value = self.get(keyword, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error("bad-keyword", f"keyword {keyword} must be a non-negative integer, got {value!r}")
        return value

    def data_size(self) -> int:
        """Compute the size of the data in bytes, without padding."""
        naxis = self.size("NAXIS")
        if naxis == 0:
            return 0
        if naxis > _MAX_NAXIS:
            raise self.error("bad-keyword", f"keyword NAXIS must be at most {_MAX_NAXIS}, got {naxis}")
        cells = math.prod(self.size(f"NAXIS{axis + 1}") for axis in range(naxis))
        bits = self.get("BITPIX", 8)
        if bits not in (8, 16, 32, 64, -32, -64):
            raise self.error("bad-keyword", f"keyword BITPIX must be 8, 16, 32, 64, -32 or -64, got {bits!r}")
        return abs(bits) // 8 * self.size("GCOUNT", 1) * (self.size("PCOUNT", 0) + cells)


def read_header(stream: BinaryIO | GzipReader, path: Path, number: int) -> Header | None:
    """Read the next header; return None at the end of the file."""
    cards: dict[str, str] = {}
    continued: dict[str, list[str]] = {}
    blocks: list[bytes] = []
    notes = []
    key = ""
    while len(blocks) < _MAX_BLOCKS:
        block = stream.read(BLOCK)
        if not blocks and number == 0 and not block.startswith(b"SIMPLE  ="):
            code, message = _what_instead(block)
            raise DataError(code, f"{path}: {message}")
        if not blocks and number and not block.startswith(b"XTENSION="):
            if not block.strip(b"\0 \n"):
                return None  # padding, perhaps
            raise DataError("bad-header", f"{path}: no HDU follows HDU {number - 1}, but other content")
        if len(block) < BLOCK:
            raise DataError("truncated", f"{path}: is truncated in the header of HDU {number}{AGAIN}")
        blocks.append(block)
        text = block.decode("latin-1")
        if not text.isascii():
            notes.append("a header contains characters that are not ASCII")
        for position in range(0, BLOCK, CARD):
            card = text[position : position + CARD]
            if card[8:10] == "= ":
                key, value = card[:8].strip().upper(), card[10:]  # as Astropy reads it
            elif card.startswith("END     "):
                cards |= {name: _join_continued(cards[name], more) for name, more in continued.items()}
                header = Header(path=path, hdu=number, cards=cards, content=b"".join(blocks), notes=tuple(dict.fromkeys(notes)))
                if header.size("TFIELDS", 0) > _MAX_FIELDS:
                    raise header.error(
                        "bad-keyword", f"keyword TFIELDS must be at most {_MAX_FIELDS}, got {header.get('TFIELDS')}"
                    )
                return header
            elif card.startswith("HIERARCH ") and "=" in card:
                key, value = card[9:].split("=", 1)
                key = key.strip().upper()
            else:
                if card.startswith("CONTINUE") and key:
                    continued.setdefault(key, []).append(card[8:])
                continue
            if cards.setdefault(key, value) != value:
                notes.append(f"keyword {key} appears in a header more than once; the first one is used")
    raise DataError("bad-header", f"{path}: the header of HDU {number} has no END card")


def _join_continued(text: str, cards: list[str]) -> str:
    """Append the next cards to a text that ends with & (FITS 4.0, section 4.2.1.2)."""
    last, pieces = _QUOTED.match(text), []
    for more in filter(None, map(_QUOTED.match, cards)):
        if last and (begun := last[1].rstrip()).endswith("&"):
            pieces.append(begun[:-1])
            last = more
    return f"'{''.join(pieces)}{last[1]}'" if last and pieces else text


def _what_instead(start: bytes) -> tuple[str, str]:
    """Recognize content that is not FITS: error code and description."""
    if not start:
        return "empty-file", f"is empty{AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return "not-fits", "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"
    if start.startswith((b"BZh", b"\xfd7zXZ", b"PK\3\4", b"\x28\xb5\x2f\xfd", b"\x1f\x9d")):
        return "not-fits", "is compressed, but not by gzip; decompress it"
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return "not-fits", "is a web page, not a FITS file; was its download refused?"
    return "not-fits", "is not a FITS file"


@lru_cache(maxsize=4096)
def parse_card(text: str) -> tuple[Any, str]:
    """Parse the text after a keyword into value and comment."""
    if quoted := _QUOTED.match(text):
        return quoted[1].replace("''", "'").rstrip(), (quoted[2] or "").strip()
    value, _, comment = text.partition("/")
    return _parse_scalar(value.strip()), comment.strip()


def _parse_scalar(text: str) -> bool | int | float | str | None:
    if text in ("T", "F"):
        return text == "T"
    for parse in (int, lambda number: float(number.replace("D", "E"))):
        try:
            return parse(text)
        except ValueError:
            pass
    return text or None
