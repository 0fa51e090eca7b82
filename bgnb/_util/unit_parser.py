"""Limit on the powers in units that are read from files.

Astropy computes factors such as ``10**999999999`` as integers, which takes hours that no signal interrupts, and then
refuses the unit, as they are no floats.
"""

from __future__ import annotations

import re
from typing import Any

from astropy.units.format import Generic

# Powers of numbers that are too large for floats; those of units, such as m**1000, are not computed.
_TOO_LARGE = re.compile(r"\d\s*(?:(?:\*\*|\^|\+)\s*\(?|\()\s*\+?\s*0*[1-9]\d{3}")


def refuse_huge_powers() -> None:
    """Let Astropy refuse units with such factors at once, if it has the private method that parses all formats but CDS."""
    parser: Any = next((each for each in Generic.__mro__ if "_do_parse" in vars(each)), None)
    if parser is None:
        return
    parse = vars(parser)["_do_parse"].__func__

    def checked(cls: Any, s: str, *args: Any, **options: Any) -> Any:
        if _TOO_LARGE.search(s):
            raise ValueError("it contains a power that is too large")
        return parse(cls, s, *args, **options)

    parser._do_parse = classmethod(checked)


refuse_huge_powers()
