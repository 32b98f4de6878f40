"""The files of a trial from its records: `metrics.md` and `metrics.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from benchmark.leaderboard import formats
from benchmark.leaderboard.markdown import table_text
from benchmark.leaderboard.section import Table
from benchmark.meta.judging import Overall, barriers, on_tasks, overall
from benchmark.meta.quantities import HEADLINE
from benchmark.meta.record import Tried, check_alike
from benchmark.meta.verdict import RULE, ranked, verdict

COLUMNS = (
    "metric",
    "axis",
    "tasks",
    "faithfulness",
    "documents",
    "domains",
    "monotonicity",
    "repeatability (ICC)",
    "seed noise",
    "Q (4 bits)",
    "R (relearning)",
)

LEGEND = (
    "**faithfulness**: how often a model that was trained on the forget documents lies on the knowing side of one that was not, over all"
    " pairs of lab models of which that can be said, signed as the metric's card says (area under the ROC curve; 0.5: says nothing,"
    " 0: always wrong); the mean over tasks, and over those where documents and where a domain is to be forgotten. Pairs of a model that"
    " knows and one that does not: {pairs}. The models of one training seed share their initial weights and most of their text, so the"
    " pairs are far from independent, and no interval is given.",
    "**monotonicity**: Kendall's tau between the metric and the share of the forget documents that the reference was taught by a short"
    " fine-tuning, mixed with text to be kept; every share gives as much text.",
    "**repeatability**: intraclass correlation ICC(1,1) of the lab's models over training seeds (1: seeds make no difference);"
    " **seed noise**: the standard deviation over seeds, as a share of the distance between target and reference.",
    "**Q**: 1 - |a - b| / (|a| + |b|) of the value of an unlearned model before and after rounding its weights to 4 bits; **R**: the same"
    " of the changes that training on text to be kept makes to the unlearned model and to the reference. The form depends on where a"
    " metric has its zero, so Q and R are read within a metric's kind; their harmonic mean, which OpenUnlearning ranks by, is not taken."
    " There is no value, a dash, where on some task and seed nothing moved at all (of R: on one side or on both), as an AUC that stays"
    " at 1: that shows no steadiness, only that there was nothing to compare.",
)

PREAMBLE = (
    "Every metric that claims to tell what a model knows, tried on models of which it is known. A model is held against the target and"
    " the reference of another training seed than its own. Made by `bench meta`, and again from `metrics/` by the same command, which"
    " measures what is missing there."
)

GRADED = "Where it hardly does, models on the way are grades of knowledge: monotonicity along them is in `metrics.csv`."
UNGRADED = "Models on the way are worse than both ends and no grades of knowledge; no metric is held against them."
SCRATCH = (
    "From scratch on a share of the forget documents: monotonicity from the reference by way of these models to the target is in"
    " `metrics.csv`."
)


def report(records: Sequence[Tried], untried: Sequence[str] = (), lab_tasks: Sequence[str] = ()) -> dict[str, bytes]:
    """The content of every file by its name.

    Args:
        records: of all trials; at least one.
        untried: metrics that there is nothing to try of.
        lab_tasks: those that the lab has references for.

    Raises:
        InputError: the records were not measured alike.
    """
    check_alike(records)
    lines, pools = ranked(overall(records)), _pools(records)
    absent = [task for task in lab_tasks if task not in pools]
    parts = ["# Metrics on trial", PREAMBLE, _sentence(lines, absent), f"The rule: {RULE}.", table_text(_table(lines)).rstrip()]
    parts += [f"- {line}".replace("{pairs}", _pairs(pools)) for line in LEGEND]
    parts += ["## The models", *_models(records), "## What is missing", *_missing(records, untried, absent)]
    return {"metrics.md": ("\n\n".join(parts) + "\n").encode(), "metrics.csv": _csv(records)}


def _sentence(lines: Sequence[Overall], absent: Sequence[str]) -> str:
    found = verdict(lines)
    if found is None:
        return "No metric has a value of every model on every task on record: there is no verdict."
    by_name = {line.metric: line for line in lines}
    of = f", on {lines[0].of} of the lab's {lines[0].of + len(absent)} tasks," if absent else ""
    best = f"By the rule below{of} the best headline is **{found.best}** ({_figures(by_name[found.best])})"
    if found.best == HEADLINE:
        said = f"{best}, which is the present one."
    elif HEADLINE in found.eligible:
        place = f"{found.eligible.index(HEADLINE) + 1} of {len(found.eligible)}"
        said = f"{best}; the present one, {HEADLINE}, comes {place} ({_figures(by_name[HEADLINE])})."
    else:
        said = f"{best}; the present one, {HEADLINE}, cannot be ranked: a value is missing."
    others = [name for name in found.level if name != found.best]
    return said + (f" Only seed noise tells it from {', '.join(others)}." if others else "")


def _figures(line: Overall) -> str:
    mean = line.mean
    return (
        f"faithfulness {formats.number(mean.faithfulness)}, monotonicity {formats.number(mean.monotonicity)},"
        f" seed noise {formats.number(mean.seed_noise)}"
    )


def _table(lines: Sequence[Overall]) -> Table:
    rows = []
    for line in lines:
        mean = line.mean
        shown = [mean.faithfulness, line.documents, line.domains, mean.monotonicity]
        shown += [mean.repeatability, mean.seed_noise, mean.quantised, mean.relearned]
        rows.append((f"`{line.metric}`", line.card.axis, f"{line.tasks}/{line.of}", *map(formats.number, shown)))
    return Table("", COLUMNS, tuple(rows))


def _models(records: Sequence[Tried]) -> Iterator[str]:
    counts = "; ".join(f"{task} {known} and {ignorant}" for task, (known, ignorant) in _pools(records).items())
    yield f"Lab models that know the forget documents, and that do not, by task: {counts}."
    if heights := barriers(records):
        rises = ", ".join(f"{task} {height:.2f}" for task, height in heights.items())
        yield (
            "Weights interpolated between reference and target of one seed: the loss on text to be kept rises above the straight line"
            f" between the ends by at most (nats): {rises}. {GRADED if _graded(records) else UNGRADED}"
        )
    if any(tried.trial.treatment == "scratch" for tried in records):
        yield SCRATCH


def _pools(records: Sequence[Tried]) -> dict[str, tuple[int, int]]:
    """How many models know and how many do not, by task."""
    found = {}
    for task in dict.fromkeys(tried.trial.task for tried in records):
        known = [tried.trial.knows for tried in records if tried.trial.task == task]
        found[task] = known.count(True), known.count(False)
    return found


def _pairs(pools: Mapping[str, tuple[int, int]]) -> str:
    """As in `10 x 4 models a task`, or by task where they differ."""
    if len(set(pools.values())) == 1:
        return "{} x {} models a task".format(*next(iter(pools.values())))
    return ", ".join(f"{known} x {ignorant} on {task}" for task, (known, ignorant) in pools.items())


def _graded(records: Sequence[Tried]) -> bool:
    return any(each.qualities.interpolated is not None for each in on_tasks(records))


def _missing(records: Sequence[Tried], untried: Sequence[str], absent: Sequence[str]) -> Iterator[str]:
    lines = []
    if absent:
        lines.append(f"- Tasks of the lab that are not on record: {', '.join(absent)}.")
    if untried:
        lines.append(f"- Not tried, as they say nothing of what a model knows: {', '.join(f'`{name}`' for name in untried)}.")
    lines.append("- Metrics of the axis robustness have no Q and R: they quantise or relearn themselves.")
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in on_tasks(records):
        if each.reason is not None:
            reasons.setdefault((each.metric, each.reason), []).append(each.task)
    lines += [f"- `{metric}` on {', '.join(tasks)}: {reason}." for (metric, reason), tasks in reasons.items()]
    yield "\n".join(lines)


def _csv(records: Sequence[Tried]) -> bytes:
    """One row a metric and task."""
    rows = [
        {"metric": each.metric, "task": each.task, "removes": each.removes, **asdict(each.qualities), "reason": each.reason}
        for each in sorted(on_tasks(records), key=lambda each: (each.metric, each.task))
    ]
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n").encode()
