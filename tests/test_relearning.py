"""Relearning: the count of steps by hand, and models that know, never knew, and only hide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cells import QUICK
from on_trial import forgetting, harder, subject_of

from benchmark import LanguageModel, registry
from benchmark.loading import ON_CPU
from benchmark.measure import measure
from benchmark.memory.plan import Activations, MemoryPlan
from benchmark.metrics.relearning import STEPS, _interval, relearn, steps_until
from benchmark.model import load_model
from benchmark.yardstick import yardstick_for

Models = Callable[..., LanguageModel]


class TestStepsUntil:
    @pytest.mark.parametrize(
        ("level", "steps"),
        [(5.0, 0.0), (6.0, 0.0), (4.5, 0.5), (3.0, 2.0), (2.5, 3.0), (2.0, 4.0), (1.75, 5.0), (0.5, 24.0)],
    )
    def test_by_hand(self, level: float, steps: float) -> None:
        assert STEPS == (0, 1, 2, 4, 8, 16, 24)
        assert steps_until([5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0], level) == pytest.approx(steps)

    def test_the_first_time_counts(self) -> None:
        assert steps_until([5.0, 1.0, 6.0, 0.0, 0.0, 0.0, 0.0], 3.0) == pytest.approx(0.5)

    def test_a_loss_that_rises_first_is_followed_from_its_last_measurement(self) -> None:
        assert steps_until([4.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0], 2.0) == pytest.approx(1.75)

    def test_many_at_once(self) -> None:
        rng = np.random.default_rng(0)
        curves, levels = rng.normal(size=(len(STEPS), 50)), rng.normal(-1, 1, size=50)
        each = [float(steps_until(curves[:, index], levels[index])) for index in range(50)]
        assert steps_until(curves, levels).tolist() == each


def test_the_interval_is_over_documents(tiny_lm: Models) -> None:
    known = measure(tiny_lm(), subject_of(tiny_lm()).test)
    # every document is 2 nats above target and 1 above the middle at first, and falls by 1 a step: all alike, whichever are drawn
    curve = [harder(known, by)["forget"] for by in (2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)]
    assert _interval(curve, known["forget"], harder(known, 2.0)["forget"]) == pytest.approx((1.0, 1.0))
    # as before, but after a step some documents have fallen by more than others: those drawn matter
    by = [0.3 * index for index in range(len(curve[1].ids))]
    uneven = known["forget"].model_copy(
        update={
            "nll": tuple(nll + more * tokens for nll, more, tokens in zip(known["forget"].nll, by, known["forget"].tokens, strict=True))
        }
    )
    low, high = _interval([curve[0], uneven, *curve[2:]], known["forget"], harder(known, 2.0)["forget"])
    assert 0.5 < low < high < 1.5


class TestRelearning:
    def test_a_model_that_knows_needs_no_step_and_is_not_trained(self, tiny_lm: Models) -> None:
        found = relearn(subject_of(tiny_lm()), subject_of(tiny_lm()).retain)
        assert found.agg_value == 0
        assert found.value_by_index.keys() == {"step 0", "half"}
        assert found.value_by_index["half"]["recovered"] == 1

    def test_is_told_step_by_step(self, tiny_lm: Models) -> None:
        subject = forgetting(tiny_lm(), 0.1)
        found = registry.metric("relearn_forget").measure(subject)
        nll = [found.value_by_index[f"step {step}"]["nll"] for step in STEPS]
        assert nll[0] == subject.measured["forget"].mean_nll
        assert nll[-1] < nll[0]
        half = nll[0] - 0.05
        assert found.value_by_index["half"] == {"nll": pytest.approx(half), "recovered": float(min(nll) <= half)}
        assert found.agg_value == pytest.approx(float(steps_until(nll, half)))

    def test_what_is_not_back_after_the_last_step_is_said_not_to_be(self, tiny_lm: Models) -> None:
        found = registry.metric("relearn_retain").measure(forgetting(tiny_lm(), 100.0))
        assert found.agg_value == STEPS[-1]
        assert found.value_by_index["half"]["recovered"] == 0
        assert found.interval == (STEPS[-1], STEPS[-1])

    def test_other_text_is_trained_on_than_is_measured(self, tiny_lm: Models) -> None:
        subject = forgetting(tiny_lm(), 0.1)
        of_forget, of_retain, of_general = (registry.metric(f"relearn_{name}").measure(subject) for name in ("forget", "retain", "general"))
        assert of_forget == relearn(subject, subject.validation["forget"].passages)
        assert of_retain == relearn(subject, subject.retain)
        assert of_general == relearn(subject, subject.general)
        assert of_forget != of_retain != of_general
        assert registry.metric("relearn_general").measure(dataclasses.replace(subject, general=None)).reason == "there is no general text"

    def test_without_a_gap_there_is_nothing_to_come_back(self, tiny_lm: Models) -> None:
        found = relearn(subject_of(tiny_lm(), gap=0.0), subject_of(tiny_lm()).retain)
        assert found.agg_value is None
        assert found.reason is not None
        assert found.reason.startswith("target and reference cannot be told apart")

    @pytest.mark.parametrize("room", [1.5, 3.0])
    def test_what_does_not_fit_into_memory_is_said_and_the_cells_plan_is_left_alone(self, tiny_lm: Models, room: float) -> None:
        lm = tiny_lm()
        size = sum(parameter.nbytes for parameter in lm.model.parameters())
        plan = MemoryPlan(round(room * size), Activations(0.0, 0.0, 0), (lm.device,))
        found = registry.metric("relearn_retain").measure(forgetting(dataclasses.replace(lm, plan=plan), 0.1))
        assert found.agg_value is None
        assert found.reason is not None
        assert "can be had" in found.reason
        assert plan.parts == {}

    def test_weights_that_a_method_froze_are_trained_too(self, tiny_lm: Models) -> None:
        lm = tiny_lm()
        lm.model.requires_grad_(False)
        assert registry.metric("relearn_retain").measure(forgetting(lm, 0.1)) == registry.metric("relearn_retain").measure(
            forgetting(tiny_lm(), 0.1)
        )


def test_what_is_only_hidden_comes_back_sooner_than_what_was_never_there(tiny_lab: Path, tiny_corpus: Path) -> None:
    yardstick = yardstick_for("arxiv", str(tiny_lab), 0, tiny_corpus, QUICK, ON_CPU, ())
    target, hidden = load_model(yardstick.target), load_model(yardstick.target)
    assert yardstick.reference is not None
    norm = hidden.model.get_submodule("gpt_neox.final_layer_norm")
    with torch.no_grad():
        norm.weight[:8] *= -0.5
    lms = {"target": target, "reference": load_model(yardstick.reference), "hidden": hidden}
    steps = {name: registry.metric("relearn_retain").measure(yardstick.subject(lm)) for name, lm in lms.items()}
    assert steps["target"].agg_value == 0
    assert 0 < steps["hidden"].agg_value < steps["reference"].agg_value == STEPS[-1]
