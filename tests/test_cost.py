"""The meter: what it counts is checked against counts made on paper, and it must leave no trace."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from benchmark.cost import Meter, memory, retraining_flops
from benchmark.cost.flops import FlopCount

# One layer of GPT-NeoX: hidden 16, 2 heads of 8, feed-forward 64, vocabulary 10; a batch of 2 x 3 = 6 tokens. On paper:
#
#   query, key, value   6 x 16 by 16 x 48       2 * 6 * 16 * 48 =  9216
#   attention output    6 x 16 by 16 x 16       2 * 6 * 16 * 16 =  3072
#   up                  6 x 16 by 16 x 64       2 * 6 * 16 * 64 = 12288
#   down                6 x 64 by 64 x 16       2 * 6 * 64 * 16 = 12288
#   logits              6 x 16 by 16 x 10       2 * 6 * 16 * 10 =  1920
#   scores              2 * 2 heads, 3 x 8 by 8 x 3   4 * 2 * 3 * 8 * 3 = 576
#   values              2 * 2 heads, 3 x 3 by 3 x 8   4 * 2 * 3 * 3 * 8 = 576
BASE = 9216 + 3072 + 12288 + 12288 + 576 + 576
FORWARD = BASE + 1920
# Backward, every product gives two: the gradient of its input and that of its weight (or of its other input).
BACKWARD = 2 * FORWARD
TOKENS = 6


def neox(attention: str = "sdpa", layers: int = 1, hidden: int = 16, vocabulary: int = 10) -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=4 * hidden,
        max_position_embeddings=64,
    )
    return GPTNeoXForCausalLM._from_config(config, attn_implementation=attention)


def ids(rows: int = 2, length: int = 3, vocabulary: int = 10) -> Tensor:
    return torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> GPTNeoXForCausalLM:
    return neox()


def metered(model: torch.nn.Module, work: Callable[[], object]) -> tuple[int, int, int]:
    """Forward tokens, backward tokens and FLOPs of some work."""
    with Meter(model) as meter:
        with meter.running():
            work()
        cost = meter.cost()
    return cost.forward_tokens, cost.backward_tokens, cost.flops


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_forward_and_backward_are_as_counted_on_paper(attention: str) -> None:
    model = neox(attention)
    assert metered(model, lambda: model(input_ids=ids())) == (TOKENS, 0, FORWARD)
    assert metered(model, lambda: model(input_ids=ids(), labels=ids()).loss.backward()) == (TOKENS, TOKENS, FORWARD + BACKWARD)


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_without_gradients_only_the_forward_pass_counts(model: GPTNeoXForCausalLM, quiet: Callable[[], object]) -> None:
    def forward() -> None:
        with quiet():  # type: ignore[attr-defined]
            model(input_ids=ids())

    assert metered(model, forward) == (TOKENS, 0, FORWARD)


def test_grouped_query_attention_counts_alike_in_both_implementations() -> None:
    counts = set()
    for attention in ("eager", "sdpa"):
        config = LlamaConfig(
            vocab_size=10, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2
        )
        model = LlamaForCausalLM._from_config(config, attn_implementation=attention)
        counts.add(metered(model, lambda model=model: model(input_ids=ids(), labels=ids()).loss.backward()))
    # Projections 16 x 16 (query, output), 16 x 8 (key, value), three of 16 x 32; logits 16 x 10; attention as above but 4 heads of 4.
    forward = 2 * 6 * 16 * (16 + 16 + 8 + 8 + 3 * 32 + 10) + 2 * (2 * 4 * 2 * 3 * 4 * 3)
    assert counts == {(TOKENS, TOKENS, 3 * forward)}


def test_a_larger_model_costs_between_2nd_without_and_with_embeddings() -> None:
    model = neox(layers=4, hidden=128, vocabulary=2048)
    text = ids(4, 64, 2048)
    every = sum(parameter.numel() for parameter in model.parameters())
    without = every - 2 * 2048 * 128
    forward, _, flops = metered(model, lambda: model(input_ids=text))
    assert 2 * without * forward < flops < 2 * every * forward
    _, backward, both = metered(model, lambda: model(input_ids=text, labels=text).loss.backward())
    assert both == 3 * flops
    assert retraining_flops(without, backward) < both < retraining_flops(every, backward)


def test_padding_and_embedded_input_count_as_tokens(model: GPTNeoXForCausalLM) -> None:
    mask = torch.ones(2, 3, dtype=torch.long)
    mask[0, 1:] = 0
    assert metered(model, lambda: model(ids(), attention_mask=mask)) == (TOKENS, 0, FORWARD)
    embedded = model.get_input_embeddings()(ids()).detach()
    assert metered(model, lambda: model(inputs_embeds=embedded)) == (TOKENS, 0, FORWARD)


def test_the_base_model_alone_counts_and_both_together_count_once(model: GPTNeoXForCausalLM) -> None:
    assert metered(model, lambda: model.base_model(ids())) == (TOKENS, 0, BASE)
    assert metered(model, lambda: (model.base_model(ids()), model(ids())))[0] == 2 * TOKENS


def test_hidden_states_caught_by_a_hook_give_backward_tokens() -> None:
    model = neox(layers=2)
    caught: list[Tensor] = []

    def work() -> None:
        handle = model.gpt_neox.layers[0].register_forward_hook(lambda module, args, output: caught.append(output))
        model(ids())
        handle.remove()
        caught[0].sum().backward()

    assert metered(model, work)[:2] == (TOKENS, TOKENS)


def test_every_backward_pass_counts_once(model: GPTNeoXForCausalLM) -> None:
    def work() -> None:
        loss = model(ids(), labels=ids(), output_hidden_states=True).loss
        loss.backward(retain_graph=True)
        loss.backward()

    assert metered(model, work) == (TOKENS, 2 * TOKENS, FORWARD + 2 * BACKWARD)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers renames its switch
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_costs_flops_but_brings_no_tokens(reentrant: bool) -> None:
    model = neox()
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()
    forward, backward, flops = metered(model, lambda: model(ids(), labels=ids(), use_cache=False).loss.backward())
    assert (forward, backward) == (TOKENS, TOKENS)
    assert FORWARD + BACKWARD < flops <= 2 * FORWARD + BACKWARD

    def whole() -> None:
        embedded = model.get_input_embeddings()(ids())
        checkpoint(lambda x: model(inputs_embeds=x).logits, embedded, use_reentrant=reentrant).sum().backward()

    model.gradient_checkpointing_disable()
    forward, backward, flops = metered(model, whole)
    assert (forward, backward) == (TOKENS, TOKENS)
    assert FORWARD + BACKWARD < flops <= 2 * FORWARD + BACKWARD


def test_a_frozen_copy_that_a_method_keeps_counts_too(model: GPTNeoXForCausalLM) -> None:
    def work() -> None:
        reference = copy.deepcopy(model)
        with torch.no_grad():
            reference(ids())
        model(ids(), labels=ids()).loss.backward()

    assert metered(model, work) == (2 * TOKENS, TOKENS, 2 * FORWARD + BACKWARD)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # as above, from inside peft
def test_frozen_parameters_and_lora_make_the_backward_pass_cheaper(model: GPTNeoXForCausalLM) -> None:
    def train(model: torch.nn.Module) -> tuple[int, int, int]:
        return metered(model, lambda: model(input_ids=ids(), labels=ids()).loss.backward())

    full = train(model)
    # Frozen up to the query-key-value weight. Nothing is due to that weight or its input (2 * 9216), through attention (2 * 1152),
    # or to the inputs of the attention output (3072) and of the feed-forward (12288), which come from frozen parts alone.
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "query_key_value" not in name and "layernorm" not in name and "embed_in" not in name
    frozen = train(model)
    adapted = neox()
    lora = get_peft_model(adapted, LoraConfig(r=1, target_modules=["query_key_value"], task_type="CAUSAL_LM"))
    small = train(lora)
    assert small[:2] == frozen[:2] == full[:2] == (TOKENS, TOKENS)
    assert full[2] - frozen[2] == 2 * 9216 + 2 * 1152 + 3072 + 12288
    assert small[2] < full[2]


def test_products_outside_the_model_count() -> None:
    a, b, v = torch.ones(4, 5), torch.ones(5, 6), torch.ones(5)
    with FlopCount() as count:
        a @ b  # 2 * 4 * 5 * 6
        a @ v  # 2 * 4 * 5
        torch.einsum("ij,kj->ik", a, torch.ones(7, 5))  # 2 * 4 * 5 * 7
        torch.cdist(a, torch.ones(7, 5))  # 2 * 4 * 5 * 7
        a + a
        torch.nn.functional.conv1d(torch.ones(1, 2, 9), torch.ones(3, 2, 4))  # 2 * 2 * 4 * 3 * 6
    assert count.flops == 240 + 40 + 280 + 280 + 288


def steps(model: GPTNeoXForCausalLM, rows: list[int]) -> Iterator[None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for count in rows:
        model(input_ids=ids(count), labels=ids(count)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def test_steps_like_counted_ones_are_charged_without_counting(model: GPTNeoXForCausalLM) -> None:
    counted = []
    with Meter(model) as meter:
        work = steps(model, [2] * 20)
        for _ in range(20):
            before = meter._count.flops
            with meter.running():
                next(work)
            counted.append(meter._count.flops > before)
        assert meter.cost().flops == 20 * (FORWARD + BACKWARD)
    assert [step for step, was in enumerate(counted, start=1) if was] == [1, 2, 4, 8, 16]


def test_changing_shapes_are_counted_every_time_and_a_last_short_step_is_in_proportion(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter:
        for rows in ([1, 2] * 5, [2, 2, 2, 2, 1]):
            work = steps(model, rows)
            for _ in rows:
                with meter.running():
                    next(work)
        assert meter.cost().flops == (5 * 3 + 9) * (FORWARD + BACKWARD) // 2


def test_work_that_passes_do_not_tell_of_is_found_and_then_always_counted(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter:
        for step in range(1, 40):
            with meter.running():
                model(ids())
                for _ in range(step > 7):  # the eighth step is a recount
                    torch.ones(100, 100) @ torch.ones(100, 100)
        assert meter.cost().flops == 39 * FORWARD + 32 * 2 * 100**3


def test_evaluation_between_windows_costs_nothing(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter:
        with meter.running():
            model(ids())
        first = meter.cost()
        model(ids(), labels=ids()).loss.backward()
        time.sleep(0.02)
        assert meter.cost() == first
        with meter.running():
            pass
        assert meter.cost().flops == FORWARD
        assert meter.cost().seconds - first.seconds < 0.02


def test_seconds_and_cpu_seconds_are_those_of_the_windows(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter:
        with meter.running():
            time.sleep(0.05)
        slept = meter.cost()
        assert 0.05 <= slept.seconds < 0.5
        assert slept.cpu_seconds < 0.04
        with meter.running():
            end = time.process_time() + 0.05
            while time.process_time() < end:
                pass
        assert meter.cost().cpu_seconds - slept.cpu_seconds >= 0.05


def test_a_window_that_raises_is_still_charged(model: GPTNeoXForCausalLM) -> None:
    def work() -> None:
        model(ids())
        model(ids() + 10)  # no such tokens

    with Meter(model) as meter:
        with pytest.raises(IndexError), meter.running():
            work()
        assert meter.cost().flops == FORWARD
        with meter.running():
            model(ids())
        assert meter.cost().forward_tokens == 3 * TOKENS
        with pytest.raises(RuntimeError, match="already running"), meter.running(), meter.running():
            pass


def test_training_is_bit_identical_with_and_without_the_meter() -> None:
    weights, draws = [], []
    for measured in (False, True):
        model = neox(layers=2, hidden=32)
        work = steps(model, [2] * 6)
        if measured:
            with Meter(model) as meter:
                for _ in range(6):
                    with meter.running():
                        next(work)
        else:
            for _ in range(6):
                next(work)
        weights.append(model.state_dict())
        draws.append(torch.rand(3))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(*draws)


def test_nothing_is_left_on_the_model(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter, meter.running():
        model(ids())
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    model(ids())
    assert meter.cost().forward_tokens == TOKENS


def test_peak_memory_sees_what_a_window_takes_and_nothing_outside(model: GPTNeoXForCausalLM) -> None:
    with Meter(model) as meter:
        with meter.running():
            pass
        quiet = meter.cost().peak_memory
        assert quiet > 0
        torch.ones(200 * 2**18)
        with meter.running():
            pass
        assert meter.cost().peak_memory < quiet + 100 * 2**20
        with meter.running():
            torch.ones(200 * 2**18)
        assert meter.cost().peak_memory > quiet + 190 * 2**20


def test_peak_memory_is_sampled_where_the_kernel_keeps_no_peak(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path)  # a folder: cannot be written to
    peak = memory.peak_memory([torch.device("cpu")])
    peak.start()
    quiet = peak.stop()
    peak.start()
    held = torch.ones(200 * 2**18)
    time.sleep(5 * memory.SAMPLE_SECONDS)
    del held
    assert peak.stop() > quiet + 190 * 2**20
    peak.start()
    assert peak.stop() < quiet + 100 * 2**20


def test_retraining_is_six_operations_a_parameter_and_token() -> None:
    assert math.isclose(retraining_flops(70_000_000, 10**9), 4.2e17)
