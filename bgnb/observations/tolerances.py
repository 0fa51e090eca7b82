"""Tolerances of the checks on runs, in one place; docs/reference/checks.md lists them with what follows."""

from __future__ import annotations

#: Maximum relative difference between ONTIME, the sum of the good time intervals, and LIVETIME over DEADC.
TIMES = 0.01
#: Minimum live fraction of a run; that of real runs is 0.6 or more.
MIN_LIVE_FRACTION = 0.5
#: Live fraction below which a livetime does not contain gaps without events.
PLAUSIBLE_LIVE_FRACTION = 0.75
#: Maximum fraction of events that are skipped because a value is invalid.
MAX_INVALID = 0.01
#: Minimum duration of a gap, s, and maximum chance of one in a run, for it to be cut out of the good time.
GAP_DURATION, GAP_CHANCE = 10.0, 1e-10
#: Maximum fraction of the good time that is cut out.
MAX_CUT = 0.5
#: Maximum distance, d, of TSTART, and of noon on DATE-OBS, which may be that of the evening, from the start of the good time.
DATE = 1.5
#: Maximum distance between pointings of header and index, deg, and the distance from which on they are different fields.
POINTING, OTHER_FIELD = 0.1, 5.0
#: Maximum distance, deg, between stated and computed altitude and azimuth; real index files differ by up to 2 deg.
ALTAZ = 2.5
#: Distance, deg, from which on the stated altitude and azimuth are those of another time or site.
OTHER_SKY = 15.0
#: Maximum distance, deg, of the site that a header states from that of the instrument that it names.
SITE = 1.0
#: Maximum altitude of the Sun, deg; telescopes observe when it is well below the horizon.
SUN = 0.0
#: Maximum difference, deg, between offsets of events from the pointing and those of DETX and DETY (medians).
DETXY = 0.1
#: Maximum distance of the median position of events from the pointing, deg, and in units of their median offset from it.
CENTER_OFFSET, CENTER = 1.5, 1.0
#: Maximum motion of the median position of events between the first and the last third of a run, deg, in units of their
#: median offset, and in standard errors.
DRIFT_OFFSET, DRIFT, DRIFT_ERRORS = 0.5, 0.5, 7.0
#: Maximum distance of events from the pointing, deg: of their median, and of all but `MAX_INVALID` of them.
OFFSET = 20.0
#: Range of plausible median energies, TeV: from the largest telescopes to runs near the horizon.
MEDIAN_ENERGY = (0.003, 50.0)
#: Minimum ratio of the energies below which 99 and 1 % of the events are: less means logarithms.
ENERGY_RANGE = 3.0
#: Maximum ratio of the median energy and that below which 1 % of the events are; it is 1.5 to 3.5 in real data.
LOW_ENERGIES = 20.0
#: Maximum fraction of events with the same energy, or at the same position.
EQUAL_VALUES = 0.02
#: Maximum fraction of events below LO_THRES.
BELOW_THRESHOLD = 0.998
#: Energy in units of LO_THRES below which a run must have events above LO_THRES.
FIRST_ENERGY = 1.3
#: Maximum difference of the live fraction of a run from the median of all runs.
LIVE_FRACTION = 0.05
#: Minimum rate of a run relative to the median of runs of similar altitude, and range outside which it is noted.
MIN_RATE, USUAL_RATES = 0.2, (0.5, 2.0)
#: Rate relative to the median of all runs below which a run is noted if there are too few runs of similar altitude.
FEW_EVENTS = 0.02
#: Maximum distance of events from the pointing, deg, that failed reconstructions have, and maximum fraction of such events.
AT_POINTING, MAX_AT_POINTING = 0.02, 0.05
#: Maximum fraction of events that follow another within 10 microseconds.
COINCIDENT = 0.01
#: Maximum HI_THRES, TeV.
MAX_ENERGY = 1e4
#: Rate of part of a run relative to the rest that is noted.
STEP = 0.67
