"""The meter that the harness owns: tokens, FLOPs, seconds, CPU seconds and peak memory of a method's own work.

FLOPs are counted operator by operator (`benchmark.cost.flops`). That costs about 8 microseconds an operator: 4 to 8 % of an optimiser
step of the lab model (24 windows of 128 tokens, one thread), 2 to 5 % of a forward pass, 30 % of a step of two windows. PyTorch's
own FlopCounterMode costs 15 to 25, 13 and 95 %; `python -m benchmark.speed` measures it again. Too much for seconds that are compared, so
a step like one already counted is not counted again but charged the same. Two steps are alike when they run the same passes, in the
same order, over inputs of the same shape. Once two counts of like steps agree, they are counted only at every doubling of their
number; a recount that disagrees has all of them counted from then on. Steps unlike the one before are always counted, and so is
one-shot work. If an uncounted step turns out to be of a new kind (the last, shorter batch), it is charged in proportion to its
tokens; the step after it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.architecture import blocks
from benchmark.cost.flops import FlopCount
from benchmark.cost.memory import peak_memory
from benchmark.record import Cost


def retraining_flops(parameters: int, tokens: int) -> float:
    """6 N D: two FLOPs a parameter and token forward, four backward."""
    return 6.0 * parameters * tokens


class Meter:
    """Measures what runs inside `running()`; what runs outside, evaluation, costs nothing.

    Nothing that a method computes depends on whether it is metered. `close` takes the meter's hooks off the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._passes = _Passes(model)
        self._count = FlopCount()
        self._steps = _Steps()
        self._devices = sorted({parameter.device for parameter in model.parameters()}, key=str)
        self._memory = peak_memory(self._devices)
        self._flops = 0
        self._seconds = 0.0
        self._cpu_seconds = 0.0
        self._peak_memory = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """A window of the method's own work: one step.

        Raises:
            RuntimeError: inside another window.
        """
        if self._passes.active:
            raise RuntimeError("the meter is already running")
        counting = self._steps.count_next()
        counted, forward, backward = self._count.flops, self._passes.forward_tokens, self._passes.backward_tokens
        self._synchronise()
        self._memory.start()
        self._passes.start()
        clock, cpu = time.perf_counter(), time.process_time()
        try:
            with self._count if counting else nullcontext():
                yield
        finally:
            self._synchronise()
            self._seconds += time.perf_counter() - clock
            self._cpu_seconds += time.process_time() - cpu
            self._peak_memory = max(self._peak_memory, self._memory.stop())
            tokens = self._passes.forward_tokens - forward + 2 * (self._passes.backward_tokens - backward)
            kind = self._passes.stop()
            self._flops += self._steps.charge(kind, tokens, self._count.flops - counted if counting else None)

    def cost(self) -> Cost:
        """Everything up to the end of the last window."""
        return Cost(
            forward_tokens=self._passes.forward_tokens,
            backward_tokens=self._passes.backward_tokens,
            flops=self._flops,
            seconds=self._seconds,
            cpu_seconds=self._cpu_seconds,
            peak_memory=self._peak_memory,
        )

    def close(self) -> None:
        """Take the hooks off the model."""
        self._passes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _synchronise(self) -> None:
        for device in self._devices:
            if device.type == "cuda":
                torch.cuda.synchronize(device)


@dataclass
class _Pass:
    """One outermost call of the model."""

    module: str
    shape: tuple[int, ...]
    grad: bool
    tokens: int
    backward: int = 0
    """Backward passes that went through it."""
    latest: int = -1
    """The last of them, by PyTorch's number."""


_Kind = tuple[tuple[str, tuple[int, ...], bool, int], ...]
"""What makes two steps alike: for each pass, in order, the module, its input's shape, with gradients or not, backward passes."""


