"""What a method will hold: reckoned before its first step, near what it then holds, and refused with the numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import by_cell, planned, run
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedTokenizerFast

from benchmark import LanguageModel, Request, Unsupported, registry
from benchmark.check.subjects import documents
from benchmark.memory import plan as memory_plan
from benchmark.memory.at_hand import _left_in_groups, free_memory
from benchmark.memory.plan import MemoryPlan, size_of, training_needs

Models = Callable[..., LanguageModel]
Requests = Callable[..., Request]


class Live(TorchDispatchMode):
    """While entered, the most bytes of tensors alive at once, those of `start` included."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.now = self.peak = start
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in tree_iter((args, kwargs)) if isinstance(tensor, torch.Tensor)}
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given | self.known:
                    self.known.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self.gone, storage._cdata, storage.nbytes())
        return out

    def gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@pytest.fixture(scope="module")
def lm(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    """Of half a million weights, so that what they take can be told from what a token takes."""
    config = GPTNeoXConfig(
        vocab_size=2000, hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=64
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LanguageModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer, Path("nowhere"), 64)


def request_of(lm: LanguageModel) -> Request:
    texts = [lm.passages(documents(topic, 12)) for topic in ("forget", "retain", "general")]
    return Request(*texts, seed=0)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gradient-difference", {}),
        ("ascent-kl", {}),
        ("npo", {"lora_rank": 4}),
        ("rmu", {}),
        ("natural-ascent", {}),
        ("task-vector", {}),
        ("retain-finetuning", {"batch": 1}),
    ],
)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_plan_is_near_what_is_held(name: str, fields: dict[str, Any], checkpointed: bool, lm: LanguageModel) -> None:
    from benchmark.memory.checkpointing import checkpoint_blocks

    lm = lm.copy()
    lm = LanguageModel(lm.model, lm.tokenizer, lm.folder, lm.context, MemoryPlan(limit=10**12))
    lm.plan.look_at(lm.model, lm.context, checkpointed, ())
    if checkpointed:
        checkpoint_blocks(lm.model)
    fields = {"batch": 8, **fields}
    lm.plan.batch = fields["batch"]
    steps = registry.method(name).build(fields).unlearn(lm, request_of(lm))
    with Live(size_of(lm.model)) as live:
        next(iter(steps))
        next(iter(steps))
    planned = sum(lm.plan.parts.values())
    assert planned >= 0.7 * live.peak
    assert planned <= 1.5 * live.peak or name == "rmu"  # which runs a quarter of the layers alone: no harm in thinking it larger


def test_training_takes_sixteen_bytes_a_weight_the_weight_included() -> None:
    weights = [torch.zeros(10, 10), torch.zeros(50)]
    assert training_needs(weights) == {"gradients": 600, "optimiser_state": 1200, "master_copies": 0, "added_up": 400}
    coarse = [weight.bfloat16() for weight in weights]
    assert training_needs(coarse) == {"gradients": 900, "optimiser_state": 1200, "master_copies": 600, "added_up": 400}


def test_too_little_memory_cuts_the_batch_and_then_refuses(lm: LanguageModel) -> None:
    weights = list(lm.model.parameters())
    fixed = size_of(lm.model) + sum(training_needs(weights).values())
    plan = MemoryPlan()
    plan.look_at(lm.model, lm.context, False, ["pray"])
    assert plan.activations is not None
    one = plan.activations.of(1, 64, 2)
    for room, size in ((12 * one, None), (11 * one, 6), (2.5 * one, 2), (1.01 * one, 1)):
        plan.limit, plan.micro_batch = int(fixed + room), None
        assert plan.train(weights, 12, 2, 64) is None
        assert plan.micro_batch == size
    plan.limit = int(fixed + 0.5 * one)
    reason = plan.train(weights, 12, 2, 64)
    assert reason is not None
    for said in ("gradients 0.00 GB", "optimiser state", "activations", "one window at a time", "can be had: pray, or find"):
        assert said in reason


@pytest.mark.parametrize("name", ["natural-ascent", "salun"])
def test_a_method_with_passes_of_its_own_is_cut_to_fit_as_well(name: str, lm: LanguageModel) -> None:
    """As much of its activations as one part in four takes is left out of what it would have."""
    planned: dict[int | None, dict[str, int]] = {}
    limit = 10**12
    for _ in range(2):
        short = LanguageModel(lm.copy().model, lm.tokenizer, lm.folder, lm.context, MemoryPlan(limit=limit))
        short.plan.look_at(short.model, short.context, False, ())
        short.plan.batch = 8
        next(iter(registry.method(name).build({"batch": 8}).unlearn(short, request_of(short))))
        planned[short.plan.micro_batch] = short.plan.parts
        limit = sum(short.plan.parts.values()) - short.plan.parts["activations"] * 3 // 4
    assert planned.keys() == {None, 2}
    assert sum(planned[2].values()) <= limit + planned[None]["activations"] // 2


