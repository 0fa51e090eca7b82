"""Exclusion regions of users: files and objects of each kind, against the packages that define them, and what is refused."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK5, Galactic, SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS

from bgnb import read_exclusions
from bgnb.observations.fits_table import read_content
from tests.helpers.errors import raises
from tests.helpers.time_limit import time_limit

CENTER = SkyCoord(83.0, 62.0, unit="deg")


def random_sky(radius=3.0, n=20_000):
    rng = np.random.default_rng(4)
    return CENTER.directional_offset_by(rng.uniform(0, 360, n) * u.deg, radius * np.sqrt(rng.uniform(0, 1, n)) * u.deg)


def tangent_plane(frame, center=CENTER):
    """Return coordinates of small pixels in the tangent plane about the centre of regions."""
    wcs = WCS(naxis=2)
    names = ["GLON-TAN", "GLAT-TAN"] if frame.name == "galactic" else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crpix = names, [-1e-3, 1e-3], [1, 1]
    center = center.transform_to(frame)
    wcs.wcs.crval = [center.spherical.lon.deg, center.spherical.lat.deg]
    if frame.name == "fk5":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    return wcs


def write_table(path, **columns):
    Table(columns).write(path, overwrite=True)
    return path


def sky_image(path, data, **keywords):
    header = tangent_plane(Galactic()).to_header()
    header.update({"CDELT1": -0.1, "CDELT2": 0.1, "CRPIX1": 10.5, "CRPIX2": 6.5})
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0}
    hdu = fits.CompImageHDU(data, header, "MASK", **lossless) if path.suffix == ".fz" else fits.ImageHDU(data, header, "MASK")
    for name, value in keywords.items():
        hdu.header[name] = value
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("frame", [CENTER.frame.replicate_without_data(), Galactic(), FK5()])
@pytest.mark.parametrize(
    "shape", ["circle", "annulus", "ellipse", "ellipse annulus", "rectangle", "rectangle annulus", "polygon"]
)
def test_regions_against_their_package(shape, frame):
    """The same positions are inside a region as in the package regions, in the tangent plane about its centre."""
    regions = pytest.importorskip("regions")
    center = SkyCoord(CENTER.transform_to(frame))
    deg, turned = u.deg, {"angle": 25 * u.deg}
    region = {
        "circle": lambda: regions.CircleSkyRegion(center, 0.9 * deg),
        "annulus": lambda: regions.CircleAnnulusSkyRegion(center, 0.7 * deg, 1.3 * deg),
        "ellipse": lambda: regions.EllipseSkyRegion(center, 3 * deg, 1.2 * deg, **turned),
        "ellipse annulus": lambda: regions.EllipseAnnulusSkyRegion(center, 1 * deg, 2 * deg, 0.5 * deg, 1.3 * deg, **turned),
        "rectangle": lambda: regions.RectangleSkyRegion(center, 2.5 * deg, 0.9 * deg, **turned),
        "rectangle annulus": lambda: regions.RectangleAnnulusSkyRegion(
            center, 1 * deg, 2 * deg, 0.5 * deg, 1.3 * deg, **turned
        ),
        "polygon": lambda: regions.PolygonSkyRegion(
            center.directional_offset_by([10, 80, 200, 290] * deg, [1, 2, 1.5, 0.4] * deg)
        ),
    }[shape]()
    sky = random_sky()
    expected = region.contains(SkyCoord(sky.transform_to(frame)), tangent_plane(frame))
    found = read_exclusions(region).covers(sky.ra.deg, sky.dec.deg)
    assert np.count_nonzero(expected) > 1000
    assert np.count_nonzero(found != expected) < 10  # at the edges


def test_region_files(tmp_path):
    """Read several files of regions, and regions in memory, together."""
    regions = pytest.importorskip("regions")
    ds9 = "# Region file format: DS9\nglobal color=green\ngalactic\ncircle(150.1,14.2,0.5)\nicrs\n"
    ds9 += 'ellipse(5:32:00,+62:00:00,1,0.5,30)\nfk5; box(83,62,1800",2,10) # text={here}\n'
    (tmp_path / "a.reg").write_text(ds9)
    (tmp_path / "b.CRTF").write_text("#CRTFv0\npoly [[80deg, 60deg], [82deg, 60deg], [81deg, 61deg]], coord=ICRS\n")
    files = [tmp_path / "a.reg", str(tmp_path / "b.CRTF")]
    mask = read_exclusions(files)
    assert (len(mask.ra), len(mask.shapes)) == (1, 3)
    circle = SkyCoord(150.1, 14.2, unit="deg", frame="galactic").icrs
    np.testing.assert_allclose(mask.circles, [[circle.ra.deg, circle.dec.deg, 0.5]])
    read = [regions.Regions.read(files[0], format="ds9"), *regions.Regions.read(files[1], format="crtf")]
    assert read_exclusions(read).content == mask.content
    # The axis of 1 deg is that along right ascension, turned by 30 deg towards north: position angle 300 deg.
    ellipse = mask.shapes[0]
    points = SkyCoord("5:32:00 62:00:00", unit=("hourangle", "deg")).directional_offset_by(
        [300, 300, 30, 30] * u.deg, [0.99, 1.01, 0.49, 0.51] * u.deg
    )
    assert ellipse.covers(points.ra.deg, points.dec.deg).tolist() == [True, False, True, False]


def test_empty_name_is_refused():
    """An empty name, as from a parameter of a notebook, is not the current directory."""
    with raises("invalid-argument", "exclude", "empty"):
        read_exclusions([""])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.reg", "icrs\npoint(10,20)\n", ["PointSkyRegion", "region 1"]),
        ("a.reg", "icrs\ncircle(1,2,3)\nline(10,20,11,21)\n", ["LineSkyRegion", "region 2"]),
        ("a.reg", "image\ncircle(100,200,5)\n", ["CirclePixelRegion"]),
        ("a.reg", "circle(100,200,5)\n", ["frame"]),
        ("a.reg", "icrs\n-circle(10,20,1)\n", ["minus sign"]),
        ("a.reg", "global color=red include = 0\nicrs\ncircle(10,20,1)\n", ["line 1", "include=0"]),
        ("a.reg", "icrs\ncircle(10,20,1)\nglobal include=0; circle(30,20,1)\n", ["line 3", "include=0"]),
        ("a.reg", "icrs\ncircle(10,20,1) # include=0\n", ["include=0"]),
        ("a.crtf", "#CRTFv0\n-circle[[42deg, 43deg], 1deg], coord=ICRS\n", ["minus sign"]),
        ("a.reg", "icrs\npanda(10,20,0,90,1,1,2,1)\n", ["panda"]),
        ("a.reg", "icrs\nbox(10,20,0,0,0)\n", ["a.reg"]),
        ("a.reg", "icrs\nbox(10,20,100,2,0)\n", ["RectangleSkyRegion", "deg"]),
        ("a.reg", "# nothing\n", ["no regions"]),
        ("a.crtf", "circle", ["CRTF"]),
        # Parts that the package regions ignores without a warning.
        ("a.reg", "icrs\ncircle(10,20,1)\ngalactic circle(10,20,1)\n", ["line 3", "galactic", "semicolon"]),
        ("a.reg", "icrs\ncircle(10,20,1) circle(30,40,1)\n", ["line 2", "circle"]),
        ("a.reg", "icrs\ncircle(10,20,1) && box(10,20,1,1)\n", ["line 2", "circle"]),
        ("a.reg", "fk5; circle(83,6,22,1,0.5) # text={a;b}\n", ["line 1", "5 values"]),
        ("a.reg", "icrs\nellipse(10,20,2,1)\n", ["line 2", "ellipse with 4 values"]),
        ("a.reg", "icrs\rcircle(10,20,1)\rcircle(30,40,1", ["line 3", "bracket"]),
        ("a.reg", "icrs\ncircle(nan,20,1)\n", ["a.reg", "region 1", "finite"]),
        ("a.crtf", "#CRTFv0\ncircle[[1deg, 2deg], 3deg], coord=ICRS circle[[4deg, 5deg], 6deg]\n", ["line 2", "several"]),
        ("a.crtf", "#CRTFv0\nann circle[[1deg, 2deg], 3deg], coord=ICRS\n", ["region 1", "annotation"]),
        ("a.reg", "icrs\ncircle(1e999999,20,1)\n", ["region 1", "finite"]),
        # Longitudes that the package regions wraps without a warning.
        ("a.reg", "icrs\ncircle(10,20,1)\ncircle(83633,22.01,0.3)\n", ["line 3", "longitude", "83633"]),
        ("a.reg", "fk5; polygon( 83633.5d 22 84 22 83 23)\n", ["line 1", "longitude", "83633.5"]),
        ("a.reg", "icrs\npolygon(83,22,83633,22,83,23)\n", ["line 2", "longitude", "83633"]),
        ("a.reg", "icrs\ncircle(83633,22.01,0.3) # text={HESS image}\n", ["line 2", "longitude", "83633"]),
        ("a.crtf", "#CRTFv0\ncircle[[-400deg, 2deg], 3deg], coord=ICRS\n", ["line 2", "longitude", "-400"]),
        ("a.crtf", "#CRTFv0\ncircle[[1deg, 2deg], 3deg], coord=J2000 # source\n", ["line 2", "comment"]),
        ("a.crtf", "#CRTFv0\n\nbox [[82deg, 59deg], [84deg, 61deg]], coord=ICRS\n", ["line 3", "corners", "centerbox"]),
    ],
)  # fmt: skip
def test_regions_without_area_are_refused(tmp_path, name, text, words):
    pytest.importorskip("regions")
    (tmp_path / name).write_text(text)
    with raises("bad-region", str(tmp_path / name), *words):
        read_exclusions([tmp_path / name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.reg", "\ufefficrs\ncircle(10,20,1)\n"),
        ("a.reg", "icrs\rcircle(10,20,1)\r"),
        ("a.reg", 'global font="include=0" include=1 select=1\nicrs\ncircle(10,20,1)\n'),
        ("a.reg", "global color=green # a global line\r\nICRS # frame\r\n+circle 10 20 1 # text={circle(1,2,3,4); icrs x}\r\n"),
        ("a.reg", "fk5\n# composite(10,20,0) || composite=1\ncircle(0:40:00,+20:00:00,60') ||\n"),
        ("a.reg", "icrs\n# Crab; circle of 1 deg\n  # fk5 x; galactic x\ncircle(10,20,1)\n"),
        ("a.reg", "fk5\ncircle(0:39:60.0, +20:00:00, 1)\n"),
        ("a.crtf", "\ufeff#CRTFv0\r\ncircle[[10deg, 20deg], 60arcmin], coord=ICRS\r\n"),
        (
            "a.crtf",
            "#CRTFv0\n# box [[1, 2]] and box [[3, 4]]\ncircle[[10deg, 20deg], 1deg], coord=ICRS, label='box [[1, 2]]'\n",
        ),
    ],
)
def test_spellings_of_a_circle(tmp_path, name, text):
    """Read files with any ends of lines and byte order marks, comments and separators."""
    pytest.importorskip("regions")
    (tmp_path / name).write_bytes(text.encode())
    np.testing.assert_allclose(read_exclusions(tmp_path / name).circles, [[10, 20, 1]], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.reg", "icrs\ncircle(10,20,1) # text={Königstuhl}\n"),
        ("a.crtf", "#CRTFv0\ncircle[[10deg, 20deg], 1deg], coord=ICRS, label='Königstuhl'\n"),
    ],
)
def test_labels_in_latin_1(tmp_path, name, text):
    """Labels do not matter, also if they are in another encoding; files in UTF-16 are refused with advice."""
    pytest.importorskip("regions")
    (tmp_path / name).write_text(text, encoding="latin-1")
    np.testing.assert_allclose(read_exclusions(tmp_path / name).circles, [[10, 20, 1]], atol=1e-12)
    (tmp_path / name).write_text(text, encoding="utf-16")
    with raises("bad-region", name, "save it as UTF-8"):
        read_exclusions(tmp_path / name)


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("bgnb._util.extras._is_installed", lambda module: module != "regions")
    (tmp_path / "a.reg").write_text("icrs\ncircle(1,2,3)\n")
    with raises("extra-missing", "bgnb[regions]"):
        read_exclusions([tmp_path / "a.reg"])


@pytest.mark.parametrize("name", ["stars.ecsv", "stars.fits", "stars.csv"])
def test_tables_of_circles(tmp_path, name):
    """Read circles in any unit, with and without ranges of energy; an empty limit does not restrict."""
    columns = {"ra": [10.0, 350.0], "DEC": [-20.0, 30.0], "RADIUS": [0.5, 0.25], "e_Flux": [1.0, 2.0], "E_Flux": [1.0, 2.0]}
    mask = read_exclusions([write_table(tmp_path / name, **columns)])
    np.testing.assert_allclose(mask.circles, [[10, -20, 0.5], [350, 30, 0.25]])
    assert (mask.e_min.tolist(), mask.e_max.tolist()) == ([0, 0], [np.inf, np.inf])
    limits = {
        "E_MIN": MaskedColumn([100.0, 5.0], unit="GeV"),
        "E_MAX": MaskedColumn([2000.0, 0.0], unit="GeV", mask=[False, True]),
    }
    if name != "stars.csv":
        other = read_exclusions(
            [write_table(tmp_path / name, **columns | {"RADIUS": [30, 15] * u.arcmin}, **limits), Table(columns)]
        )
        np.testing.assert_allclose(other.circles, [[10, -20, 0.5], [350, 30, 0.25]] * 2)
        np.testing.assert_allclose([other.e_min, other.e_max], [[0.1, 0.005, 0, 0], [2, np.inf, np.inf, np.inf]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"RA": [1.0], "DEC": [2.0]}, ["RADIUS", "RA, DEC"]),
        ({"RA": [1.0], "DEC": [92.0], "RADIUS": [1.0]}, ["DEC of row 1", "92"]),
        ({"RA": [1.0, 2.0], "DEC": [2.0, 2.0], "RADIUS": [1.0, np.nan]}, ["RADIUS of row 2", "nan"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": [1.0] * u.s}, ["RADIUS", "deg"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": [1.0], "E_MIN": [2.0], "E_MAX": [2.0]}, ["E_MIN of row 1", "E_MAX"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": ["wide"]}, ["RADIUS"]),
        ({"RA": ["05:34:32"], "DEC": [2.0], "RADIUS": [1.0]}, ["RA", "numbers", "05:34:32"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": [True]}, ["RADIUS", "numbers"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": [0.0]}, ["RADIUS of row 1", "nothing"]),
        ({"RA": [1.0], "DEC": [2.0], "RADIUS": [1.0], "radius": [2.0]}, ["RADIUS", "radius", "case"]),
        ({"RA": [[1.0, 3.0]], "DEC": [2.0], "RADIUS": [1.0]}, ["RA", "each row"]),
        ({"RA": [5.5756, 17.76, 12.51, 16.9], "DEC": [22.01, -29.01, 12.4, 39.76], "RADIUS": [1.0] * 4}, ["hours"]),
    ],
)
def test_wrong_tables_are_refused(tmp_path, columns, words):
    path = write_table(tmp_path / "stars.ecsv", **columns)
    with raises("bad-region", path, *words):
        read_exclusions([path])


def test_empty_cells_of_integers(tmp_path):
    """An empty limit of energy does not restrict, also in a column of integers; other empty cells are refused."""
    path = tmp_path / "stars.csv"
    path.write_text("RA,DEC,RADIUS,E_MIN,E_MAX\n10,20,1,1,2\n30,40,1,,3\n50,60,1,4,\n")
    mask = read_exclusions(path)
    assert (mask.e_min.tolist(), mask.e_max.tolist()) == ([1, 0, 4], [2, 3, np.inf])
    path.write_text("RA,DEC,RADIUS\n10,20,1\n30,,1\n")
    with raises("bad-region", "DEC of row 2", "nan"):
        read_exclusions(path)


def test_files_of_no_kind_are_refused(tmp_path):
    (tmp_path / "text.txt").write_text("\x00\x01")
    for name, code in (
        ("text.txt", "bad-region"),
        ("missing.fits", "not-found"),
        ("missing.reg", "not-found"),
        (".", "not-a-file"),
    ):
        with raises(code, tmp_path / name):
            read_exclusions([tmp_path / name])
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =")
    with raises("truncated", "broken.fits"):
        read_exclusions([tmp_path / "broken.fits"])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_of_the_sky(tmp_path, dtype):
    """Zero excludes, all other values do not; axes of one bin are dropped."""
    data = np.ones((12, 20), dtype=dtype)
    data[2:5, 3:9] = 0
    data[7, 11] = 17
    for name, image in (("a.fits", data), ("b.fits.gz", data[None]), ("c.fits.bz2", data), ("d.fits.fz", data)):
        mask = read_exclusions([sky_image(tmp_path / name, image)])
        sky = random_sky(1.5)
        column, row = (
            np.round(values).astype(int) for values in sky.galactic.to_pixel(WCS(fits.getheader(tmp_path / name, 1)).celestial)
        )
        inside = (row >= 0) & (row < 12) & (column >= 0) & (column < 20)
        expected = inside & (data[row.clip(0, 11), column.clip(0, 19)] == 0)
        assert mask.covers(sky.ra.deg, sky.dec.deg).tolist() == expected.tolist()
        assert np.count_nonzero(expected) > 100


@pytest.mark.parametrize("name", ["mask.fits", "circles.fits"])
def test_edited_files_are_read(tmp_path, name):
    """Files of users are read as they are, also if a program has edited their data without updating DATASUM."""
    path = tmp_path / name
    if name == "mask.fits":
        sky_image(path, np.ones((12, 20)))
    else:
        write_table(path, RA=[83.0], DEC=[-62.0], RADIUS=[0.5])
    for checksum in (True, False):
        with fits.open(path) as hdus:
            if name == "mask.fits":
                hdus[1].data[2:9, 5:15] = checksum
            else:
                hdus[1].data["DEC"] = CENTER.dec.deg - 9 * checksum
            hdus.writeto(path, overwrite=True, checksum=checksum)
    with raises("damaged", "DATASUM"):
        read_content(path)
    assert read_exclusions(path).covers(np.array([CENTER.ra.deg]), np.array([CENTER.dec.deg])).all()


def test_one_image_is_the_mask(tmp_path):
    """Several images are refused, as none is known to be the mask; what TOPCAT writes before a table is no image."""
    header = tangent_plane(Galactic()).to_header()
    images = [fits.ImageHDU(np.eye(20), header, name=name) for name in ("SIGNIFICANCE", "EXCLUSION")]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "several.fits")
    with raises("bad-region", "several.fits", "SIGNIFICANCE, EXCLUSION"):
        read_exclusions(tmp_path / "several.fits")
    circles = fits.BinTableHDU(Table({"RA": [83.0], "DEC": [22.0], "RADIUS": [0.5]}))
    description = fits.PrimaryHDU(np.frombuffer(b"<VOTABLE/>", dtype=np.uint8))
    fits.HDUList([description, circles]).writeto(tmp_path / "topcat.fits")
    assert read_exclusions(tmp_path / "topcat.fits").circles == [[83.0, 22.0, 0.5]]


def test_wrong_images_are_refused(tmp_path):
    """Refuse images with energies, without coordinates, or with nothing to exclude."""
    ones = np.ones((12, 20))
    nan = np.where(np.arange(20) == 3, np.nan, ones)
    sip = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-2, "B_0_2": 1e-2}
    for data, keywords, words in (
        (np.zeros((3, 12, 20)), {}, ["3 axes", "20 × 12 × 3"]),
        (ones, {}, ["excludes nothing"]),
        (nan, {}, ["not finite"]),
        (np.zeros((12, 20)), {"CTYPE1": "X", "CTYPE2": "Y"}, ["celestial"]),
        (np.zeros((12, 20)), {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, ["equatorial or galactic", "CTYPE1"]),
        (np.zeros((12, 20)), {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "GAPPT"}, ["RADESYS"]),
        (np.zeros((12, 20)), {"CDELT1": 1e9}, ["1e+09 and 0.1 deg"]),
        (np.zeros((12, 20)), {"CDELT2": 1e-30}, ["1e-30 deg"]),
        (np.zeros((12, 20)), {"CDELT2": 1e308}, ["widths of pixels"]),
        (np.zeros((12, 20)), {"CRVAL1": "83.63"}, ["CRVAL1 must be a number"]),
        (np.zeros((12, 20)), {"CRVAL1": True}, ["CRVAL1 must be a number"]),
        (np.zeros((12, 20)), {**sip, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}, ["distortion"]),
        (np.zeros((12, 20)), {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX", "WAT1_001": "wtype=tnx"}, ["distortion"]),
        (np.zeros((12, 20)), {"AP_ORDER": 60_000, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}, ["distortion"]),
    ):
        with raises("bad-region", "a.fits", "HDU MASK", *words):
            read_exclusions([sky_image(tmp_path / "a.fits", data, **keywords)])


def test_keywords_that_no_image_needs(tmp_path):
    """WCSLIB takes hours for very many axes, and crashes at texts in keywords of photographic plates: they are not read."""
    path = tmp_path / "a.fits"
    image = np.where(np.arange(20) == 3, 0, np.ones((12, 20)))
    position = CENTER.icrs.directional_offset_by(np.arange(3000) * u.deg, np.linspace(0, 1.5, 3000) * u.deg)
    ra, dec = position.ra.deg, position.dec.deg
    expected = read_exclusions([sky_image(path, image)]).covers(ra, dec)
    assert 0 < expected.sum() < len(ra) / 4
    for keywords in ({"WCSAXES": 30_000}, {"WCSAXESA": ""}, {"PLTRAH": "05"}, {"AMDX1": "a", "PPO3": "b"}, {"PLTRAH": 5}):
        with time_limit():
            found = read_exclusions([sky_image(path, image, **keywords)])
        assert np.array_equal(found.covers(ra, dec), expected)


def test_older_keywords_of_coordinates(tmp_path):
    """The names of the matrix before version 2.1 of the FITS standard are read as those of today."""
    image = np.where(np.arange(20) == 3, 0, np.ones((12, 20)))
    position = CENTER.icrs.directional_offset_by(np.arange(3000) * u.deg, np.linspace(0, 1.5, 3000) * u.deg)
    covered = []
    for kind, names in (("CD", "{}{}_{}"), ("CD", "{}00{}00{}"), ("PC", "{}{}_{}"), ("PC", "{}00{}00{}")):
        matrix = {names.format(kind, i, j): v for i, j, v in ((1, 1, -0.8), (1, 2, 0.6), (2, 1, 0.6), (2, 2, 0.8))}
        scale = 0.1 if kind == "CD" else 1.0
        path = sky_image(tmp_path / "a.fits", image, **{name: scale * value for name, value in matrix.items()})
        fits.setval(path, "CDELT1", value=0.1, ext=1)
        covered.append(read_exclusions(path).covers(position.ra.deg, position.dec.deg))
    assert 0 < covered[0].sum() < 1000
    assert all(np.array_equal(each, covered[0]) for each in covered)


@pytest.mark.parametrize("suffix", [".reg", ".crtf"])
def test_files_of_regions_have_a_maximum_size(tmp_path, suffix):
    """Files of hundreds of thousands of regions, or of braces that are not closed, are refused at once."""
    path = tmp_path / f"many{suffix}"
    path.write_text("icrs\n" + 100_000 * "circle(83,22,1)\n")
    with time_limit(), raises("too-large", path, "256 KiB"):
        read_exclusions(path)
    path.write_text(f"#CRTF\nicrs\n{250_000 * '{'}\n")
    with time_limit(20), raises("bad-region", path):
        read_exclusions(path)


def test_maps_of_gammapy():
    """Masks of Gammapy exclude where they are False."""
    maps = pytest.importorskip("gammapy.maps")
    regions = pytest.importorskip("regions")
    geom = maps.WcsGeom.create(skydir=CENTER, width=(3, 2), binsz=0.02, frame="galactic")
    region = regions.CircleSkyRegion(CENTER, 0.6 * u.deg)
    expected = ~geom.region_mask([region], inside=False).data
    mask = read_exclusions([geom.region_mask([region], inside=False)])
    sky = geom.get_coord().skycoord.icrs
    assert mask.covers(sky.ra.deg.ravel(), sky.dec.deg.ravel()).tolist() == expected.ravel().tolist()
    assert np.count_nonzero(expected) > 1000
    axis = maps.MapAxis.from_energy_bounds("1 TeV", "10 TeV", nbin=2)
    with raises("bad-region", "3 axes"):
        read_exclusions([maps.WcsNDMap(geom.to_cube([axis]))])


def test_other_values_are_refused():
    """Values that are no regions, and circles larger than the sky, are named."""
    for value in (5, [CENTER], {"RA": 1}):
        with raises("bad-region", "exclude", "sky region"):
            read_exclusions(value)
    regions = pytest.importorskip("regions")
    small, large = (regions.CircleSkyRegion(CENTER, radius * u.deg) for radius in (1, 181))
    with raises("bad-region", "region 2", "CircleSkyRegion", "181"):
        read_exclusions(regions.Regions([small, large]))


def test_pixels_off_the_sky_are_refused(tmp_path):
    """Excluded pixels of a CAR image more than 180 deg from CRVAL1, which have no position, are an error."""
    keywords = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -1.0, "CDELT2": 1.0}
    for longitude, is_valid in ((170.0, True), (210.0, False)):
        header = fits.Header(keywords | {"CRPIX1": 10.5 + longitude, "CRPIX2": 5.5, "CUNIT1": "deg", "CUNIT2": "deg"})
        image = np.ones((10, 10))
        image[4:6, 4:6] = 0
        fits.PrimaryHDU(image, header).writeto(tmp_path / "image.fits", overwrite=True)
        if is_valid:
            assert len(read_exclusions(tmp_path / "image.fits")) == 1
        else:
            with raises("bad-region", "image.fits", "CRVAL1"):
                read_exclusions(tmp_path / "image.fits")


@pytest.mark.parametrize(
    ("ending", "text", "wrong"),
    [
        ("reg", "fk5\ncircle(1, 2, 3) # text={ok}\n{", "line 3: a } is missing"),
        ("reg", "fk5\ncircle(1, 2, 3) # a", "line 2: a word has more than"),
        ("crtf", "#CRTF\ncircle[[1deg, 2deg], 3deg], a=[", "line 2: has more than"),
        ("crtf", "#CRTF\ncircle[[1deg, 2deg], 3deg], a", "line 2: has more than"),
    ],
)
def test_lines_whose_time_grows_as_the_square_of_their_length_are_refused(tmp_path, ending, text, wrong):
    path = tmp_path / f"regions.{ending}"
    path.write_text(text + 5000 * text[-1])
    with raises("bad-region", path, wrong):
        read_exclusions(path)


def test_long_lines_are_read(tmp_path):
    vertices = ", ".join(f"{83 + np.cos(t):.6f}, {22 + np.sin(t):.6f}" for t in np.linspace(0, 6.2, 1000))
    (tmp_path / "long.reg").write_text(f"fk5\npolygon({vertices}) # text={{a {{long}} polygon}}\n")
    assert len(read_exclusions(tmp_path / "long.reg").shapes) == 1
    vertices = ", ".join(f"[{83 + np.cos(t):.6f}deg, {22 + np.sin(t):.6f}deg]" for t in np.linspace(0, 6.2, 1000))
    (tmp_path / "long.crtf").write_text(f"#CRTF\npoly [{vertices}], coord=ICRS, label='long'\n")
    assert len(read_exclusions(tmp_path / "long.crtf").shapes) == 1


def test_areas_have_a_maximum_number_of_edges(tmp_path, monkeypatch):
    """Edges, which are divided, and those about each pixel take much more memory than their file."""
    monkeypatch.setattr("bgnb.cubes.sky_shapes.MAX_EDGES", 2000)
    polygon = "polygon(10, 0, 60, 40, 10, 40)\n"
    for name, text in {"one": f"polygon({', '.join(['10, 0, 60, 40'] * 5)})\n", "many": 10 * polygon}.items():
        (tmp_path / f"{name}.reg").write_text(f"fk5\n{text}")
        with raises("bad-region", f"{name}.reg", "edges"):
            read_exclusions(tmp_path / f"{name}.reg")
    (tmp_path / "few.reg").write_text(f"fk5\n{polygon}")
    assert len(read_exclusions(tmp_path / "few.reg").shapes) == 1
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [-0.01, 0.01], [83, 22]
    pixels = np.indices((40, 40)).sum(axis=0) % 2
    fits.PrimaryHDU(pixels.astype(np.uint8), wcs.to_header()).writeto(tmp_path / "pixels.fits")
    with raises("bad-region", "pixels.fits", "edges"):
        read_exclusions(tmp_path / "pixels.fits")
