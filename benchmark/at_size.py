"""`python -m benchmark.at_size FOLDER`: seconds and memory on a model of real size, beside plain PyTorch.

FOLDER holds a config and a tokenizer, Pythia-410m's say; weights are drawn at random, since they change no cost. Each piece of work
runs in a process of its own, so that no peak hides another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
import typer
from pydantic import BaseModel, ConfigDict
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from benchmark.at_size_work import Measured, Side, Work
from benchmark.environment import environment
from benchmark.errors import InputError
from benchmark.excerpt import replace_between
from benchmark.loading import Loading
from benchmark.record import Dtype, Environment

PEAK_FLOPS = {"A100": 312e12, "H100 PCIe": 756e12, "H100 80GB HBM3": 989e12, "H200": 989e12}
"""Dense bfloat16 operations a second that the makers' data sheets give, by a part of the GPU's name."""

BYTES_A_WEIGHT = 16.0
"""Most that a gradient method in float32 may hold a weight, beside activations: the weight, its gradient, two moments."""
OVER_INFERENCE = 1.1
"""Most that a pruning step may hold, as a multiple of what an evaluation pass holds."""

MARK = "at-size"
"""Where the table goes in the README beside the figures."""


class Report(BaseModel):
    """What one run of this module found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: Environment
    model: str
    dtype: Dtype
    load: float
    """Processes of the machine that were running or waiting to, averaged over the last minute: with more than there are cores,
    wall seconds are stretched."""
    length: int
    """Tokens of a window."""
    windows: int
    """Windows of each kind of text that a piece of work takes."""
    measured: tuple[Measured, ...]

    def of(self, work: Work, side: Side) -> Measured:
        """One measurement."""
        return next(line for line in self.measured if (line.work, line.side) == (work, side))

    @property
    def bytes_a_weight(self) -> float:
        """What a gradient step held beside activations and gradients that are being added up, as planned, a weight."""
        step = self.of("gradient", "ours")
        passing = step.planned_memory["activations"] + step.planned_memory["added_up"]
        return (step.peak_memory - passing) / step.parameters

    @property
    def over_inference(self) -> float:
        """What a pruning step held, as a multiple of what an evaluation pass in plain PyTorch held."""
        return self.of("pruning", "ours").peak_memory / self.of("evaluation", "plain").peak_memory

    def utilisation(self, line: Measured) -> float | None:
        """Share of the GPU's peak that a piece of work reached; None where the peak is not known. Both sides do the same operations."""
        peak = next((peak for name, peak in PEAK_FLOPS.items() if name in self.environment.device), None)
        return None if peak is None or self.dtype != "bfloat16" else self.of(line.work, "ours").flops / line.seconds / peak


def measure_at_size(folder: Path, length: int, windows: int, loading: Loading) -> Report:
    """Take every measurement.

    Raises:
        InputError: the folder has no config or no tokenizer, or the device cannot be used.
    """
    loading.check()
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        raise InputError(f"{folder}: expected config.json and tokenizer.json in it")
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        weights = Path(made)
        _draw(folder, weights)
        measured = [_in_process(weights, work, side, length, windows, loading) for work in get_args(Work) for side in get_args(Side)]
    return Report(
        environment=environment(loading),
        model=folder.resolve().name,
        dtype=loading.dtype,
        load=os.getloadavg()[0],
        length=length,
        windows=windows,
        measured=tuple(measured),
    )


def _draw(folder: Path, weights: Path) -> None:
    """A model folder with random weights in float32."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.save_pretrained(weights)
    for file in folder.iterdir():
        if file.name.startswith(("tokenizer", "special_tokens")):
            shutil.copy(file, weights)


def _in_process(folder: Path, work: str, side: str, length: int, windows: int, loading: Loading) -> Measured:
    command = [sys.executable, "-m", "benchmark.at_size_work", folder, work, side, length, windows, loading.device, loading.dtype]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{work}, {side}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return Measured.model_validate_json(done.stdout.splitlines()[-1])


def table(report: Report) -> str:
    """The report as Markdown."""
    used = any(report.utilisation(line) is not None for line in report.measured)
    lines = [
        "| work | side | seconds | CPU seconds | tokens a second | peak memory, GB |" + " of the GPU's peak |" * used,
        "|:--|:--|--:|--:|--:|--:|" + "--:|" * used,
    ]
    for line in report.measured:
        share = report.utilisation(line)
        rate, held = line.tokens / line.seconds, line.peak_memory / 1e9
        row = f"| {line.work} | {line.side} | {line.seconds:.1f} | {line.cpu_seconds:.1f} | {rate:,.0f} | {held:.2f} |"
        lines.append(row + (f" {share:.0%} |" if share is not None else ""))
    ours, versions = report.of("gradient", "ours"), report.environment.packages
    where = report.environment.processor if report.environment.device == "cpu" else report.environment.device
    lines += [
        "",
        f"{report.model}: {ours.parameters / 1e6:.0f} M random weights in {report.dtype}; of each kind of text {report.windows} windows of "
        f"{report.length} tokens; {where}, {report.environment.threads} threads, load {report.load:.0f}, PyTorch {versions['torch']}. "
        f"A gradient step was planned to hold {sum(ours.planned_memory.values()) / 1e9:.2f} GB. "
        f"Beside activations it held {report.bytes_a_weight:.1f} bytes a weight (at most {BYTES_A_WEIGHT:g} wanted); "
        f"a pruning step held {report.over_inference:.2f} times what inference holds (at most {OVER_INFERENCE:g} wanted).",
    ]
    return "\n".join(lines)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with a config and a tokenizer.")],
    out: Annotated[Path, typer.Option(help="File to write; the README.md beside it shows the table.")] = Path("results/at-size.json"),
    length: Annotated[int, typer.Option(min=8, help="Tokens of a window.")] = 512,
    windows: Annotated[int, typer.Option(min=1, help="Windows of each kind of text.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    dtype: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Precision of the weights.")] = "float32",
) -> None:
    """Measure at size, write the figures as JSON, and show them."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        report = measure_at_size(folder, length, windows, Loading(device=device, dtype=dtype))
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    page = out.with_name("README.md")
    if page.is_file() and f"<!-- {MARK} -->" in page.read_text("utf-8"):
        replace_between(page, MARK, table(report))
    typer.echo(table(report))


if __name__ == "__main__":
    typer.run(main)
