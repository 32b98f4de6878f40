"""From records to a verdict: an oracle, a constant and an inverted metric on models whose truth is made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.meta.judging import Overall, Qualities, barriers, on_tasks, overall
from benchmark.meta.quantities import HEADLINE, untried
from benchmark.meta.record import Card, Trial, Tried, find, read_all, write
from benchmark.meta.report import report
from benchmark.meta.trials import design_for
from benchmark.meta.verdict import ranked, verdict
from benchmark.record import MetricValue, Protocol

RESULTS = Path(__file__).parent.parent / "results"

Metric = Callable[[float, int], float | None]
"""What a metric says of a model: of its knowledge, in [0, 1], and its seed."""

SHARES = (0.0, 0.5, 1.0)

METRICS: dict[str, Metric] = {
    "oracle": lambda knowledge, seed: knowledge,
    "constant": lambda knowledge, seed: 3.0,
    "inverted": lambda knowledge, seed: 1 - knowledge,
    HEADLINE: lambda knowledge, seed: knowledge + 0.2 * seed,
}


def tried(trial: Trial, knowledge: float, metrics: dict[str, Metric] = METRICS, retain: float = 3.0) -> Tried:
    return Tried(
        trial=trial,
        removes="domain" if trial.task.endswith("-domain") else "documents",
        identity="i" * 64,
        protocol=Protocol(),
        nll={"forget": 3.0, "retain": retain},
        values={
            name: MetricValue(agg_value=value, reason="it does not apply" if value is None else None)
            for name, metric in metrics.items()
            for value in [metric(knowledge, trial.seed)]
        },
        cards={name: Card(axis="headline" if name == HEADLINE else "forgetting", knows="higher", version=1) for name in metrics},
    )


def trial_of(task: str, metrics: dict[str, Metric] = METRICS, bump: float = 1.0, seeds: int = 2) -> list[Tried]:
    """Every model of a task; the loss between reference and target rises by `bump`."""
    own, records = f"without-{task}", []
    for seed in range(seeds):
        for model, knowledge in (("target", 1.0), ("without-else", 1.0), (own, 0.0)):
            records.append(tried(Trial(task=task, model=model, seed=seed, knows=bool(knowledge)), knowledge, metrics))
        made: list[tuple[Trial, float, float]] = [
            (Trial(task=task, model=own, seed=seed, treatment="interpolated", share=0.5), 0.5, 3.0 + bump),
            *((Trial(task=task, model=own, seed=seed, treatment="taught", share=share), share, 3.0) for share in SHARES),
            (Trial(task=task, model="target", seed=seed, treatment="unlearned"), 0.5, 3.0),
            (Trial(task=task, model="target", seed=seed, treatment="unlearned-quantised"), 0.75, 3.0),
            (Trial(task=task, model="target", seed=seed, treatment="unlearned-relearned"), 0.9, 3.0),
            (Trial(task=task, model=own, seed=seed, treatment="relearned"), 0.1, 3.0),
        ]
        records += [tried(trial, knowledge, metrics, retain) for trial, knowledge, retain in made]
    return records


def of(records: Sequence[Tried], metric: str, task: str) -> Qualities:
    (found,) = (each.qualities for each in on_tasks(records) if (each.metric, each.task) == (metric, task))
    return found


def test_an_oracle_a_constant_and_an_inverted_metric() -> None:
    records = trial_of("books")
    oracle, constant, inverted = (of(records, name, "books") for name in ("oracle", "constant", "inverted"))
    assert (oracle.faithfulness, oracle.monotonicity, oracle.repeatability, oracle.seed_noise) == pytest.approx((1, 1, 1, 0))
    assert (constant.faithfulness, constant.monotonicity, constant.repeatability, constant.seed_noise) == (0.5, 0, None, None)
    assert (inverted.faithfulness, inverted.monotonicity, inverted.repeatability) == pytest.approx((0, -1, 1))


def test_steadiness_under_quantisation_and_relearning() -> None:
    oracle = of(trial_of("books"), "oracle", "books")
    # from 0.5 to 0.75; by 0.4 the unlearned model, by 0.1 the reference
    assert oracle.quantised == pytest.approx(1 - 0.25 / 1.25)
    assert oracle.relearned == pytest.approx(1 - 0.3 / 0.5)


def test_what_nothing_moves_is_not_steady() -> None:
    constant = of(trial_of("books"), "constant", "books")
    assert (constant.quantised, constant.relearned) == (None, None)


def test_attacks_are_not_attacked() -> None:
    records = [
        each.model_copy(update={"cards": {"oracle": Card(axis="robustness", knows="higher", version=1)}}) for each in trial_of("books")
    ]
    oracle = of(records, "oracle", "books")
    assert (oracle.quantised, oracle.relearned) == (None, None)
    assert oracle.faithfulness == 1.0


def test_seeds_that_differ_are_noise() -> None:
    # three training sets, each 0.2 apart: variance 0.02; the gap is 1
    found = of(trial_of("books"), HEADLINE, "books")
    assert found.seed_noise == pytest.approx(0.02**0.5)
    assert found.repeatability is not None
    assert 0.8 < found.repeatability < 1


def test_three_seeds() -> None:
    # knowledge + 0.2 seed: the variance of 0, 0.2 and 0.4 is 0.04
    records = trial_of("books", seeds=3)
    found = of(records, HEADLINE, "books")
    assert found.seed_noise == pytest.approx(0.2)
    assert (found.faithfulness, found.monotonicity) == pytest.approx((1, 1))
    # from 0.5 to 0.75 of each seed's own zero
    assert found.quantised == pytest.approx(1 - sum(0.25 / (1.25 + 0.4 * seed) for seed in range(3)) / 3)
    assert "6 x 3 models a task" in report(records)["metrics.md"].decode()


def test_a_value_that_is_missing_takes_no_part_in_any_mean() -> None:
    partly: dict[str, Metric] = {**METRICS, "code": lambda knowledge, seed: None}
    records = trial_of("books", partly) + trial_of("github", {**METRICS, "code": METRICS["oracle"]})
    (line,) = (line for line in overall(records) if line.metric == "code")
    assert (line.tasks, line.of, line.mean.faithfulness) == (1, 2, 1.0)
    assert of(records, "code", "books") == Qualities(*[None] * 8)
    found = verdict(overall(records))
    assert found is not None
    assert "code" not in found.eligible
    assert "- `code` on books: it does not apply." in report(records)["metrics.md"].decode()


def test_a_metric_that_was_not_measured_is_missing_on_every_task_on_record() -> None:
    records = trial_of("arxiv", {**METRICS, "late": METRICS["oracle"]}) + trial_of("books") + trial_of("github")
    records[0] = tried(records[0].trial, 1.0)
    said = report(records, lab_tasks=["arxiv", "books", "github"])["metrics.md"].decode()
    assert "- `late` on arxiv, books, github: not measured." in said
    assert "not on record" not in said
    assert of(records, "late", "books") == Qualities(*[None] * 8)


def test_tasks_of_the_lab_that_are_not_on_record_are_named() -> None:
    said = report(trial_of("books"), lab_tasks=["arxiv", "books", "books-domain"])["metrics.md"].decode()
    assert "- Tasks of the lab that are not on record: arxiv, books-domain." in said
    assert "By the rule below, on 1 of the lab's 3 tasks, the best headline is **oracle**" in said
    assert "a value of every model on every task on record, the one" in said


def test_the_pairs_behind_faithfulness_are_counted() -> None:
    books = trial_of("books")
    assert "one that does not: 4 x 2 models a task. The" in report(books)["metrics.md"].decode()
    fewer = [each for each in trial_of("github") if each.trial.model != "without-else"]
    assert "one that does not: 4 x 2 on books, 2 x 2 on github. The" in report(books + fewer)["metrics.md"].decode()


def test_one_missing_model_is_enough_to_have_no_faithfulness() -> None:
    records = trial_of("books")
    records[0] = tried(records[0].trial, 1.0, {**METRICS, "oracle": lambda knowledge, seed: None})
    assert of(records, "oracle", "books").faithfulness is None


def test_a_metric_that_was_tried_on_some_models_only() -> None:
    records = [each if index else tried(each.trial, 1.0, {"oracle": METRICS["oracle"]}) for index, each in enumerate(trial_of("books"))]
    assert of(records, "inverted", "books").faithfulness is None
    assert of(records, "oracle", "books").faithfulness == 1.0


def test_documents_and_domains_are_told_apart() -> None:
    records = trial_of("books") + trial_of("books-domain", {**METRICS, "oracle": METRICS["inverted"]})
    (line,) = (line for line in overall(records) if line.metric == "oracle")
    assert (line.documents, line.domains, line.mean.faithfulness) == (1.0, 0.0, 0.5)


def test_models_behind_a_barrier_are_no_grades() -> None:
    assert barriers(trial_of("books")) == {"books": 1.0}
    said = report(trial_of("books"))["metrics.md"].decode()
    assert "at most (nats): books 1.00." in said


def line(name: str, faithfulness: float | None, monotonicity: float | None, noise: float | None, tasks: int = 6) -> Overall:
    mean = Qualities(faithfulness, monotonicity, None, None, None, noise, None, None)
    return Overall(name, Card(axis="forgetting", knows="higher", version=1), tasks, 6, None, None, mean)


def test_the_rule() -> None:
    lines = [
        line("noisier", 0.991, 0.9, 0.2),
        line("quiet", 0.989, 0.901, 0.1),  # 0.99 and 0.90 as well
        line("not-monotone", 0.99, 0.8, 0.01),
        line("less-faithful", 0.98, 1.0, 0.0),
        line("elsewhere-missing", 1.0, 1.0, 0.0, tasks=5),
        line("no-gap", 1.0, 1.0, None),
    ]
    found = verdict(lines)
    assert found is not None
    assert found.eligible == ("quiet", "noisier", "not-monotone", "less-faithful")
    assert found.level == ("quiet", "noisier")
    assert [each.metric for each in ranked(lines)][:4] == list(found.eligible)


def test_no_verdict_where_nothing_is_complete() -> None:
    assert verdict([line("a", None, None, None, tasks=0)]) is None


def test_the_report_says_which_is_best_and_where_the_present_headline_stands() -> None:
    said = report(trial_of("books"))["metrics.md"].decode()
    assert (
        "By the rule below the best headline is **oracle** (faithfulness 1.00, monotonicity 1.00, seed noise 0.00); the present one,"
        f" {HEADLINE}, comes 2 of 3 (faithfulness 1.00, monotonicity 1.00, seed noise 0.14)." in said
    )
    assert f"Only seed noise tells it from {HEADLINE}." in said
    shown = [row.split("|")[1].strip() for row in said.splitlines() if row.startswith("| `")]
    assert shown == ["`oracle`", f"`{HEADLINE}`", "`inverted`", "`constant`"]


def test_the_report_is_a_function_of_the_records() -> None:
    assert report(trial_of("books"), ["of-text"]) == report(trial_of("books"), ["of-text"])
    rows = report(trial_of("books"))["metrics.csv"].decode().splitlines()
    assert rows[0].startswith("metric,task,removes,faithfulness,monotonicity,")
    assert len(rows) == 1 + len(METRICS)


@pytest.mark.parametrize("folder", [file.parent for file in sorted(RESULTS.glob("*/metrics.md"))], ids=lambda folder: folder.name)
def test_what_is_published_is_what_the_records_say(folder: Path) -> None:
    lab_tasks = design_for(folder.name, None, [], quick=False, scratch=False).lab_tasks
    for name, content in report(read_all(folder), untried(), lab_tasks).items():
        assert (folder / name).read_bytes() == content


def test_records_of_two_protocols_make_no_table() -> None:
    records = trial_of("books")
    records[0] = records[0].model_copy(update={"protocol": Protocol(limit=3)})
    with pytest.raises(InputError, match="the records in metrics/ are of 2 protocols"):
        report(records)


def test_records_of_two_versions_of_a_metric_make_no_table() -> None:
    records = trial_of("books")
    cards = {name: card.model_copy(update={"version": 2 if name == "oracle" else 1}) for name, card in records[0].cards.items()}
    records[0] = records[0].model_copy(update={"cards": cards})
    with pytest.raises(InputError, match="the records in metrics/ are of several versions of metric 'oracle'"):
        report(records)


def test_a_record_is_what_was_written(tmp_path: Path) -> None:
    for each in trial_of("books"):
        write(tmp_path, each)
    assert sorted(read_all(tmp_path), key=lambda each: each.trial.name) == sorted(trial_of("books"), key=lambda each: each.trial.name)
    assert find(tmp_path, Trial(task="books", model="target", seed=7)) is None


def test_a_record_that_is_none(tmp_path: Path) -> None:
    write(tmp_path, trial_of("books")[0])
    (file,) = (tmp_path / "metrics").glob("*.json")
    file.rename(file.with_name("other.json"))
    with pytest.raises(InputError, match="holds the trial books--target--seed-0: renamed or edited; delete it"):
        read_all(tmp_path)
    (tmp_path / "metrics" / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json is not a record of a trial: Field required; delete it"):
        read_all(tmp_path)


def test_what_a_record_lacks() -> None:
    record = trial_of("books")[0]
    same = dict(record.cards)
    assert record.lacks(record.identity, same) == frozenset()
    assert record.lacks("another", same) == frozenset(same)
    newer = {**same, "oracle": same["oracle"].model_copy(update={"version": 2}), "new": same["oracle"]}
    assert record.lacks(record.identity, newer) == {"oracle", "new"}
