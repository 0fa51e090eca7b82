"""Limits of a process."""

import os

import pytest

from bgnb._util.resource_limits import check_kernel_limits, check_memory_limits

resource = pytest.importorskip("resource")


@pytest.mark.parametrize(("processes", "expected"), [(1023, {"OPENBLAS_NUM_THREADS": "1"}), (1024, {}), (-1, {})])
def test_openblas_with_few_processes(monkeypatch, processes, expected):
    """If few processes are permitted, OpenBLAS starts no threads: without them, it ends the command."""
    limits = {resource.RLIMIT_NPROC: processes}
    monkeypatch.setattr(resource, "getrlimit", lambda number: 2 * (limits.get(number, resource.RLIM_INFINITY),))
    monkeypatch.setattr(os, "environ", {})
    check_memory_limits()
    assert os.environ == expected


def test_a_sandbox_that_tells_no_limits(monkeypatch):
    """Limits that a sandbox does not tell are none."""

    def refused(number):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "getrlimit", refused)
    monkeypatch.setattr(os, "environ", {})
    check_memory_limits()
    check_kernel_limits()
    assert os.environ == {}
