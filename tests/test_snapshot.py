"""Snapshots: a saved step comes back bit for bit from the tensors that it changed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark import LanguageModel
from benchmark.snapshot import changed_elements, digests, restore, save, tensors

Models = Callable[..., LanguageModel]


def state(lm: LanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def edit(lm: LanguageModel, name: str, elements: int = 1) -> None:
    with torch.no_grad():
        lm.model.get_parameter(name).view(-1)[:elements] += 1.0


QUERY = "gpt_neox.layers.0.attention.query_key_value.weight"
DOWN = "gpt_neox.layers.1.mlp.dense_4h_to_h.bias"


def test_only_changed_tensors_are_written(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base = digests(lm.model)
    edit(lm, QUERY, 3)
    save(lm.model, base, tmp_path / "step")
    assert set(load_file(tmp_path / "step")) == {QUERY}


def test_every_step_comes_back_whatever_later_steps_changed(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base, digest = state(lm), digests(lm.model)
    steps = []
    for number, (name, elements) in enumerate([(QUERY, 3), (DOWN, 2), (QUERY, 5), ("lm_head.weight", 7)]):
        edit(lm, name, elements)
        save(lm.model, digest, tmp_path / str(number))
        steps.append(state(lm))
    changed = []
    for number in (3, 0, 2, 1):
        changed.append(restore(lm.model, base, tmp_path / str(number)))
        assert_equal(state(lm), steps[number])
    assert changed == [3 + 2 + 2 + 7, 3, 3 + 2 + 2, 3 + 2]  # 5 edited the first 3 again


def test_a_tensor_that_went_back_to_what_it_was_is_not_written(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base, digest = state(lm), digests(lm.model)
    edit(lm, QUERY)
    with torch.no_grad():
        lm.model.get_parameter(QUERY).copy_(base[QUERY])
    save(lm.model, digest, tmp_path / "step")
    assert load_file(tmp_path / "step") == {}
    edit(lm, DOWN)
    assert restore(lm.model, base, tmp_path / "step") == 0
    assert_equal(state(lm), base)


def test_attached_modules_come_back_and_count_whole(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base, digest = state(lm), digests(lm.model)
    lm.model.adapter = nn.Linear(3, 2)
    lm.model.adapter.register_buffer("alive", torch.ones(4, dtype=torch.bool))
    save(lm.model, digest, tmp_path / "1")
    first = state(lm)
    with torch.no_grad():
        lm.model.adapter.weight += 1
        lm.model.adapter.alive[0] = False
    save(lm.model, digest, tmp_path / "2")
    second = state(lm)
    assert restore(lm.model, base, tmp_path / "1") == 3 * 2 + 2 + 4
    assert_equal(state(lm), first)
    restore(lm.model, base, tmp_path / "2")
    assert_equal(state(lm), second)


def test_a_module_attached_after_the_step_is_refused(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base, digest = state(lm), digests(lm.model)
    edit(lm, QUERY)
    save(lm.model, digest, tmp_path / "step")
    lm.model.late = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"'late.weight' was added after the step was saved; attach modules before the first yield"):
        restore(lm.model, base, tmp_path / "step")


def test_tied_weights_are_one_tensor(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm("gpt2")
    base, digest = state(lm), digests(lm.model)
    assert lm.model.lm_head.weight is lm.model.transformer.wte.weight
    assert "lm_head.weight" in base
    assert "lm_head.weight" not in tensors(lm.model)
    edit(lm, "transformer.wte.weight", 5)
    save(lm.model, digest, tmp_path / "step")
    step = state(lm)
    assert set(load_file(tmp_path / "step")) == {"transformer.wte.weight"}
    edit(lm, "transformer.wte.weight", 9)
    assert restore(lm.model, base, tmp_path / "step") == 5
    assert_equal(state(lm), step)
    assert lm.model.lm_head.weight is lm.model.transformer.wte.weight


def test_weights_that_a_method_unties_come_back_apart(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm("gpt2")
    base, digest = state(lm), digests(lm.model)
    lm.model.lm_head.weight = nn.Parameter(lm.model.lm_head.weight.detach().clone())
    edit(lm, "lm_head.weight", 2)
    save(lm.model, digest, tmp_path / "step")
    step = state(lm)
    edit(lm, "transformer.wte.weight", 4)
    edit(lm, "lm_head.weight", 4)
    assert restore(lm.model, base, tmp_path / "step") == 2
    assert_equal(state(lm), step)


def test_tensors_of_any_kind_are_kept(tiny_lm: Models, tmp_path: Path) -> None:
    lm = tiny_lm()
    base, digest = state(lm), digests(lm.model)
    kinds = [torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
    for kind in kinds:
        lm.model.register_buffer(f"of_{kind}".replace(".", "_"), torch.ones(2, 3).to(kind).t())  # not contiguous
    lm.model.register_buffer("scalar", torch.tensor(2.5))
    lm.model.register_buffer("empty", torch.zeros(0))
    lm.model.register_buffer("also_empty", torch.zeros(0))
    save(lm.model, digest, tmp_path / "step")
    step = state(lm)
    lm.model.scalar.zero_()
    assert restore(lm.model, base, tmp_path / "step") == 6 * len(kinds) + 1
    assert_equal(state(lm), step)


def test_elements_are_counted_one_by_one() -> None:
    base = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.zeros(2, 2)}
    assert changed_elements(base, base) == 0
    assert changed_elements({"a": torch.tensor([1.0, 0.0, float("nan")])}, base) == 2
    assert changed_elements({"b": torch.zeros(3, 2), "new": torch.zeros(5)}, base) == 6 + 5


def test_saving_copies_nothing_in_memory(tmp_path: Path) -> None:
    model = nn.Linear(2000, 2000, bias=False)  # 16 MB
    base = digests(model)
    with torch.no_grad():
        model.weight += 1
    pointers = {tensor.data_ptr() for tensor in tensors(model).values()}
    tracemalloc.start()
    try:
        with torch.profiler.profile(profile_memory=True) as profile:
            save(model, base, tmp_path / "step")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6
    assert sum(max(0, event.self_cpu_memory_usage) for event in profile.events()) < 4e6
    assert {tensor.data_ptr() for tensor in tensors(model).values()} == pointers
