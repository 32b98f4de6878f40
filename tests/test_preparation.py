"""Amortised work: done once for a model, a text and the hyper-parameters, whoever asks, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from conftest import documents
from records import spec
from torch import Tensor

from benchmark import LanguageModel, Passages, UnlearningMethod, Unsupported, preparation
from benchmark.preparation import prepare
from benchmark.record import Cost

Models = Callable[..., LanguageModel]


@dataclass(frozen=True)
class Embedding(UnlearningMethod):
    """Prepares a table, and counts how often it is asked to."""

    calls: list[int] = field(default_factory=list)

    def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
        self.calls.append(1)
        lm.logits(general)
        table = lm.model.get_input_embeddings().weight
        return {"table": table, "turned": table.t(), "row": table[3], "count": torch.tensor(general.tokens)}

    def unlearn(self, lm, request):
        yield


class Unprepared(UnlearningMethod):
    def unlearn(self, lm, request):
        yield


@pytest.fixture
def lm(tiny_lm: Models) -> LanguageModel:
    return tiny_lm()


@pytest.fixture
def general(lm: LanguageModel) -> Passages:
    return lm.passages(documents("general", 4))


def test_it_is_done_once_and_costs_the_same_to_everyone(lm: LanguageModel, general: Passages, tmp_path: Path) -> None:
    method = Embedding()
    first, cost = prepare(method, spec("embedding", "arxiv"), lm, general, tmp_path)
    again, cost_again = prepare(method, spec("embedding", "books", seed=3), lm, general, tmp_path)  # another task and seed
    assert len(method.calls) == 1
    assert cost == cost_again
    assert cost.forward_tokens == general.ids.numel()
    weight = lm.model.get_input_embeddings().weight.detach()
    for prepared in (first, again):
        assert torch.equal(prepared["table"], weight)
        assert torch.equal(prepared["turned"], weight.t())
        assert torch.equal(prepared["row"], weight[3])
        assert prepared["count"] == general.tokens
        assert not any(tensor.requires_grad for tensor in prepared.values())


@pytest.mark.parametrize("what", ["source", "hyperparameters", "model_fingerprint", "text"])
def test_it_is_done_again_where_it_would_come_out_otherwise(lm: LanguageModel, general: Passages, tmp_path: Path, what: str) -> None:
    method = Embedding()
    prepare(method, spec("embedding"), lm, general, tmp_path)
    changes = {"source": {"source": "x"}, "hyperparameters": {"hyperparameters": {"k": 2}}, "model_fingerprint": {"model_fingerprint": "x"}}
    text = lm.passages(documents("general", 5)) if what == "text" else general
    prepare(method, spec("embedding", **changes.get(what, {})), lm, text, tmp_path)
    assert len(method.calls) == 2


def test_a_method_that_prepares_nothing_costs_nothing(lm: LanguageModel, tmp_path: Path) -> None:
    assert prepare(Unprepared(), spec(), lm, None, tmp_path) == ({}, Cost())
    assert not list(tmp_path.iterdir())


def test_without_general_text_it_declines(lm: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="general text"):
        prepare(Embedding(), spec("embedding"), lm, None, tmp_path)


def test_an_interrupted_preparation_is_done_again(
    lm: LanguageModel, general: Passages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(tensors: object, file: Path) -> None:
        file.write_bytes(b"half of")
        raise KeyboardInterrupt

    method = Embedding()
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(method, spec("embedding"), lm, general, tmp_path)
    prepared, _ = prepare(method, spec("embedding"), lm, general, tmp_path)
    assert len(method.calls) == 2
    assert torch.equal(prepared["table"], lm.model.get_input_embeddings().weight)


def test_it_may_not_touch_the_model(lm: LanguageModel, general: Passages, tmp_path: Path) -> None:
    class Touching(Unprepared):
        def prepare(self, lm: LanguageModel, general: Passages) -> Mapping[str, Tensor]:
            with torch.no_grad():
                lm.model.lm_head.weight[0, 0] += 1
            return {}

    with pytest.raises(ValueError, match="`prepare` changed the model"):
        prepare(Touching(), spec("touching"), lm, general, tmp_path)