def test_a_second_training_takes_the_place_of_the_first(lm: LanguageModel) -> None:
    weights = list(lm.model.parameters())
    plan = MemoryPlan(limit=size_of(lm.model) * 8)
    plan.look_at(lm.model, lm.context, False, ())
    assert plan.train(weights, 1, 1, 8) is None
    before = dict(plan.parts)
    assert plan.train(weights, 1, 1, 8) is None
    assert plan.parts == before


def test_a_tenth_of_what_is_free_is_left_alone(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "free_memory", lambda devices: 10**10)
    plan = MemoryPlan()
    plan.look_at(lm.model, lm.context, False, ())
    assert plan.hold(second_model=9 * 10**9) is None
    assert "9.00 GB can be had" in (plan.hold(second_model=9 * 10**9 + 1) or "")


def test_a_plan_that_has_seen_no_model_refuses_nothing(lm: LanguageModel) -> None:
    plan = MemoryPlan(limit=1)
    assert plan.hold(second_model=10**15) is None
    assert plan.train(lm.model.parameters(), 12, 2, 64) is None
    assert plan.micro_batch is None


def test_a_refusal_declines_the_method_before_it_has_changed_anything(lm: LanguageModel) -> None:
    short = LanguageModel(lm.copy().model, lm.tokenizer, lm.folder, lm.context, MemoryPlan(limit=int(1.5 * size_of(lm.model))))
    short.plan.look_at(short.model, short.context, False, ())
    for name in ("gradient-ascent", "undial", "natural-ascent"):
        with pytest.raises(Unsupported, match=r"needs .* of memory beside what it holds already"):
            next(iter(registry.method(name).build().unlearn(short, request_of(short))))
    assert all(torch.equal(a, b) for a, b in zip(short.model.parameters(), lm.model.parameters(), strict=True))


def test_looking_leaves_the_model_and_the_generators_alone(tiny_lm: Models) -> None:
    for family in ("gpt_neox", "gpt2", "opt", "llama", "qwen2"):
        subject = tiny_lm(family)
        state = torch.get_rng_state()
        subject.plan.look_at(subject.model, subject.context, False, ())
        assert torch.equal(torch.get_rng_state(), state)
        assert all(parameter.grad is None for parameter in subject.model.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())
        found = subject.plan.activations
        assert found is not None
        assert found.linear > 0


def test_one_cell_is_declined_and_the_others_go_on(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    cells = planned(tiny_lab, tiny_corpus, tmp_path, ["gradient-difference", "salun", "selective-pruning"], plugins=[], memory=1)
    records = run(cells)
    declined = records["arxiv", "gradient-difference", 0]
    assert declined.status == "declined"
    assert declined.reason is not None
    for said in ("of memory", "--set gradient-difference.lora_rank=8", "--gradient-checkpointing", "--dtype bfloat16", "more"):
        assert said in declined.reason
    assert declined.planned_memory["weights"] > 0
    assert declined.planned_memory["optimiser_state"] > 0
    assert "lora_rank" not in (records["arxiv", "salun", 0].reason or "")  # adapters are no way out for it
    assert records["arxiv", "selective-pruning", 0].status == "ok"


def test_a_cell_says_how_it_was_fitted_into_memory(tiny_lab: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    whole = planned(tiny_lab, tiny_corpus, tmp_path / "whole", ["gradient-ascent"], plugins=[])
    record = run(whole)["arxiv", "gradient-ascent", 0]
    assert (record.micro_batch, record.gradient_checkpointing) == (None, False)
    held = record.planned_memory
    enough = sum(held.values()) - held["activations"] // 2
    cut = planned(tiny_lab, tiny_corpus, tmp_path / "cut", ["gradient-ascent"], plugins=[], memory=enough, gradient_checkpointing=True)
    run(cut)
    other = by_cell(tmp_path / "cut")["arxiv", "gradient-ascent", 0]
    assert other.gradient_checkpointing
    assert sum(other.planned_memory.values()) <= enough
    assert other.trajectory[-1].nll["forget"] == pytest.approx(record.trajectory[-1].nll["forget"], rel=1e-3)


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(version: int, tmp_path: Path) -> None:
    limit, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    top = tmp_path / "memory" if version == 1 else tmp_path
    inner = top / "jobs" / "one"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("5:cpu:/elsewhere\n4:memory:/jobs/one\n" if version == 1 else "0::/jobs/one\n")
    for folder, most, taken in ((inner, 1000, 300), (top, 5000, 100)):
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text(f"{taken}\n")
    (inner / "memory.stat").write_text("anon 200\ninactive_file 50\n")
    assert sorted(_left_in_groups(tmp_path, own)) == [750, 4900]
    if version == 2:
        (inner / limit).write_text("max\n")
        assert list(_left_in_groups(tmp_path, own)) == [4900]
    assert list(_left_in_groups(tmp_path, tmp_path / "none")) == []


def test_the_host_has_some_memory_left() -> None:
    assert 10**6 < free_memory([torch.device("cpu")]) < 10**15
