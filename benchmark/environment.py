"""Where a record was made: versions and hardware, for the reader, not for its identity."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark.record import Environment

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


def environment(device: str) -> Environment:
    """The environment of this process, now."""
    return Environment(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("unlearning-bench"),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        platform=platform.platform(terse=True),
        processor=_processor(),
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        threads=torch.get_num_threads(),
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
