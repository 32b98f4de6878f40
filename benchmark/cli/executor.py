"""The options that say where cells are run, and the executor that they ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchmark.cli.terminal import err
from benchmark.errors import InputError

if TYPE_CHECKING:
    from benchmark.executors import Executor

Name = Annotated[
    Literal["local", "ray", "slurm"],
    typer.Option("--executor", help="This machine, the Ray cluster that RAY_ADDRESS names, or Slurm."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes, Ray actors or Slurm jobs [default: one a core for a small model, else one; as many as fit; one a task].",
        show_default=False,
    ),
]
Cpus = Annotated[
    float | None,
    typer.Option("--cpus-per-cell", help="With ray or slurm: CPUs of a cell, and its threads [default: 1].", show_default=False),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-cell",
        help="With ray or slurm: GPUs of a cell, with ray a fraction if you like [default: 1 on GPUs, else 0].",
        show_default=False,
    ),
]


def chosen(name: str, jobs: int | None, cpus: float | None, gpus: float | None, device: str, model: Path) -> Executor:
    """The executor asked for.

    `device` may be `auto`, for a model spread over several GPUs; `model` is the folder from whose size the default number of
    local processes is found.

    Raises:
        InputError: the options do not go together, or what the executor needs is not installed.
    """
    if name == "local":
        return _local(jobs, cpus, gpus, device, model)
    cpus = 1.0 if cpus is None else cpus
    on_gpu = device != "cpu"
    gpus = float(on_gpu) if gpus is None else gpus
    if cpus <= 0 or gpus < 0:
        raise InputError("--cpus-per-cell must be above 0, --gpus-per-cell 0 or above")
    if ":" in device:
        raise InputError(f"--device {device}: with --executor {name} a cell is given its GPU; say cuda")
    if on_gpu != (gpus > 0):
        raise InputError(
            f"--gpus-per-cell {gpus:g} on device {device}: GPUs go with --device cuda or --device-map auto, and with nothing else"
        )
    if name == "ray":
        from benchmark.executors.ray import Ray, import_ray

        import_ray()
        return Ray(jobs, cpus, gpus, lambda text: err.print(text, markup=False, soft_wrap=True))
    from benchmark.executors.slurm import Slurm, import_submitit

    import_submitit()
    if not (cpus.is_integer() and gpus.is_integer()):
        raise InputError(
            "--executor slurm: Slurm gives out whole CPUs and GPUs; give whole numbers with --cpus-per-cell and --gpus-per-cell"
        )
    return Slurm(jobs, int(cpus), int(gpus))


def _local(jobs: int | None, cpus: float | None, gpus: float | None, device: str, model: Path) -> Executor:
    from benchmark.executors.processes import local
    from benchmark.runner import fitting_jobs

    for option, given in (("--cpus-per-cell", cpus), ("--gpus-per-cell", gpus)):
        if given is not None:
            raise InputError(f"{option} goes with --executor ray or slurm; local processes share the cores evenly")
    return local(jobs or fitting_jobs(model, device, os.cpu_count() or 1))
