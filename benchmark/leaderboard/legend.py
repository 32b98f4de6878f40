"""The words around the tables: the rules in force, what was measured on, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.leaderboard import Board, formats
from benchmark.leaderboard.admissible import ABOVE, FAR_ABOVE, HIDING, INADMISSIBLE
from benchmark.leaderboard.controls import control_facts
from benchmark.leaderboard.flags import DISQUALIFYING
from benchmark.leaderboard.rows import ORIGINAL, SETS
from benchmark.leaderboard.task_table import TaskTable
from benchmark.record import Setting, TextOrigin
from benchmark.scores import CONFIDENCE, Interval
from benchmark.task import REQUEST

Facts = tuple[tuple[str, str], ...]

QUESTIONS = {
    "documents": "forget some documents of {domain}, keep the others and general text",
    "domain": "forget the whole of {domain}, judged on documents of it that no model has seen; keep the other domains and general text",
}
IMPLANTED = (
    "exact: the model was taught the forget and retain documents of the task, and taught again in the same way without the forget documents"
)
REFERENCES = {
    "exact": "exact: the model was trained again without the forget set",
    "approximate": "approximate: the target model's own behaviour on the holdout set stands in for a retrained model's on the forget set",
    "none": "none: there is no retrained model, and nothing stands in for one",
    None: "none: no cell of this task could be measured",
}
RANKS = (
    "one more than the number of methods told to be better, so that methods that cannot be told apart share it. The rank interval is"
    f" where the true rank lies, for all methods at once with {CONFIDENCE:.0%} confidence. Every two methods are compared on the same"
    " documents and target seeds (Student's t on jackknife values, Holm's correction over all pairs)"
)
INDEPENDENT = (
    f"Its {CONFIDENCE:.0%} interval is Student's t on jackknife values of documents and on the means of seeds. Its interval takes the tasks"
    " as independent, although they share the target model of a seed"
)
MARKS = (
    f"{ABOVE}: damage on test is above the budget. {FAR_ABOVE}: it is more than {INADMISSIBLE:g} times the budget. {HIDING}: caught as"
    f" {' or '.join(sorted(DISQUALIFYING))}, the text is still there, or nothing took it out. Models are looked into at the headline point"
    " alone: a run that is caught there is believed at no other strength, nor is one that was not looked into by what caught another. In"
    f" means and ranks a run with {FAR_ABOVE} or {HIDING} counts as 0, what doing nothing scores, or as its own score if that is lower. Of"
    " several runs one is enough for the mark"
)
SELECTION = (
    "at each utility budget, the step with the best validation forget score whose validation utility damage is within the budget"
    " is chosen; it is reported on the test half, where its damage may come out above the budget"
)
BRACKETS = "`retrained` (the reference) and `original` (nothing done) bracket the table and are not ranked"
IMPLANTING_COST = (
    " Where the model was taught the documents first, retraining is teaching the reference, 6 x parameters x tokens taught: what the"
    " untaught model cost is not in it."
)


def overall_rules(board: Board) -> Facts:
    """What the overall table shows, and in which order."""
    scored, unscored = board.scored_tasks, [table for table in board.tasks if table.unscored is not None]
    facts = [
        ("Model", _model(board)),
        ("Score", _headline(board)),
        ("Chosen", f"{SELECTION}."),
    ]
    if scored:
        names = ", ".join(table.task for table in scored)
        facts += [
            ("Mean", f"over {names}, each counted once; no mean where a score is missing. {INDEPENDENT}{_without_training(scored)}."),
            ("Order", f"by mean score. {_sentence(BRACKETS)}; methods without a mean come last, without a rank."),
            ("Rank", f"{RANKS}{_floor(board.score_floor, 'the mean over tasks of the noise floor')}."),
            ("Marks", f"{MARKS}; the table of its task shows what was measured."),
            *control_facts(board),
        ]
    else:
        facts.append(("Order", "by max difference; without forget scores there are no ranks."))
    for table in unscored:
        facts.append((f"No score on {table.task}", f"{_unscored(table)}."))
    missing = [f"{row.label} ({row.missing})" for row in board.overall if row.missing and not row.is_reference]
    if missing:
        facts.append(("Not ranked", f"{'; '.join(missing)}."))
    cost = "sums over the tasks up to each headline point, evaluation left out"
    facts.append(("Cost", f"FLOPs and seconds are {cost}; prepare FLOPs are spent once a model, whatever is to be forgotten."))
    return tuple(facts)


def task_rules(board: Board, table: TaskTable) -> Facts:
    """What one task's tables show, and in which order."""
    facts = [("Task", f"{QUESTIONS[table.removes].format(domain=table.domain)}."), ("Reference", f"{_reference(table)}.")]
    if table.membership is not None:
        facts.append(("Membership", _membership(table.membership)))
    if table.sizes:
        told = ", ".join(f"{name} {table.sizes[name].documents} documents of {table.sizes[name].tokens:,} tokens" for name in _sets(table))
        facts.append(("Test half", f"{told}; data fingerprint {table.data_fingerprint[:12]}."))
    if table.text is not None:
        facts.append(("Text", _text(table.text, table.setting)))
    if table.unscored is None:
        facts += [
            ("Chosen", f"{SELECTION}."),
            ("Order", f"by score at {formats.budget(board.budget)}, as it counts. {_sentence(BRACKETS)}."),
            ("Rank", f"as overall, by this task alone{_floor(table.score_floor, 'the noise floor')}."),
            ("Marks", "as overall; the scores are shown as measured."),
            ("Intervals", _intervals(table)),
        ]
    else:
        chosen = "at each utility budget, the step with the largest relative top-1 drop on forget beyond that on retain"
        order = "by max difference" if table.removes == "domain" else "by name"
        facts += [("No score", f"{_unscored(table)}."), ("Chosen", f"{chosen}."), ("Order", f"{order}, without ranks.")]
    return (*facts, *_divergence(table))