class _Passes:
    """Counts tokens by hooks on the model, its base model and its layers.

    A call inside another is part of it. Padding counts. A forward pass inside a backward pass is one computed again for gradient
    checkpointing and brings no new tokens. The tokens of a forward pass count backward once for every backward pass that reaches its
    output or the output of one of its layers, where methods that work on hidden states start. Copies of the model carry the hooks
    with them and count here as well: a frozen reference that a method keeps is part of the method's cost.
    """

    def __init__(self, model: nn.Module) -> None:
        self.forward_tokens = 0
        self.backward_tokens = 0
        self.active = False
        self._depth = 0
        self._passes: list[_Pass] = []
        self._hooks = []
        for module in {model, getattr(model, "base_model", model)}:
            self._hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._leave, always_call=True))
        for layer in blocks(model):
            self._hooks.append(layer.register_forward_hook(self._watch))

    def __deepcopy__(self, memo: dict[int, object]) -> _Passes:
        return self

    def start(self) -> None:
        """Count from here on."""
        self.active, self._depth, self._passes = True, 0, []

    def stop(self) -> _Kind:
        """Count no more; what passes there were."""
        self.active = False
        return tuple((passed.module, passed.shape, passed.grad, passed.backward) for passed in self._passes)

    def close(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self.active:
            return
        self._depth += 1
        if self._depth > 1:
            return
        given = [kwargs.get("input_ids"), *args[:1], kwargs.get("inputs_embeds")]
        inputs = next((tensor for tensor in given if isinstance(tensor, Tensor)), torch.empty(0))
        shape = tuple(inputs.shape[:-1] if inputs.is_floating_point() else inputs.shape)  # embeddings have one axis more
        tokens = torch.Size(shape).numel() if shape else 0
        self._passes.append(_Pass(type(module).__name__, shape, torch.is_grad_enabled(), tokens))
        if _backward_pass() == -1:
            self.forward_tokens += tokens

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        if self._depth == 1:
            self._watch(module, args, output)
        self._depth = max(0, self._depth - 1)

    def _watch(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        if not self.active or self._depth == 0 or not torch.is_grad_enabled():
            return
        passed = self._passes[-1]
        for tensor in _tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: self._went_backward(passed))  # type: ignore[no-untyped-call]

    def _went_backward(self, passed: _Pass) -> None:
        current = _backward_pass()
        if self.active and passed.latest != current:
            passed.latest = current
            passed.backward += 1
            self.backward_tokens += passed.tokens


class _Steps:
    """What steps of each kind cost, and whether the next one has to be counted to know."""

    def __init__(self) -> None:
        self._known: dict[_Kind, _Known] = {}
        self._last: _Kind | None = None
        self._repeated = False
        """The last step was of the same kind as the one before it."""
        self._rate = 0.0
        """FLOPs a token of the last counted step, a token backward as two."""

    def count_next(self) -> bool:
        """Whether to count the next step, supposing that it is like the last one."""
        known = self._known.get(self._last) if self._last is not None and self._repeated else None
        return known is None or not known.agreed or known.volatile or known.steps + 1 >= known.recount

    def charge(self, kind: _Kind, tokens: int, counted: int | None) -> int:
        """The FLOPs of a step just done, given its count if it was counted."""
        self._repeated, self._last = kind == self._last, kind
        known = self._known.get(kind)
        if counted is None:
            if known is None:
                return round(self._rate * tokens)
            known.steps += 1
            return known.flops
        self._rate = counted / tokens if tokens else self._rate
        if known is None:
            self._known[kind] = _Known(counted)
        else:
            known.counted(counted)
        return counted


@dataclass
class _Known:
    flops: int
    steps: int = 1
    recount: int = 4
    agreed: bool = False
    """The last two counts were the same."""
    volatile: bool = False
    """Counts agreed once and then differed: nothing may be inferred from the passes alone."""

    def counted(self, flops: int) -> None:
        """Take in another count."""
        self.steps += 1
        self.volatile |= self.agreed and flops != self.flops
        self.agreed, self.flops = flops == self.flops, flops
        self.recount = 2 * self.steps


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from _tensors(part)
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)


def _backward_pass() -> int:
    """The number of the backward pass that this thread is in, -1 outside."""
    number: int = torch._C._current_graph_task_id()
    return number
