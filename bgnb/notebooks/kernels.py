"""Kernels in the running interpreter, which import nothing from the current directory."""

from __future__ import annotations

import sys

import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

#: Command that starts a kernel. IPython before 9.7 adds the current directory in spite of ``-P``.
KERNEL = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--InteractiveShellApp.ignore_cwd=True"]


class KernelSpecs(KernelSpecManager):
    """The kernels that JupyterLab finds, with that of the running interpreter as the kernel of Python."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the command of a kernel by name."""
        spec = super().get_kernel_spec(kernel_name)
        if kernel_name == NATIVE_KERNEL_NAME:
            spec.argv = KERNEL
            spec.metadata = get_kernel_dict()["metadata"]  # states whether it encrypts its connections
        return spec


def can_encrypt() -> bool:
    """Return whether Jupyter can encrypt the connections to kernels."""
    of_kernel = get_kernel_dict()["metadata"].get("supported_encryption", ())
    return zmq.has("curve") and hasattr(KernelManager, "transport_encryption") and "curve" in of_kernel
