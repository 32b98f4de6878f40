"""Defects found in other suites, each with the tests that hold ours to be without it.

The names are of files of this folder and of tests in them; a test that is renamed or removed is missed here.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import documents
from on_trial import forgetting, subject_of

from benchmark import LanguageModel, registry
from benchmark.measure import evaluation_text
from benchmark.training import descend

Models = Callable[..., LanguageModel]

DEFECTS = {
    "NPO of raw logits, without softmax and label (MUSE)": (
        "test_preference_methods",
        "test_npo_by_hand",
        "test_npo_agrees_with_float64",
    ),
    "KL divergence of raw logits (MUSE)": ("test_label_and_kl_methods", "test_every_step_is_that_of_the_formula_in_float64"),
    "evaluation in 8 bits that nobody asked for (MUSE)": ("test_measure", "test_every_document_is_as_counted_token_by_token"),
    "a method that never updates its model (EasyDUB)": ("test_check", "test_a_broken_method_fails_just_the_checks_that_are_meant_for_it"),
    "a divergence with its arguments swapped (EasyDUB)": ("test_label_and_kl_methods", "test_ascent_is_bound_by_the_forward_divergence"),
    "extraction strength that never gets to 0 (OpenUnlearning)": (
        "test_forgetting_metrics",
        "test_extraction_strength_is_zero_where_the_last_token_is_not_guessed",
    ),
    "labels that index the vocabulary from its end (OpenUnlearning)": (
        "test_label_and_kl_methods",
        "test_the_labels_stand_where_the_text_stood",
        "test_the_true_token_is_taken_down_a_notch",
    ),
    "a mean that padding dilutes (OpenUnlearning, TOFU, MUSE, Yao et al.)": (
        "test_losses",
        "test_padding_and_order_do_not_matter",
        "test_padding_has_no_gradient",
    ),
    "values beside other examples' names (OpenUnlearning)": (
        "test_peer_defects",
        "test_values_stand_beside_their_own_documents",
    ),
    "results of another model taken for this one's (OpenUnlearning)": ("test_plan", "test_the_key_changes_with_every_field"),
    "published commands that cannot run (OpenUnlearning)": (
        "test_documentation",
        "test_every_command_named_can_be_run",
        "test_a_command_that_cannot_be_run_is_refused",
    ),
    "an AUC turned over below one half (Yao et al.)": ("test_membership", "test_is_signed_and_never_turned_over"),
    "a rate at one threshold under the name of another (Yao et al.)": (
        "test_membership",
        "test_is_of_five_percent_not_of_a_tenth_of_a_percent",
    ),
    "relearning that reaches the first layers alone (filyp)": ("test_peer_defects", "test_relearning_trains_every_weight"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_has_a_test(defect: str) -> None:
    file, *names = DEFECTS[defect]
    tree = ast.parse((Path(__file__).parent / f"{file}.py").read_text("utf-8"))
    assert set(names) <= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_values_stand_beside_their_own_documents(tiny_lm: Models) -> None:
    """Document by document the same, whatever the order they come in and whatever stands between them."""
    subject = subject_of(tiny_lm())
    given = documents("forget", 5)
    of_each: dict[str, set[float]] = {}
    for chosen in (given, given[::-1], given[1::2]):
        text = evaluation_text(subject.lm, chosen, 10**9)
        value = registry.metric("pruned").measure(dataclasses.replace(subject, test={**subject.test, "forget": text}))
        for document in chosen:
            of_each.setdefault(document.id, set()).add(round(value.value_by_index[document.id]["score"], 6))
    assert [len(values) for values in of_each.values()] == [1] * len(given)
    assert len(set.union(*of_each.values())) == len(given)


def test_relearning_trains_every_weight(tiny_lm: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {}

    def spied(lm: LanguageModel, *given: object, **named: object) -> object:
        before = {name: weight.detach().clone() for name, weight in lm.model.named_parameters()}
        yield from descend(lm, *given, **named)  # type: ignore[arg-type]
        trained.update({name: not torch.equal(weight, before[name]) for name, weight in lm.model.named_parameters()})

    monkeypatch.setattr("benchmark.metrics.relearning.descend", spied)
    registry.metric("relearn_retain").measure(forgetting(tiny_lm(), 100.0))
    assert trained
    assert all(trained.values()), [name for name, moved in trained.items() if not moved]
