"""How much memory can still be taken, on the host or on GPUs, and having the host say no before it is all gone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from benchmark.loading import Loading

HOST = torch.device("cpu")

USABLE = 0.9
"""Share of the free memory that is planned with: other programs move, and an allocator keeps some of what is given back."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def free_memory(devices: Sequence[torch.device]) -> int:
    """Bytes that can still be taken on these devices: the sum over GPUs where there are some, else those of the host.

    On a GPU, what PyTorch holds and does not use counts as free. On the host, neither the machine's memory nor the limit of a
    container or a batch system (control group, version 1 or 2) may be passed.
    """
    cuda = [device for device in devices if device.type == "cuda"]
    if cuda:
        return sum(_free_on_gpu(device) for device in cuda)
    return min([psutil.virtual_memory().available, *_left_in_groups(_CGROUPS, _OWN)])


def free_for(loading: Loading) -> int:
    """Bytes to plan with where a model goes that is loaded so and is not there yet."""
    spread = loading.device_map is not None and torch.cuda.is_available()
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if spread else [torch.device(loading.device)]
    return int(USABLE * free_memory(devices))


@contextmanager
def bounded(loading: Loading) -> Iterator[None]:
    """While entered, taking more of the host's memory than is free now is an error that can be caught.

    Linux promises memory that it does not have, and kills a process that then uses it. With a limit on what it promises the
    allocation itself fails instead. Elsewhere this does nothing, nor where the model is on GPUs, whose drivers are promised far more
    than they use.
    """
    if sys.platform != "linux" or loading.device_map is not None or loading.device != "cpu":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status").read_text().splitlines()
    held = 1024 * int(next(line for line in status if line.startswith("VmData:")).split()[1])
    bounds = [limit for limit in (held + free_memory([HOST]), soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _free_on_gpu(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _left_in_groups(root: Path, own: Path) -> Iterator[int]:
    """Bytes left in each control group that holds this process and limits its memory; file cache counts as free."""
    lines = own.read_text().splitlines() if own.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = top / path.lstrip("/")
        # inside a container the path may be the host's, of which only the top is to be seen
        for folder in dict.fromkeys([group, *group.parents, top]):
            if folder.is_relative_to(top) and (folder / names[0]).is_file():
                limit = (folder / names[0]).read_text().strip()
                if limit != "max":
                    yield max(0, int(limit) - int((folder / names[1]).read_text()) + _file_cache(folder / "memory.stat"))


def _file_cache(statistics: Path) -> int:
    """Bytes of file cache that the kernel can drop at once."""
    lines = statistics.read_text().splitlines() if statistics.is_file() else []
    values = dict(line.split() for line in lines)
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
