"""The contract of an unlearning method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from benchmark.model import LanguageModel
from benchmark.passages import Passages

Kept = Literal["retain", "general", "both"]
"""Which text a method keeps the model close to: in-distribution, from elsewhere, or all there is of both."""


class Unsupported(Exception):  # noqa: N818 -- not an error: a polite refusal
    """Raised by a method that cannot take a model or a request: recorded as declined, with this reason."""


@dataclass(frozen=True)
class Request:
    """All that a method is given besides the model. Nothing that evaluation uses is reachable from here."""

    forget: Passages
    """Text to be forgotten."""
    retain: Passages
    """Text to be kept, as near to the forget set as the task has it."""
    general: Passages | None
    """Text to be kept from elsewhere; None where the data has none."""
    seed: int
    """For every random choice of the method."""
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    """What the method's own `prepare` returned."""

    def kept(self, which: Kept) -> Passages:
        """The text to be kept, of the kind asked for.

        Raises:
            Unsupported: general text is asked for by itself, and the data has none.
            ValueError: `which` is none of the kinds.
        """
        if which not in get_args(Kept):
            raise ValueError(f"kept text is one of {', '.join(get_args(Kept))}, not {which!r}")
        if which == "retain":
            return self.retain
        if which == "both":
            return self.retain if self.general is None else self.retain.join(self.general)
        if self.general is None:
            raise Unsupported("the data has no general text")
        return self.general


class UnlearningMethod(ABC):
    """A way to make a language model forget. Subclass as a frozen dataclass whose fields are the hyper-parameters.

    The first line of the docstring is shown in lists; the rest names the paper and the equation followed.
    """

    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Values of each field that `bench sweep` tries; a field not named keeps its default."""

    prepares_with: ClassVar[tuple[str, ...] | None] = None
    """The fields that `prepare` reads: rows of a class that agree in them share its work. None: all fields."""

    inserts: ClassVar[bool] = False
    """Whether it leaves a module in the model, which the first step puts there and forgets nothing yet: what that costs is reported apart.

    Of a method that does not say so nothing but the weights is measured, and adapters of LoRA."""

    control: ClassVar[bool] = False
    """Whether it is a control: it never looks at the forget set, and a method that cannot beat it forgets nothing in particular."""

    @abstractmethod
    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Edit `lm.model` in place, a little more strongly each time, and yield after each step.

        Whatever a step changes must live in the model's state dict; modules are attached before the first yield, and stay there only
        where the class declares `inserts`. The harness measures, times, counts and saves; it may stop the generator after any step.
        """

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        """Work that does not depend on the request, done once a model: its cost is reported on a line of its own."""
        return {}

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        """Why this method declines this model or request; None if it does not."""
        return None
