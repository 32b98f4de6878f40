"""The most memory in use between two moments."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psutil
import torch

SAMPLE_SECONDS = 0.005
"""How often the resident set is looked at where the kernel does not keep its peak."""

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakMemory(Protocol):
    """Peak memory in bytes between `start` and `stop`."""

    def start(self) -> None:
        """Forget every peak before now."""

    def stop(self) -> int:
        """The peak since `start`."""


def peak_memory(devices: Sequence[torch.device]) -> PeakMemory:
    """How the peak is found for a model on these devices.

    Allocated memory, summed over the devices, where they are CUDA devices. Otherwise the resident set of the process, libraries
    and memory that the allocator keeps for later included: exact where Linux keeps its high-water mark and lets us reset it (10
    microseconds to reset, 20 to read, whatever the size of the process), else sampled by a thread.
    """
    cuda = [device for device in devices if device.type == "cuda"]
    if cuda:
        return _Cuda(cuda)
    try:
        _HighWaterMark().start()
        return _HighWaterMark()
    except OSError:
        return _Sampled()


class _Cuda:
    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.devices = devices

    def start(self) -> None:
        for device in self.devices:
            torch.cuda.reset_peak_memory_stats(device)

    def stop(self) -> int:
        return sum(torch.cuda.max_memory_allocated(device) for device in self.devices)


class _HighWaterMark:
    def start(self) -> None:
        _CLEAR.write_bytes(b"5")  # see proc_pid_clear_refs(5)

    def stop(self) -> int:
        line = next(line for line in _STATUS.read_bytes().splitlines() if line.startswith(b"VmHWM:"))
        return int(line.split()[1]) * 1024


class _Sampled:
    def __init__(self) -> None:
        self.process = psutil.Process()
        self.peak = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread()

    def start(self) -> None:
        self.peak = 0
        self.stopped.clear()
        self.thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.thread.start()

    def stop(self) -> int:
        self.stopped.set()
        self.thread.join()
        self._look()
        return self.peak

    def _watch(self) -> None:
        self._look()
        while not self.stopped.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)
