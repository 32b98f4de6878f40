"""Where the weights cannot be trained in the memory at hand but adapters can: rows that take LoRA, settled before anything runs.

A method's own code is started on the longest windows of the text, with a plan of the memory (`benchmark.memory.plan`) that stops it
where it would make its first optimiser step. So the answer is the one that a cell would come to, whatever the method holds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from benchmark import lora, registry, store
from benchmark.cell import Cell
from benchmark.corpus import Document, load_corpus
from benchmark.executors.sharing import sharing
from benchmark.fields import RANK
from benchmark.loading import Loading
from benchmark.memory.at_hand import bounded
from benchmark.memory.plan import MemoryPlan, out_of_memory
from benchmark.memory.remedies import LORA_RANK
from benchmark.method import Request, Unsupported
from benchmark.model import LanguageModel, load_model
from benchmark.passages import Passages
from benchmark.record import Record, Spec
from benchmark.removal import read_removal
from benchmark.source import resolve_model
from benchmark.splits import Splits, split


def with_lora(cells: Sequence[Cell], kept: Collection[str] = (), processes: int = 1) -> tuple[list[Cell], list[str]]:
    """The cells of a run, with LoRA in those whose method needs it to fit into memory; and a line for the user about each such row.

    What a row was on record as, it stays: with adapters where it has them there, with its weights where it could train them.

    Args:
        cells: of one run.
        kept: methods whose rank the user has set.
        processes: how many cells share the memory.

    Raises:
        InputError: the model or the data cannot be used.
    """
    records = store.read_all(cells[0].out)
    stage = _Stage(tuple(sharing(cells, processes)))
    settled: dict[str, str | None] = {}
    for cell in cells:
        if cell.spec.hyperparameters.get(RANK) == 0 and cell.spec.method not in kept and _row(cell.spec) not in settled:
            settled[_row(cell.spec)] = _reason(cell.spec, records, stage)
    del stage
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # for the processes that will run the cells
    said = [f"{json.loads(row)[0]}: {reason}" for row, reason in settled.items() if reason]
    return [_adapted(cell) if settled.get(_row(cell.spec)) else cell for cell in cells], said


def _row(spec: Spec) -> str:
    """A method with its other fields."""
    return json.dumps([spec.method, {**spec.hyperparameters, RANK: 0}], sort_keys=True)


def _adapted(cell: Cell) -> Cell:
    fields = {**cell.spec.hyperparameters, RANK: LORA_RANK}
    return replace(cell, spec=cell.spec.model_copy(update={"hyperparameters": fields}))


def _reason(spec: Spec, records: Iterable[Record], stage: _Stage) -> str | None:
    """Why a row takes LoRA; None where it does not."""
    known = [
        record
        for record in records
        if record.spec.hyperparameters.keys() == spec.hyperparameters.keys() and _row(record.spec) == _row(spec)
    ]
    if any(record.spec.hyperparameters.get(RANK) == LORA_RANK for record in known):
        return f"with LoRA ({RANK}={LORA_RANK}), as on record"
    if any(record.status == "ok" for record in known):
        return None
    reason = stage.why_not(spec, rank=0)
    if reason is None or stage.why_not(spec, rank=LORA_RANK) is not None:
        return None
    return f"full training {reason}. This row is run with LoRA, as by --set {spec.method}.{RANK}={LORA_RANK}"


class _Fits(Exception):  # noqa: N818 -- not an error: the way out of a method that can train
    """A method has come to its first optimiser step, and there is room for it."""


@dataclass
class _Rehearsal(MemoryPlan):
    """A plan that is not carried out."""

    def train(self, weights: Iterable[Tensor], batch: int, streams: int, length: int) -> str | None:
        """Why there is no room; where there is, that is the end of it."""
        if reason := super().train(weights, batch, streams, length):
            return reason
        raise _Fits


@dataclass(frozen=True)
class _Stage:
    """The model of a run and its longest windows, loaded when first asked for."""

    cells: tuple[Cell, ...]

    def why_not(self, spec: Spec, rank: int) -> str | None:
        """Why a method cannot train with adapters of that rank, 0 for the weights themselves; None if it can, or fails otherwise."""
        method = registry.method(spec.method).build({**spec.hyperparameters, RANK: rank})
        plan = _Rehearsal(
            self.plan.limit,
            self.plan.activations,
            self.plan.devices,
            batch=int(spec.hyperparameters.get("batch") or 0),
            parts=dict(self.plan.parts),
        )
        lm = replace(self.lm, plan=plan)
        if declined := method.unsupported(lm, self.request):
            return declined
        try:
            with bounded(self.loading):
                next(iter(method.unlearn(lm, self.request)))
        except _Fits:
            return None
        except Unsupported as reason:
            return str(reason)
        except Exception as error:  # whatever a method raises its cell will put on record
            return str(error) if out_of_memory(error) else None
        finally:
            lora.merge(lm.model)  # adapters that are still as they began: the weights are what they were
        return None

    @property
    def loading(self) -> Loading:
        """How the model is loaded."""
        return self.cells[0].loading

    @cached_property
    def plan(self) -> MemoryPlan:
        """Of a cell that has just loaded its model."""
        plan = MemoryPlan(self.cells[0].memory)
        plan.look_at(self.lm.model, self.lm.context, self.cells[0].gradient_checkpointing, ())
        return plan

    @cached_property
    def lm(self) -> LanguageModel:
        """The target; where it is still to be taught, the model that it will be made of."""
        cell = self.cells[0]
        return load_model(resolve_model(cell.teaching.model if cell.teaching else cell.model, self.loading).folder, self.loading)

    @cached_property
    def request(self) -> Request:
        """The longest window of each kind of text, of any task."""
        splits = [_splits(cell) for cell in {cell.spec.task: cell for cell in self.cells}.values()]
        general = [document for each in splits for document in each.general]
        return Request(
            self._longest(document for each in splits for document in each.forget),
            self._longest(document for each in splits for document in each.retain),
            self._longest(general) if general else None,
            seed=0,
        )

    def _longest(self, documents: Iterable[Document]) -> Passages:
        text = self.lm.passages([max(documents, key=lambda document: len(document.text))])
        return text.take(torch.tensor([int(text.mask.sum(dim=1).argmax())]))


def _splits(cell: Cell) -> Splits:
    if cell.removal is not None:
        return read_removal(cell.removal).splits
    return split(cell.task, load_corpus(cell.data or cell.task.corpus))