def _divergence(table: TaskTable) -> Facts:
    """What the Jensen-Shannon distance cannot tell; nothing where it was not measured."""
    measured = [ranked.row for ranked in table.rows if ranked.row.divergence is not None]
    if not measured:
        return ()
    untouched = [formats.number(row.divergence, 3) for row in measured if row.method == ORIGINAL]
    told = (
        "most of it lies between any two trainings, whatever they saw: on trial, in the lab, it tells models that know the text from models"
        f" that do not no better than chance. Only values below that of `original`{''.join(f', {value} here,' for value in untouched)} say"
        " anything."
    )
    return (("JS distance", told),)


def preamble(board: Board) -> Facts:
    """Where the numbers come from."""
    protocol = board.protocol
    facts = [
        ("Records", f"{board.records}, made between {board.first} and {board.last}."),
        ("Model", f"{_model(board)}."),
        (
            "Protocol",
            f"version {protocol.version}; budgets {', '.join(formats.budget(budget) for budget in protocol.budgets)}; at most"
            f" {protocol.max_steps} steps, each measured one at least {protocol.growth:g} times the one before; at most"
            f" {protocol.validation_tokens:,} tokens of each set to choose by and {protocol.test_tokens:,} to report on"
            + (f"; at most {protocol.limit} documents of each half of each set." if protocol.limit else "."),
        ),
    ]
    for environment in board.environments:
        packages = ", ".join(f"{name} {version}" for name, version in sorted(environment.packages.items()))
        hardware = f"{environment.processor}, device {environment.device}, {environment.threads} threads, {environment.platform}"
        facts.append(("Hardware", f"{hardware}; unlearning-bench {environment.version}, Python {environment.python}, {packages}."))
    if board.superseded:
        facts.append(("Left out", f"{board.superseded} records of older versions of a method."))
    return tuple(facts)


def reading(board: Board) -> Facts:
    """What the columns mean."""
    largest = formats.budget(max(board.protocol.budgets))
    return (
        (
            "Forget score",
            "`1 - |q - q*| / |q0 - q*|`, with q the mean token NLL on the forget set of the unlearned model, q0 that of the target"
            " model and q* that of the reference. 1: like a model that never saw the forget set. 0: as far from it as before. Below 0:"
            " further. It is two-sided: forgetting more than the reference does costs points, so a wrecked model scores low.",
        ),
        (
            "Utility damage",
            "relative perplexity increase on text to be kept, over the worse of target and reference; the worse of the retain set and"
            " general text.",
        ),
        (
            "Area",
            f"under the best score attainable within each utility damage up to {largest}, divided by {largest}; from the validation half."
            f" A method with {HIDING} has none.",
        ),
        (
            "JS distance",
            "Jensen-Shannon distance between the next-token distributions of the unlearned model and the reference on the forget set,"
            f" bits a token, at the {formats.budget(board.budget)} point; no scalar can game it. Its limits stand with each task.",
        ),
        (
            "Max difference",
            "largest relative top-1 drop on forget minus that on retain over the whole trajectory, on the validation half (Pochinkov &"
            " Schoots 2024); it ignores utility budgets.",
        ),
        ("Top-1", f"next-token accuracy on the test half at the {formats.budget(board.budget)} point."),
        (
            "FLOPs",
            "counted, a multiplication and an addition as two; `against retraining` divides what training from scratch costs (6 x"
            " parameters x tokens) by them. `retrained` has the cost of retraining where it is known."
            + (IMPLANTING_COST if any(table.setting == "implanted" for table in board.tasks) else ""),
        ),
        (
            "Seeds",
            "a method run with several seeds, or on several trainings of the target model (target seeds), is averaged over them, and a"
            " cell that failed for one of them has failed.",
        ),
        (
            "Reference rows",
            "`original` must score 0 and `retrained` (where exact) 1: a table in which they do not is not published.",
        ),
    )


