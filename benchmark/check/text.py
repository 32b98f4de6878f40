"""Whether a method looks at the text it was given, and at nothing about it but what it says."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmark.check.layouts import backwards, every_text, other_words, wide, widened
from benchmark.check.outcome import Check, Failure, NotApplicable
from benchmark.check.trial import EXTRA, Step, Trial
from benchmark.method import Request
from benchmark.passages import Passages

FILLER = 17
"""A token that is no padding token, put where padding is."""

ROUNDING = 8e-2
"""Logits may differ by this share of what they have moved, as root mean squares: where a gradient is 0, as that of a divergence
is at first, AdamW makes a step of its rounding error. What padding does by mistake is several times that."""

ATTEMPTS = 3
"""Other texts that are tried before a method is said not to look."""

NOISE = re.compile(r"rand(?!perm)|normal|bernoulli|multinomial|uniform|exponential")
"""Names of PyTorch's random functions, but for that which draws an order."""


class _Noise(TorchFunctionMode):
    """Takes note of random draws other than orders."""

    drawn = False

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        self.drawn |= bool(NOISE.match(getattr(function, "__name__", "")))
        return function(*args, **(kwargs or {}))


def padding(trial: Trial) -> None:
    """Padding changes nothing, however wide it is and whatever token stands in it."""
    if not _alike(trial, partial(widened, columns=EXTRA, filler=FILLER), "another token as padding"):
        raise Failure(expected="the same steps with another token as padding", seen="others, and random draws that depend on it")
    _alike(trial, _padded_batches, f"{EXTRA} more columns of padding in every batch")


def _padded_batches(text: Passages) -> Passages:
    return wide(widened(text, EXTRA, FILLER))


def row_order(trial: Trial) -> None:
    """The order of the windows inside a batch changes nothing."""
    if not _alike(trial, backwards, "the windows of every batch in the opposite order"):
        raise NotApplicable("it draws random numbers for each window of a batch")


def _alike(trial: Trial, change: Callable[[Passages], Passages], words: str) -> bool:
    """Whether the steps are as usual; False where they are not and random draws that follow the layout may be why."""

    def changed(request: Request) -> Request:
        return every_text(request, change)

    steps = trial.steps(changed)
    if len(steps) != len(trial.usual):
        raise Failure(expected=f"the same steps with {words}", seen=f"{len(steps)} instead of {len(trial.usual)}")
    if not steps:
        return True
    moved = _size(trial.usual[-1].output - trial.untouched)
    apart = _size(trial.usual[-1].output - steps[-1].output)
    if apart <= ROUNDING * moved + 1e-5:
        return True
    with _Noise() as noise:
        trial.steps(changed)
    if noise.drawn:
        return False
    raise Failure(
        expected=f"the same steps with {words}",
        seen=f"after step {len(steps)}, which has moved the logits by {moved:.1e}, they are {apart:.1e} apart",
    )


def _size(difference: Tensor) -> float:
    return difference.square().mean().sqrt().item()


def uses_forget(trial: Trial) -> None:
    """Another forget set gives another result; a control, with `control = True` in its class, gives the same."""
    control = trial.entry.cls.control
    if control and _looks_at(trial, ["forget"]):
        raise Failure(
            expected="no look at the forget set, since `control` is True",
            seen="other steps with another forget set; leave `control` out of the class",
        )
    if not control and not _looks_at(trial, ["forget"]):
        raise Failure(
            expected="other steps with another forget set",
            seen="the same to the last bit; a control has `control: ClassVar = True` in its class",
        )


def uses_kept(trial: Trial) -> None:
    """Other text to be kept gives another result, where a field or a formula says that the method uses some."""
    claimed = _claimed(trial)
    if not claimed:
        raise NotApplicable("no field named for kept text, and no formula with (kept) or (retain) in its docstring")
    for names in claimed:
        if not _looks_at(trial, names):
            raise Failure(
                expected=f"other steps with other {' and '.join(names)} text, which the method says that it uses",
                seen="the same to the last bit",
            )


def _claimed(trial: Trial) -> list[list[str]]:
    """The texts that the method says it uses: each of these has to tell, of several together at least one."""
    chosen = getattr(trial.method, "kept", None)
    if isinstance(chosen, str):
        return [["retain"], ["general"]] if chosen == "both" else [[chosen]]
    fields = [field.name for field in dataclasses.fields(trial.entry.cls)]  # type: ignore[arg-type]  # every registered class is one
    if any("kept" in name or "retain" in name for name in fields) or re.search(r"\((kept|retain)\b", inspect.getdoc(trial.entry.cls) or ""):
        return [["retain", "general"]]
    return []


def _looks_at(trial: Trial, names: Sequence[str]) -> bool:
    """Whether other words in these texts ever give another state."""
    return any(_differ(trial.usual, trial.steps(partial(_reworded, names=names, which=which))) for which in range(ATTEMPTS))


def _reworded(request: Request, names: Sequence[str], which: int) -> Request:
    def other(name: str) -> Passages:
        text: Passages = getattr(request, name)
        return other_words(text, which) if name in names else text

    return dataclasses.replace(request, forget=other("forget"), retain=other("retain"), general=other("general"))


def _differ(first: Sequence[Step], second: Sequence[Step]) -> bool:
    return len(first) != len(second) or any(not one.same(other) for one, other in zip(first, second, strict=True))


PADDING = Check("padding", padding, why="padding weighs a document by its neighbours in the batch; average over `mask` alone")
ROW_ORDER = Check("row-order", row_order, why="a method that treats the first window of a batch apart leaves the others out")
USES_FORGET = Check("uses-forget", uses_forget, why="a method that does not look at the forget set forgets nothing in particular")
USES_KEPT = Check("uses-kept", uses_kept, why="the board would credit kept text with what it has no part in")
