"""A recommendation in plain sentences, and the methods it was chosen from in a table."""

from __future__ import annotations

from benchmark.leaderboard import formats
from benchmark.leaderboard.recommendation import Candidate, Recommendation
from benchmark.leaderboard.section import Section, Table

TITLE = "Recommendation"

Facts = tuple[tuple[str, str], ...]


def advice_section(told: Recommendation) -> Section:
    """The recommendation for a document."""
    score = told.unscored is None
    header = (
        "#",
        "method",
        "forget score" if score else "top-1 drop",
        "utility damage",
        "loss on forget",
        "step",
        "FLOPs",
        "seconds",
    )
    return Section(TITLE, advice(told), (Table("", header, tuple(_cells(candidate) for candidate in told.candidates)),))


def advice(told: Recommendation) -> Facts:
    """What to do, what it forgets and what it costs, in labelled sentences."""
    chosen = told.chosen
    facts = [_verdict(told)]
    if chosen is not None:
        facts += [("It forgets", _forgets(told, chosen)), ("It keeps", _keeps(told, chosen)), ("It costs", _costs(chosen))]
    if told.passed_over:
        names = ", ".join(f"{candidate.row.label} ({formats.number(candidate.merit.value)})" for candidate in told.passed_over)
        facts.append(("Passed over", f"{names}: by leaving a module in the model, which plain transformers cannot load."))
    if told.elsewhere:
        others = "; ".join(f"{label} ({formats.number(merit)}) at {formats.budget(budget)}" for budget, label, merit in told.elsewhere)
        facts.append(("At other budgets", f"the best is {others}."))
    facts += [("It rests on", _rests_on(told)), ("What was asked", _asked(told))]
    if "retain" not in told.requested.pieces:
        facts.append(("No retain text", _stand_in(told)))
    return tuple(facts)


def _verdict(told: Recommendation) -> tuple[str, str]:
    tried = f"{len(told.candidates)} method{'s' * (len(told.candidates) != 1)}"
    failed = f" ({told.failed} more gave no result)" if told.failed else ""
    budget = formats.budget(told.budget)
    chosen = told.chosen
    if chosen is not None:
        return (
            "Recommended",
            f"{chosen.row.label}, stopped at step {chosen.step:g}: the best of {tried}{failed} at {budget} utility damage.",
        )
    best = max(told.candidates, key=lambda candidate: candidate.merit.value, default=None)
    if best is None:
        return ("Recommended", f"nothing: no method gave a result{failed}.")
    reason = f"none of {tried}{failed} that can be handed over can be told from doing nothing at {budget} utility damage"
    return ("Recommended", f"nothing: {reason}; the best is {best.row.label} with {_merit(told, best)}.")


def _forgets(told: Recommendation, chosen: Candidate) -> str:
    before = told.baseline.target_test["forget"].mean_nll
    loss = f"the mean loss on the forget set goes from {before:.2f} to {chosen.nll['forget']:.2f} nats a token"
    if told.unscored is None:
        reference = told.baseline.reference_test["forget"].mean_nll
        return f"{_merit(told, chosen)}, where 1 is a model that never saw the text: {loss}, where {reference:.2f} stands for never seen."
    return f"{_merit(told, chosen)}: {loss}. How much of the way to never seen that is, cannot be said."


def _merit(told: Recommendation, candidate: Candidate) -> str:
    merit = candidate.merit
    if told.unscored is None:
        return f"a forget score of {formats.interval(merit)}"
    low, high = formats.percent(merit.low), formats.percent(merit.high)
    return f"{formats.percent(merit.value)} [{low}, {high}] more of the right next tokens lost on the forget set than on the retain set"


def _keeps(told: Recommendation, chosen: Candidate) -> str:
    parts = [f"{name} {_signed(change)}" for name in ("retain", "general", "holdout") if (change := told.change(chosen, name)) is not None]
    return (
        f"utility damage is {formats.percent(chosen.damage)} on test (chosen to be within {formats.budget(told.budget)} on validation);"
        f" perplexity by set: {', '.join(parts)}."
    )


def _costs(chosen: Candidate) -> str:
    expense = chosen.row.expense
    assert expense is not None  # a candidate has one
    told = (
        f"{formats.seconds(expense.seconds)} seconds, {formats.count(expense.flops)} FLOPs, {formats.memory(expense.peak_memory)} of memory"
    )
    prepared = f", after {formats.seconds(expense.prepare_seconds)} seconds of preparation" if expense.prepare_seconds else ""
    return f"{told}{prepared}; {formats.count(expense.parameters_changed)} parameters changed."


def _rests_on(told: Recommendation) -> str:
    if told.unscored is None:
        return (
            "the holdout set standing in for a model retrained without the text: the score is only as good as that set is like the"
            " forget set. Intervals are of 95 %, over pieces of text."
        )
    missing = "" if "holdout" in told.requested.pieces else "no holdout text was given (`--holdout`: like the forget set, never seen); "
    return (
        f"no forget score: {missing}{told.unscored}. In its place methods are ordered by the relative drop of next-token accuracy on"
        " the forget set beyond any on the retain set, within the budget; it does not say when enough is forgotten."
    )


def _asked(told: Recommendation) -> str:
    requested = told.requested
    parts = []
    for name, pieces in requested.pieces.items():
        documents = requested.documents[name]
        cut = f" in {pieces} pieces" if pieces != documents else ""
        parts.append(f"{name}: {documents} document{'s' * (documents != 1)}{cut}, {requested.characters[name]:,} characters")
    return f"{'; '.join(parts)}. SHA-256 of the forget set: {requested.forget_sha256}."


def _stand_in(told: Recommendation) -> str:
    cost = (
        "general text stood in. Methods could not tell what sets the forget text apart from its kind, and utility damage is that on"
        " general text alone: what was lost on text like the forget set is not within the budget"
    )
    chosen = told.chosen
    like = None if chosen is None else told.change(chosen, "holdout")
    if like is None:
        return f"{cost}, and it was not measured. Give `--retain`."
    return f"{cost}. On the holdout set, which is like it, perplexity changed by {_signed(like)}. Give `--retain`."


def _signed(change: float) -> str:
    return f"{'+' if change >= 0 else ''}{formats.percent(change)}"


def _cells(candidate: Candidate) -> tuple[str, ...]:
    expense = candidate.row.expense
    return (
        str(candidate.place),
        candidate.row.label,
        formats.interval(candidate.merit),
        formats.percent(candidate.damage),
        formats.number(candidate.nll["forget"]),
        f"{candidate.step:g}",
        formats.count(None if expense is None else expense.flops),
        formats.seconds(None if expense is None else expense.seconds),
    )