def _model(board: Board) -> str:
    several = len(board.model_fingerprints) > 1
    told = [f"{fingerprint[:12]}" + f" (target seed {seed})" * several for seed, fingerprint in board.model_fingerprints.items()]
    return f"{board.model}, fingerprint{'s' * several} {', '.join(told)}"


def _headline(board: Board) -> str:
    budget = formats.budget(board.budget)
    return f"forget score on the test half at {budget} utility damage; 1 is a model that never saw the forget set, 0 the untouched one."


def _floor(score: float, what: str) -> str:
    """Up to which difference there is none."""
    return f"; a difference in score of up to {formats.number(score, 3)}, {what}, is none" if score else ""


def _reference(table: TaskTable) -> str:
    told = IMPLANTED if table.setting == "implanted" and table.reference_kind == "exact" else REFERENCES[table.reference_kind]
    if table.gaps:
        several = len(table.gaps) > 1
        gaps = [
            f"{gap.value:.3f} [{gap.low:.3f}, {gap.high:.3f}]" + f" for target seed {seed}" * several for seed, gap in table.gaps.items()
        ]
        told += f"; its NLL on forget less the target's is {' and '.join(gaps)} nats a token"
    if table.noise_floor is not None:
        measured = f"on average over pairs of the {len(table.gaps)} target seeds, on the test half"
        told += f", two honest trainings are {table.noise_floor:.3f} apart"
        told += f" ({measured if len(table.gaps) > 1 else 'as measured when the lab was made'})"
    return told


def _membership(auc: Interval) -> str:
    return (
        f"the target's loss tells forget from holdout documents with an AUC of {formats.interval(auc)} on the test half; 0.5 is chance,"
        " and below it the forget documents are the harder ones."
    )


def _text(text: TextOrigin, setting: Setting) -> str:
    sets: dict[str, list[str]] = {}
    for name, membership in text.membership.items():
        sets.setdefault(membership, []).append(name)
    told = "; ".join(f"{', '.join(names)}: {membership}" for membership, names in sets.items())
    when = ", before it was taught here" if setting == "implanted" else ""
    return " ".join(f"{part}." for part in (text.source, f"In the model's training data{when}: {told}", *map(_sentence, text.remarks)))


def _unscored(table: TaskTable) -> str:
    if table.setting != "pretrained" or table.reference_kind is None or table.task == REQUEST:  # what is requested cannot be taught first
        return f"{table.unscored}"
    return f"{table.unscored}; `--setting implanted` teaches the documents to the model first, and has an exact reference"


def _intervals(table: TaskTable) -> str:
    documents = f"{table.sizes['forget'].documents} forget documents" if "forget" in table.sizes else "the forget documents"
    told = f"{CONFIDENCE:.0%}, Student's t on jackknife values of {documents}"
    if table.reference_kind == "approximate":
        told += " and of those of the holdout set"
    if len(table.gaps) > 1:
        told += " and on the means of target seeds"
    elif any(len(ranked.row.seeds) > 1 for ranked in table.rows):
        told += " and on the scores of method seeds"
    return f"{told}{_without_training([table])}. That of a gap is a percentile bootstrap over the documents."


def _without_training(tables: Sequence[TaskTable]) -> str:
    """Which tasks have nothing to tell chance in training by."""
    single = [table.task for table in tables if len(table.gaps) < 2]
    return f". Chance in training is not included on {', '.join(single)}, in intervals or ranks: there is one target seed" if single else ""


def _sets(table: TaskTable) -> list[str]:
    known = [name for name in SETS if name in table.sizes]
    return [*known, *(name for name in table.sizes if name not in known)]


def _sentence(text: str) -> str:
    return text if text.startswith("`") else text[:1].upper() + text[1:]
