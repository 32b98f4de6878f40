"""What the cells of one task and one training of a model are held against: the text, the target and the reference, measured once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from benchmark import registry
from benchmark.corpus import Corpus, load_corpus
from benchmark.evaluation import Evaluation, evaluate_baseline
from benchmark.loading import Loading
from benchmark.model import LanguageModel, load_model
from benchmark.panel import panel
from benchmark.panel.subject import Subject
from benchmark.passages import Passages
from benchmark.record import Baseline, Cost, Measurement, Panel, Protocol, Requested, TextOrigin
from benchmark.removal import Removal, read_removal, request_task
from benchmark.source import resolve_model
from benchmark.splits import split
from benchmark.text.origin import origin
from benchmark.utility.results import Utility, ask


@dataclass(frozen=True)
class Yardstick:
    """Target, reference and text of a task, for one training of a model: what its cells have in common."""

    target: Path
    reference: Path | None
    texts: tuple[Passages, Passages, Passages | None]
    """To be forgotten, to be retained, general: what a method is given."""
    evaluation: Evaluation
    retraining: Cost | None
    model_origin: str | None
    text: TextOrigin
    attention: str
    utility: Utility
    requested: Requested | None
    metrics: tuple[str, ...]
    """Of the panel, by name."""
    domains: Mapping[str, str]
    """Of documents, by their ids."""
    code: bool
    """Whether the text of the task is source code."""
    loading: Loading

    def subject(self, lm: LanguageModel, measured: Measurement | None = None) -> Subject:
        """A model, with what the panel measures it on; `measured` on the test half, where that has been done."""
        _, retain, general = self.texts
        evaluation = self.evaluation
        return Subject(
            lm,
            evaluation.validation,
            evaluation.test,
            retain,
            general,
            evaluation.baseline,
            domains=self.domains,
            known=measured,
            removes=evaluation.removes,
            code=self.code,
            untouched=partial(load_model, self.target, self.loading),
        )

    def panel(self, lm: LanguageModel, measured: Measurement | None = None) -> Panel:
        """A model on each metric that is of a model."""
        return panel.measured(self.metrics, self.subject(lm, measured))


@lru_cache(maxsize=2)
def yardstick_for(
    task_name: str,
    model: str,
    target_seed: int,
    data: Path | None,
    protocol: Protocol,
    loading: Loading,
    metrics: tuple[str, ...],
    removal: Removal | None = None,
) -> Yardstick:
    """Read the text of a task, load target and reference and measure them; kept for the cells that follow.

    Raises:
        InputError: the model or the data cannot be used.
    """
    task = registry.task(task_name) if removal is None else request_task()
    source = resolve_model(model, loading).of_seed(target_seed)
    request = None if removal is None else read_removal(removal)
    splits = split(task, _corpus(data or task.corpus)) if request is None else request.splits
    reference = source.reference(task_name, splits.fingerprint()) if request is None else None
    utility = _utility(source.folder, protocol.utility, protocol.limit, loading)  # its model is gone before the target comes
    target = load_model(source.folder, loading)
    most = protocol.method_tokens
    texts = (
        target.passages(splits.forget, None if task.removes == "documents" else most),
        target.passages(splits.retain, most),
        target.passages(splits.general, most) if splits.general else None,
    )
    evaluation = evaluate_baseline(
        target,
        None if reference is None else load_model(reference, loading),
        splits,
        task.removes,
        protocol,
        source.lab.references[task_name].noise_floor if source.lab and reference else None,
    )
    evaluation = replace(evaluation, baseline=evaluation.baseline.model_copy(update={"utility": utility.of_target()}))
    retraining = source.retraining(task_name) if reference else None
    text = origin(splits, source, data) if request is None else request.text
    requested = None if request is None else request.requested
    found = Yardstick(
        source.folder,
        reference,
        texts,
        evaluation,
        retraining,
        source.origin,
        text,
        target.attention,
        utility,
        requested,
        metrics,
        splits.domains,
        task.code,
        loading,
    )
    return replace(found, evaluation=replace(evaluation, baseline=_with_panel(found, target)))


def _with_panel(bare: Yardstick, target: LanguageModel) -> Baseline:
    """The baseline with the panel of target, reference and text."""
    baseline = bare.evaluation.baseline
    of_text = panel.measured_text(bare.metrics, bare.subject(target))
    found = {"target_panel": bare.panel(target, baseline.target_test), "text_panel": of_text}
    if bare.reference is not None:
        found["reference_panel"] = bare.panel(load_model(bare.reference, bare.loading), baseline.reference_test)
    return baseline.model_copy(update=found)


@lru_cache(maxsize=2)
def _utility(folder: Path, names: tuple[str, ...], limit: int | None, loading: Loading) -> Utility:
    """The same for all tasks of a model."""
    return Utility(limit, ask(load_model(folder, loading), names, limit) if names else {})


@lru_cache(maxsize=2)
def _corpus(path: Path) -> Corpus:
    return load_corpus(path)
