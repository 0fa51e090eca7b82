"""Progress bars."""

import multiprocessing.synchronize

from bgnb._util.progress import progress_bar


def test_bars_share_no_lock_between_processes(monkeypatch):
    """A bar makes no lock that a process keeps for all others if it is killed."""
    made = []
    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", lambda *arguments, **_: made.append(arguments))
    with progress_bar(2, "run", show=True) as bar:
        bar.update()
    assert made == []


def test_no_bar_without_standard_error(monkeypatch):
    """There is no bar if there is no console."""
    monkeypatch.setattr("sys.stderr", None)
    with progress_bar(2, "run", show=None) as bar:
        bar.update()
