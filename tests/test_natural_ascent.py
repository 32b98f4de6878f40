"""Natural gradient ascent, and the curvature that it divides by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark import LanguageModel, Request, cross_entropy, fisher_information, kl_divergence, some_windows
from benchmark.curvature import Factors
from methods.natural_ascent import NaturalAscent

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]


def test_the_inverse_is_that_of_the_kronecker_product() -> None:
    inputs = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    outputs = torch.tensor([[4.0, 0.0, 1.0], [0.0, 2.0, 0.0], [1.0, 0.0, 5.0]], dtype=torch.float64)
    weights = torch.arange(6, dtype=torch.float64).view(3, 2)
    # a fifth of the mean eigenvalue: 5 / 2 / 5 and 11 / 3 / 5
    whole = torch.kron(outputs + 11 / 15 * torch.eye(3), inputs + 0.5 * torch.eye(2))
    expected = torch.linalg.solve(whole, weights.flatten()).view(3, 2)
    torch.testing.assert_close(Factors(inputs, outputs, transposed=False).inverse(0.2).times(weights), expected)
    turned = Factors(inputs, outputs, transposed=True).inverse(0.2).times(weights.T.contiguous())
    torch.testing.assert_close(turned, expected.T)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama", "opt"])
def test_inputs_are_averaged_over_real_tokens_of_each_text_alike(family: str, tiny_lm: Models, request_for: Requests) -> None:
    lm = tiny_lm(family)
    request = request_for(lm)
    assert request.general is not None
    texts = [request.retain, request.general.take(torch.tensor([0]))]
    information = fisher_information(lm, texts, seed=0)
    name = next(name for name in information if "mlp" in name or "fc1" in name)
    seen: list[Tensor] = []
    module = lm.model.get_submodule(name.removesuffix(".weight"))
    hook = module.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().double()))
    expected: Tensor = torch.zeros(())
    for text in texts:
        real = []
        for index in range(len(text)):
            one = text.take(torch.tensor([index]))
            lm.logits(one)
            real.append(seen[-1].reshape(-1, seen[-1].shape[-1])[one.mask.flatten()])
        activations = torch.cat(real)
        expected = expected + activations.T @ activations / len(activations) / 2
    hook.remove()
    torch.testing.assert_close(information[name].inputs.double(), expected, rtol=1e-4, atol=1e-6)
    head = lm.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert not any(lm.model.get_submodule(each.removesuffix(".weight")) is head for each in information)


def test_outputs_are_the_fisher_information_of_the_next_token(tiny_lm: Models, request_for: Requests) -> None:
    """Over many draws: sum over labels of p(label) g g^T, worked out label by label for the last layer and two tokens."""
    lm = tiny_lm("gpt_neox")
    two = request_for(lm).retain.take(torch.tensor([0]))
    two = type(two)(two.ids[:, :2], two.mask[:, :2], two.document, two.window)
    name = "gpt_neox.layers.1.mlp.dense_4h_to_h.weight"  # after it a token's output reaches no other token
    module = lm.model.get_submodule(name.removesuffix(".weight"))
    written: list[Tensor] = []
    hook = module.register_forward_hook(lambda module, given, output: written.append(output))
    logits = lm.logits(two)
    hook.remove()
    expected = torch.zeros(16, 16)
    probabilities = logits.softmax(dim=-1).detach()
    for place in range(2):
        for label in range(logits.shape[-1]):
            nll = -logits.log_softmax(dim=-1)[0, place, label]
            (gradient,) = torch.autograd.grad(nll, written[0], retain_graph=True)
            expected += probabilities[0, place, label] * torch.outer(gradient[0, place], gradient[0, place]) / 2
    drawn = torch.stack([fisher_information(lm, [two], seed)[name].outputs for seed in range(300)]).mean(dim=0)
    assert (drawn - expected).norm() < 0.2 * expected.norm()


def test_curvature_is_measured_in_passes_no_larger_than_a_step_that_had_to_be_cut(
    tiny_lm: Models, request_for: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_lm()
    request = request_for(lm)
    assert request.general is not None
    ran: list[int] = []
    logits = LanguageModel.logits
    monkeypatch.setattr(LanguageModel, "logits", lambda self, batch: ran.append(len(batch)) or logits(self, batch))
    for micro_batch, most in ((None, len(request.retain)), (2, 6)):  # two windows of three kinds of text
        lm.plan.micro_batch = micro_batch
        ran.clear()
        fisher_information(lm, [request.retain, request.general], seed=0)
        assert max(ran) == most


def test_the_direction_and_the_length_of_a_step(tiny_lm: Models, request_for: Requests) -> None:
    """Against the same step worked out in float64 from the formula of the docstring."""
    changed = []
    for method in (NaturalAscent(kl=1e-4, rise=1e9, damping=0.1, batch=64), NaturalAscent(kl=1e9, rise=1e-3, damping=0.1, batch=64)):
        lm, plain = tiny_lm(), tiny_lm()
        request = request_for(lm)
        assert request.general is not None
        generator = torch.Generator().manual_seed(request.seed)
        kept = [some_windows(text, method.tokens, generator) for text in (request.retain, request.general)]
        information = fisher_information(plain, kept, request.seed)
        next(iter(method.unlearn(lm, request)))
        weights = {name: weight for name, weight in plain.model.named_parameters() if name in information}
        forget = next(request.forget.shuffled(64, generator))
        gradients = torch.autograd.grad(-cross_entropy(plain, forget), list(weights.values()))  # KL to itself is flat
        decrease, directions = 0.0, {}
        for (name, _), gradient in zip(weights.items(), gradients, strict=True):
            factors = information[name]
            a, g = factors.inputs.double(), factors.outputs.double()
            a = a + 0.1 * a.trace() / len(a) * torch.eye(len(a))
            g = g + 0.1 * g.trace() / len(g) * torch.eye(len(g))
            directions[name] = torch.linalg.solve(g, torch.linalg.solve(a, gradient.double(), left=False))
            decrease += float((gradient.double() * directions[name]).sum())
        length = min((2 * method.kl / decrease) ** 0.5, method.rise / decrease)
        largest = max(float(length * direction.abs().max()) for direction in directions.values())
        for name, direction in directions.items():
            moved = lm.model.get_parameter(name).detach().double() - plain.model.get_parameter(name).detach().double()
            torch.testing.assert_close(moved, -length * direction, rtol=0, atol=2e-2 * largest)
        changed.append(largest)
        others = [name for name, _ in plain.model.named_parameters() if name not in weights]
        assert all(torch.equal(lm.model.get_parameter(name), plain.model.get_parameter(name)) for name in others)
    assert changed[0] != pytest.approx(changed[1], rel=1e-2)


def test_a_small_step_changes_kept_text_by_about_kl(tiny_lm: Models, request_for: Requests) -> None:
    lm, plain = tiny_lm(), tiny_lm()
    request = request_for(lm)
    assert request.general is not None
    next(iter(NaturalAscent(kl=1e-5, rise=1e9, damping=1e-3).unlearn(lm, request)))
    with torch.no_grad():
        moved = [float(kl_divergence(plain.logits(text), lm.logits(text), text)) for text in (request.retain, request.general)]
    assert 1e-6 < sum(moved) / 2 < 1e-4  # K-FAC neglects how layers and positions act together


@pytest.mark.parametrize("setting", [{"kl": 0.0}, {"rise": -1.0}, {"damping": 0.0}, {"steps": 0}])
def test_settings_that_make_no_sense_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be above 0"):
        NaturalAscent(**setting)  # type: ignore[arg-type]
