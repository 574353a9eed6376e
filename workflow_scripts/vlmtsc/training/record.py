"""Provenance and costs in the record of a run: versions, revision, hardware, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "snakemake")


def package_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def git_revision(folder: Path) -> str:
    """Return the commit of the code, with "-dirty" if files differ from it; "unknown" outside a repository.

    A workflow used as a module from a repository is a copy with the file ``.commit``, in another repository maybe.
    """
    for copy in (parent / ".commit" for parent in folder.parents):
        if copy.is_file():
            return copy.read_text(encoding="utf-8")
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return result.stdout.strip() or "unknown"


def hardware(threads: int) -> dict[str, Any]:
    """Return the processor, cores, threads used, memory in GiB, and GPUs of this machine."""
    import torch  # slow to import

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def kernels() -> dict[str, Any]:
    """Return what PyTorch computes with, as it is set at the moment: the last digits of a result depend on it."""
    import torch

    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def processor_name() -> str:
    """Return the processor's name from ``/proc/cpuinfo``, or the platform's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb() -> float:
    """Return this process's largest resident set, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def peak_gpu_memory_mb() -> float | None:
    """Return the largest memory of this process's tensors on its GPU, in MiB; None without a GPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if torch.cuda.is_available() else None
