"""Methods that go wrong in every way we could think of, and a few that do not: a plugin, as anybody might write it."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, Unsupported, register


def nudge(lm: LanguageModel, size: float = 1e-3) -> None:
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter += size


@dataclass(frozen=True)
class Nudging(UnlearningMethod):
    """Takes three small steps."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        for _ in range(3):
            nudge(lm)
            yield


register("nudging")(Nudging)


@register("declining")
@dataclass(frozen=True)
class Declining(Nudging):
    """Says beforehand that it cannot."""

    def unsupported(self, lm: LanguageModel, request: Request) -> str | None:
        return "not on a Friday"


@register("declining-late")
@dataclass(frozen=True)
class DecliningLate(Nudging):
    """Finds out on the way that it cannot."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        raise Unsupported("not on a Friday either")
        yield


@register("unbuildable")
@dataclass(frozen=True)
class Unbuildable(Nudging):
    """Cannot even be constructed."""

    def __post_init__(self) -> None:
        raise ValueError("no such thing")


@register("raising")
@dataclass(frozen=True)
class Raising(Nudging):
    """Breaks after two steps."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        nudge(lm)
        yield
        nudge(lm)
        yield
        raise ZeroDivisionError("as it happens")


@register("memory-cuda", error="OutOfMemoryError")
@register("memory-host", error="MemoryError")
@dataclass(frozen=True)
class Memory(Nudging):
    """Runs out of memory."""

    error: str = "MemoryError"

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        raise {"MemoryError": MemoryError, "OutOfMemoryError": torch.OutOfMemoryError}[self.error]("tried to allocate 80 GiB")
        yield


@register("preparing-badly")
@dataclass(frozen=True)
class PreparingBadly(Nudging):
    """Breaks before its request is known."""

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        raise RuntimeError("nothing prepared")


@register("leaving")
@dataclass(frozen=True)
class Leaving(Nudging):
    """Tries to end the whole run."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        raise SystemExit("enough")
        yield


@register("diverging")
@dataclass(frozen=True)
class Diverging(Nudging):
    """A good step, and then one that is not a number."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        nudge(lm)
        yield
        nudge(lm, float("nan"))
        yield


@register("dying")
@dataclass(frozen=True)
class Dying(Nudging):
    """Takes its process with it, as the kernel does to one that uses too much memory."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield


@register("dying-once")
@dataclass(frozen=True)
class DyingOnce(Nudging):
    """The same, but only where the file that the environment names is not there yet."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        nudge(lm)
        yield
        with contextlib.suppress(FileExistsError):
            Path(os.environ["DIED"]).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        nudge(lm)
        yield


@register("interrupting")
@dataclass(frozen=True)
class Interrupting(Nudging):
    """Control-C, in the middle."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        nudge(lm)
        yield
        if "INTERRUPT" in os.environ:
            raise KeyboardInterrupt


@register("noisy")
@dataclass(frozen=True)
class Noisy(Nudging):
    """Draws from every global generator there is, while it prepares and while it unlearns."""

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        return {"noise": draw()}

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        for _ in range(3):
            with torch.no_grad():
                lm.model.get_output_embeddings().weight[0, :3] += 1e-2 * (draw() + request.prepared["noise"])
            yield


def draw() -> Tensor:
    return torch.tensor([random.random(), float(np.random.random()), float(torch.rand(()))])


@register("waiting")
@dataclass(frozen=True)
class Waiting(Nudging):
    """Takes its time where the environment says so."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        for _ in range(6):
            time.sleep(float(os.environ.get("SECONDS_A_STEP", "0")))
            nudge(lm)
            yield


@register("spying")
@dataclass(frozen=True)
class Spying(Nudging):
    """Remembers what it was given."""

    seen: ClassVar[list[Request]] = []

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        self.seen.append(request)
        yield from super().unlearn(lm, request)


class Scaled(nn.Module):
    """A layer whose output is scaled by a buffer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("scale", torch.ones(()))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.inner(hidden) * self.scale


@register("attaching-in-secret")
@dataclass(frozen=True)
class AttachingInSecret(Nudging):
    """Intervenes at inference, by a module put around the output projection, and does not say so."""

    first: float = 0.98

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        scaled = Scaled(lm.model.get_output_embeddings())
        lm.model.set_output_embeddings(scaled)
        for number in range(3):
            scaled.scale.fill_(self.first**number * self.first)
            yield


@register("attaching")
@register("attaching-ruinously", first=30.0)
@dataclass(frozen=True)
class Attaching(AttachingInSecret):
    """The same, said openly."""

    inserts: ClassVar = True


@register("hooking")
@dataclass(frozen=True)
class Hooking(Nudging):
    """Changes what the model says, and not one of its weights."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        reach = torch.ones(())
        lm.model.get_output_embeddings().register_forward_hook(lambda module, given, output: output * reach)
        for _ in range(3):
            reach *= 0.98
            yield
