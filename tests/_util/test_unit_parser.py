"""Powers in units that Astropy would compute for hours."""

import pytest
from astropy import units as u

import bgnb._util.unit_parser  # noqa: F401


@pytest.mark.parametrize("unit_format", ["generic", "fits", "vounit"])
@pytest.mark.parametrize(
    "unit", ["10**9999 TeV", "10^(+9999) TeV", "10+9999TeV", "10(+9999)TeV", "3 7**9999 TeV", "10 ** 09999 TeV"]
)
def test_huge_powers_are_refused_before_they_are_computed(unit, unit_format):
    # Astropy computes this one in no time, and then complains of an integer; it needs hours for 10**999999999.
    with pytest.raises(ValueError, match="contains a power"):
        u.Unit(unit, format=unit_format)


@pytest.mark.parametrize(
    ("unit", "scale"), [("10**99 m", 1e99), ("10+3 m", 1e3), ("10**(-3) m", 1e-3), ("1e300 m", 1e300), ("10⁺⁹ m", 1e9)]
)
def test_other_powers_are_units(unit, scale):
    assert u.Unit(unit).to("m") == pytest.approx(scale)
    assert u.Unit("m**1000").powers == [1000]
