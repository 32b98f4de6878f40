"""Where a record was made: versions and hardware, for the reader, not for its identity."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark.loading import Loading
from benchmark.record import Environment

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


def environment(loading: Loading, attention: str | None = None) -> Environment:
    """The environment of this process, now; `attention` names the kernel that the model ran with."""
    return Environment(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("unlearning-bench"),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        platform=platform.platform(terse=True),
        processor=_processor(),
        device=_device(loading),
        threads=torch.get_num_threads(),
        attention=attention,
    )


def _device(loading: Loading) -> str:
    if loading.device_map is not None and torch.cuda.is_available():
        return " + ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    on_gpu = loading.device_map is None and loading.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        return loading.device  # of a cell that failed on another machine
    return torch.cuda.get_device_name(loading.device) if on_gpu else "cpu"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
