"""Text of reports."""

import pytest

import bgnb
from bgnb.production.report import GroupReport, Report


def group(group_id, merged=()) -> GroupReport:
    """Make the report on a group with one run."""
    return GroupReport(
        group_id=group_id, n_runs=1, livetime_s=1500.0, counts=100, alt_mean_deg=50.0, alt_min_deg=49.0, alt_max_deg=51.0,
        az_mean_deg=10.0, files=("table", "image"), merged=merged,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("merged", "line"),
    [
        ((26,), "group 26 is merged into group 12 and uses its model"),
        ((3, 4), "groups 3, 4 are merged into group 12 and use"),
        (range(13, 20), "groups 13, 14, 15, 16, 17 and 2 more are merged into group 12 and use"),
    ],
)
def test_merged_groups_are_counted(merged, line):
    """One merged group is described in the singular, several in the plural."""
    summary = Report((), (group(10), group(12, merged)), {}).summary
    assert line in summary
    assert summary.count("merged into") == 1
    assert repr(Report((), (group(10), group(12, merged)), {})) == "Report(0 of 0 runs used, 2 groups)"


def test_groups_without_model_are_counted():
    """The summary says how many of all groups have no model of their own, and what serves runs there."""
    edges = {"alt_edges_deg": [0, 30, 60, 90], "az_edges_deg": [-90, 90, 270]}
    summary = Report((), (group(1), group(4, (2,))), edges).summary
    others = "attach and validate derive the rate of runs in the other"
    assert f"2 models for 6 groups; {others} 3 groups from these" in summary
    assert f"1 model for 6 groups; {others} 5 groups from it" in Report((), (group(1),), edges).summary
    assert others not in Report((), (group(0), group(1)), {"alt_edges_deg": [0, 90], "az_edges_deg": [-90, 90, 270]}).summary
    assert others not in Report((), (), edges).summary  # a part


def test_many_events_outside_the_axes_are_pointed_out(tmp_path):
    """The report states the extent of the axes if many events lie outside."""
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=1, trigger_rate=20.0)
    for fov_max, expected in (("1 deg", True), ("6 deg", False)):
        report = bgnb.make_bg_cube_models(
            tmp_path / "runs", "GADF", tmp_path / fov_max, select="all", fov_max=fov_max, n_energy=5, n_fov=8, method="classic"
        )
        (line,) = (line for line in report.summary.splitlines() if "outside the axes" in line)
        assert line.endswith("outside the axes, which extend from 0.1 to 80 TeV and to 1 deg") == expected
