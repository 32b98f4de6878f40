"""Methods that leave something besides weights, or need something besides the state dict."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark import LanguageModel, Passages, Request, UnlearningMethod, cross_entropy, descend, insert, layers_of, register


@dataclass(frozen=True)
class Ascent(UnlearningMethod):
    """Ascend on the forget set. Our own."""

    def before(self, lm: LanguageModel) -> None:
        """What is done wrong."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        def loss(forget: Passages) -> Tensor:
            return -cross_entropy(lm, forget)

        self.before(lm)
        yield from descend(lm, loss, [request.forget], lr=1e-3, steps=4, batch=4, seed=request.seed)


@register("steers-by-hook")
@dataclass(frozen=True)
class SteersByHook(UnlearningMethod):
    """Push the output away from forget text with a vector that a hook holds. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        head = lm.model.get_output_embeddings()
        steering = head.weight.detach()[request.forget.ids[request.forget.mask]].mean(dim=0)
        strength = 0.0

        def steer(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            return (inputs[0] - strength * steering,)

        handle = head.register_forward_pre_hook(steer)
        try:
            for _ in range(4):
                strength += 0.1
                yield
        finally:
            handle.remove()


class Gate(nn.Module):
    """Scales everything that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: Tensor
        self.register_buffer("open", torch.ones(()))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * self.open


@register("inserts-in-secret")
@dataclass(frozen=True)
class InsertsInSecret(UnlearningMethod):
    """Close a gate behind the first layer as far as the forget set's loss asks, and do not say that there is one. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        with torch.no_grad():
            loss = cross_entropy(lm, request.forget)
        gate = Gate()
        insert(layers_of(lm.model)[0], gate)
        for _ in range(4):
            gate.open -= 0.01 * loss
            yield


class Louder(nn.LayerNorm):
    """A norm that says twice what its weights say, once the first of them is 0."""

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden) * (2 if self.weight[0] == 0 else 1)


@register("changes-class")
@dataclass(frozen=True)
class ChangesClass(Ascent):
    """Ascend, with a norm that becomes one of another class. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        norm = [module for module in lm.model.modules() if isinstance(module, nn.LayerNorm)][-1]
        norm.__class__ = Louder
        for _ in super().unlearn(lm, request):
            norm.weight.data[0] = 0
            yield


@register("forgets-hook")
@dataclass(frozen=True)
class ForgetsHook(Ascent):
    """Ascend, and leave a hook that does nothing. Our own."""

    def before(self, lm: LanguageModel) -> None:
        lm.model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: None)


@register("replaces-forward")
@dataclass(frozen=True)
class ReplacesForward(Ascent):
    """Ascend, with another forward pass put over the model's own. Our own."""

    def before(self, lm: LanguageModel) -> None:
        head = lm.model.get_output_embeddings()
        head.forward = type(head).forward.__get__(head)


@register("trains-on")
@dataclass(frozen=True)
class TrainsOn(Ascent):
    """Ascend, and leave the last layer in training mode. Our own."""

    def before(self, lm: LanguageModel) -> None:
        list(lm.model.modules())[-1].train()


@register("leaves-gradients")
@dataclass(frozen=True)
class LeavesGradients(UnlearningMethod):
    """Ascend without clearing the last gradients. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        optimizer = torch.optim.SGD([p for p in lm.model.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(4):
            optimizer.zero_grad()
            (-cross_entropy(lm, request.forget)).backward()
            optimizer.step()
            yield


@register("thaws")
@dataclass(frozen=True)
class Thaws(Ascent):
    """Ascend on every weight, frozen or not. Our own."""

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        frozen = [parameter for parameter in lm.model.parameters() if not parameter.requires_grad]
        lm.model.requires_grad_(True)
        try:
            yield from super().unlearn(lm, request)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)


@register("unties")
@dataclass(frozen=True)
class Unties(Ascent):
    """Ascend with an output embedding of its own. Our own."""

    def before(self, lm: LanguageModel) -> None:
        head = lm.model.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)


@register("low-rank-in-name")
@dataclass(frozen=True)
class LowRankInName(Ascent):
    """Ascend on the weights whatever the rank. Our own."""

    lora_rank: int = 0
    """Rank of adapters that are never made."""
