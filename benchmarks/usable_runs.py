"""Runs of a directory that bgnb does not refuse."""

from pathlib import Path

from bgnb import DataError, Runs, open_runs, read_event_list


def usable_runs(directory: Path) -> Runs:
    """Open a directory without the runs that cannot be used, which are printed with the reasons."""
    runs = open_runs(directory, "GADF")
    usable = []
    for obs_id in runs.obs_ids:
        try:
            read_event_list(runs.files(obs_id))
        except DataError as error:
            print(f"without run {obs_id}: {error}")
        else:
            usable.append(obs_id)
    return runs.subset(usable)
