"""`--lora auto`: rows whose weights cannot be trained in the memory at hand, found before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cells import QUICK, planned, run
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedTokenizerFast

from benchmark import cli, fitting, store
from benchmark.cell import Cell
from benchmark.fitting import with_lora
from benchmark.leaderboard.rows import rows
from benchmark.memory.plan import training_needs

Planned = Callable[..., list[Cell]]

WIDE = 10**12
"""Bytes that everything fits into."""


@pytest.fixture(scope="module")
def wide(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 800,000 weights and little else, so that training them takes far more than anything beside."""
    folder = tmp_path_factory.mktemp("wide") / "wide"
    config = GPTNeoXConfig(
        vocab_size=300, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=32
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scarce(wide: Path) -> int:
    """Bytes that hold the model and half of what training its weights takes."""
    weights = list(AutoModelForCausalLM.from_pretrained(wide).parameters())
    return sum(weight.nbytes for weight in weights) + sum(training_needs(weights).values()) // 2


@pytest.fixture
def cells_of(wide: Path, tiny_corpus: Path, tmp_path: Path) -> Planned:
    """Cells on that model."""

    def cells(methods: Sequence[str], memory: int | None, tasks: Sequence[str] = ("arxiv",), out: str = "out") -> list[Cell]:
        return planned(wide, tiny_corpus, tmp_path / out, methods, tasks, plugins=[], setting="pretrained", memory=memory)

    return cells


def ranks(cells: Sequence[Cell]) -> dict[str, object]:
    return {cell.spec.method: cell.spec.hyperparameters.get("lora_rank") for cell in cells}


def test_rows_that_cannot_train_their_weights_take_lora_and_no_others(cells_of: Planned, scarce: int) -> None:
    methods = ["gradient-difference", "npo", "salun", "natural-ascent", "rmu", "selective-pruning"]
    cells = cells_of(methods, scarce, tasks=("arxiv", "books-domain"))
    adapted, said = with_lora(cells)
    expected = {"original": None, "retrained": None, "natural-ascent": None, "selective-pruning": None}
    # SalUn chooses among the weights themselves; RMU lacks room for its frozen copy, which it does without where it has adapters
    assert ranks(adapted) == expected | {"gradient-difference": 8, "npo": 8, "salun": 0, "rmu": 8}
    assert len(said) == 3
    assert said[0].startswith("gradient-difference: full training needs 0.01 GB of memory beside what it holds already (gradients ")
    assert said[0].endswith(". This row is run with LoRA, as by --set gradient-difference.lora_rank=8")
    assert said[1].startswith("npo: full training needs ")
    assert with_lora(cells_of(methods, WIDE)) == (cells_of(methods, WIDE), [])


def test_the_row_is_run_and_labelled_so(cells_of: Planned, scarce: int) -> None:
    adapted, _ = with_lora(cells_of(["gradient-difference", "selective-pruning"], scarce))
    records = run(adapted)
    record = records["arxiv", "gradient-difference", 0]
    assert (record.status, record.spec.hyperparameters["lora_rank"]) == ("ok", 8)
    assert record.planned_memory["weights"] + sum(record.planned_memory.values()) <= scarce + record.planned_memory["weights"]
    labels = {row.label for row in rows(records.values())}
    assert labels == {"original", "retrained", "selective-pruning", "gradient-difference (lora_rank=8)"}


@pytest.mark.parametrize("method", ["gradient-ascent", "ascent-kl", "task-vector"])
def test_the_answer_is_the_one_that_the_cell_comes_to(method: str, cells_of: Planned) -> None:
    """To the byte, with one window at a time."""
    (cell,) = (cell for cell in cells_of([method], WIDE) if cell.spec.method == method)
    one = replace(cell, spec=cell.spec.model_copy(update={"hyperparameters": {**cell.spec.hyperparameters, "batch": 1}}))
    needed = sum(run([one])["arxiv", method, 0].planned_memory.values())
    for memory, status in ((needed, "ok"), (needed - 1, "declined")):
        trial = replace(cell, memory=memory, out=cell.out.with_name(status))
        assert run([trial])["arxiv", method, 0].status == status
        assert (ranks(with_lora([replace(trial, out=cell.out.with_name("none"))])[0])[method] == 0) is (status == "ok")


def test_a_run_goes_on_as_it_began(cells_of: Planned, scarce: int, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["gradient-difference", "npo", "gradient-ascent"]
    adapted, _ = with_lora(cells_of(methods, scarce))
    run([cell for cell in adapted if cell.spec.method == "gradient-difference"])
    run([cell for cell in cells_of(methods, WIDE) if cell.spec.method == "npo"])
    declined = [cell for cell in cells_of(methods, scarce) if cell.spec.method == "gradient-ascent"]
    assert run(declined)["arxiv", "gradient-ascent", 0].status == "declined"
    wide_now, said = with_lora(cells_of(methods, WIDE))
    assert ranks(wide_now) == {"original": None, "retrained": None, "gradient-difference": 8, "npo": 0, "gradient-ascent": 0}
    assert said == ["gradient-difference: with LoRA (lora_rank=8), as on record"]
    scarce_now, _ = with_lora(cells_of(methods, scarce))
    assert ranks(scarce_now) == {"original": None, "retrained": None, "gradient-difference": 8, "npo": 0, "gradient-ascent": 8}
    run([cell for cell in scarce_now if cell.spec.method == "gradient-ascent"])
    monkeypatch.setattr(fitting, "load_model", lambda *given: pytest.fail("loaded to settle what is on record"))
    assert ranks(with_lora(cells_of(methods, scarce))[0]) == ranks(scarce_now)


def test_a_rank_of_the_users_own_stays(cells_of: Planned, scarce: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "load_model", lambda *given: pytest.fail("loaded for nothing"))
    cells = cells_of(["npo"], scarce)
    assert with_lora(cells, kept={"npo"}) == (cells, [])


def test_what_processes_share_is_not_each_ones(cells_of: Planned, scarce: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.executors import sharing

    monkeypatch.setattr(sharing, "free_for", lambda loading: 3 * scarce)
    cells = cells_of(["gradient-difference"], None)
    assert ranks(with_lora(cells, processes=3)[0])["gradient-difference"] == 8
    assert with_lora(cells, processes=1) == (cells, [])


def test_trying_leaves_the_model_as_it_was(cells_of: Planned, scarce: int) -> None:
    cells = cells_of(["gradient-difference", "task-vector"], scarce)
    stage = fitting._Stage(tuple(cells))
    before = {name: tensor.clone() for name, tensor in stage.lm.model.state_dict().items()}
    for cell in cells[2:]:
        assert stage.why_not(cell.spec, rank=0) is not None
        assert stage.why_not(cell.spec, rank=8) is None
    after = stage.lm.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.requires_grad for parameter in stage.lm.model.parameters())


def test_on_the_command_line(
    wide: Path, tiny_corpus: Path, scarce: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def bench(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["bench", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    on = ("--model", wide, "--data", tiny_corpus, "--tasks", "arxiv-domain", "--limit", QUICK.limit, "--quick", "--jobs", 1)
    command = (*on, "--methods", "gradient-difference,npo", "--set", "npo.lora_rank=0", "--lora", "auto", "--memory", scarce / 1e9)
    assert bench(*command) == 0
    assert "bench: note: gradient-difference: full training needs" in capsys.readouterr().err
    records = {record.spec.method: record for record in store.read_all(tmp_path / "results" / "wide-quick-limit-2")}
    assert {name: record.status for name, record in records.items() if name != "retrained"} == {
        "original": "ok",
        "gradient-difference": "ok",
        "npo": "declined",
    }
    assert json.loads(records["gradient-difference"].model_dump_json())["spec"]["hyperparameters"]["lora_rank"] == 8
    assert bench(*on, "--lora", "auto", "--executor", "slurm") == 2
    assert "--lora auto goes by the memory of this machine, and --executor slurm runs cells on others" in capsys.readouterr().err
