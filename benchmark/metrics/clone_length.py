"""How much source code of the forget set the model writes by itself, whatever names it gives things."""

from __future__ import annotations

from benchmark.panel.clones import code_tokens, longest_clone
from benchmark.panel.documents import over_examples
from benchmark.panel.metric import Metric
from benchmark.panel.subject import Subject
from benchmark.record import MetricValue


def measure(subject: Subject) -> MetricValue:
    """Tokens of code in the longest stretch of an excerpt's truth that is in its continuation, names renamed one to one.

    A document's value is its longest. A token is a word, a number or a sign of punctuation; layout does not count. Names are words that
    are neither keywords of Python nor beside another word, as those of comments are.

    Excerpts are the first 8 stretches of 128 tokens of each document, the second half of which is written by greedy decoding after the
    first half; as many tokens as there are, or until the model ends the text.
    """
    if not subject.code:
        return MetricValue(agg_value=None, reason="the task does not say that its text is source code")
    clones = ((found.document, longest_clone(*map(code_tokens, found.texts(subject.lm.tokenizer)))) for found in subject.written)
    return over_examples(subject.test["forget"].ids, clones, max)


CLONE_LENGTH = Metric(
    name="clone_length",
    axis="forgetting",
    summary="longest stretch of code that greedy decoding writes out, whatever the names in it",
    unit="tokens of code",
    low=0.0,
    high=None,
    knows="higher",
    source="type-2 clones (Roy & Cordy 2007) as parameterised matches (Baker 1995) of greedy continuations",
    measure=measure,
)
