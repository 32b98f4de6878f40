"""What the document says of tuning: a line a method, and a figure."""

from __future__ import annotations

from benchmark.leaderboard import formats
from benchmark.leaderboard.section import Section, Table
from benchmark.leaderboard.tuning import Sweep, Tuning

TITLE = "How much tuning matters"
FIGURE = "tuning"


def tuning_section(sweep: Sweep) -> Section:
    """The section for a document."""
    return Section(TITLE, tuning_rules(sweep), (tuning_table(sweep),), FIGURE if drawable(sweep) else None)


def drawable(sweep: Sweep) -> bool:
    """Whether any method has a curve."""
    return any(len(tuning.best_of) > 1 for tuning in sweep.tunings)


def tuning_rules(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    """What the table shows."""
    counts = sorted({tuning.trials for tuning in sweep.tunings})
    trials = f"{counts[0]} trials of every method" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} trials of each method"
    budget = formats.budget(sweep.budget)
    facts = [
        (
            "What this is",
            f"{trials} on {', '.join(sweep.tasks)}, from `bench sweep`, by protocol {sweep.protocol}, steps {sweep.growth:g} times apart."
            f" Trials are chosen by their validation score at {budget} utility damage;"
            " every number here is of the test half, as it counts on this board.",
        ),
        (
            "Best of k",
            "the expected test score of the trial that validation would choose among k drawn at random: the mean over all subsets of k"
            " trials (after Dodge et al. 2019, without replacement). Of one it is the mean trial, of all it is the chosen one.",
        ),
        ("Inside", f"share of runs with a step that validation takes at {budget}, and whose damage on test is within {budget} too."),
        ("Tuning cost", "of all trials to the end of their trajectories, what was prepared for them included and evaluation left out."),
    ]
    missing = [f"{tuning.method} ({tuning.missing})" for tuning in sweep.tunings if tuning.missing]
    if missing:
        facts.append(("Not told", f"{', '.join(missing)}."))
    return tuple(facts)


def tuning_table(sweep: Sweep) -> Table:
    """One row a method, the best of all trials first."""
    most = max(tuning.trials for tuning in sweep.tunings)
    shown = [k for k in (1, 2, 3, 6, 12, 24) if k < most]

    def best(tuning: Tuning, k: int) -> str:
        return formats.number(tuning.best_of[k - 1] if k <= len(tuning.best_of) else None)

    rows = tuple(
        (
            tuning.method,
            str(tuning.trials),
            *(best(tuning, k) for k in shown),
            best(tuning, tuning.trials),
            formats.number(tuning.median),
            formats.percent(tuning.inside),
            formats.count(tuning.flops),
            formats.seconds(tuning.cpu_seconds),
        )
        for tuning in sweep.tunings
    )
    header = ("method", "trials", *(f"best of {k}" for k in shown), "best of all", "median trial", "inside", "FLOPs", "CPU seconds")
    return Table("", header, rows)
