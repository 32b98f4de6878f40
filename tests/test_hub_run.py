"""A run on a hub model, from the name on the command line to the leaderboard, with the hub's cache laid out on disk."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_cache import COMMIT, HubCache
from hub_text import PRIMARY, lay_out_primary

from benchmark import LanguageModel, cli, registry, store
from benchmark.catalogue import catalogue
from benchmark.text import manifest
from benchmark.text.build import FEW, MOST

METHODS = ("gradient-difference", "selective-pruning", "random-pruning")
SECRET = "hf_not_to_be_written_anywhere"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run the command line in this process, in a folder of its own; the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def pythia(hub: HubCache, tiny_lm: Callable[..., LanguageModel]) -> Path:
    """What is in the cache for pythia-410m, a tiny model in its place."""
    return hub.model("EleutherAI/pythia-410m", tiny_lm().folder, commit=str(catalogue()["pythia-410m"].revision), ref=None)


def test_a_hub_model_is_run_to_a_leaderboard(
    bench: Callable[..., int],
    pythia: Path,
    tiny_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    command = ("run", "--methods", ",".join(METHODS), "--model", "pythia-410m", "--quick", "--data", tiny_corpus, "--jobs", 1)
    assert bench(*command) == 0
    out = tmp_path / "results" / "pythia-410m-quick"
    records = store.read_all(out)
    assert {record.spec.method for record in records} == {"original", "retrained", *METHODS}
    assert {record.spec.task for record in records} == {"arxiv", "arxiv-domain"}
    retrained = {record.spec.task: record for record in records if record.spec.method == "retrained"}
    assert {task: (record.spec.setting, record.status) for task, record in retrained.items()} == {
        "arxiv": ("implanted", "ok"),
        "arxiv-domain": ("pretrained", "declined"),
    }
    assert {record.status for record in records if record.spec.method != "retrained"} == {"ok"}
    assert {record.model_origin for record in records} == {f"EleutherAI/pythia-410m@{pythia.name}"}
    assert {(record.spec.model, record.spec.dtype) for record in records} == {("pythia-410m", "float32")}
    assert {record.environment.attention for record in records} == {"sdpa"}
    with (out / "leaderboard.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"original", "retrained", *METHODS}
    written = [file for file in tmp_path.rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(written) > 10
    assert not [file for file in written if SECRET.encode() in file.read_bytes()]
    capsys.readouterr()
    assert bench(*command) == 0
    told = capsys.readouterr()
    assert "10 cells, 10 on record" in told.err
    assert SECRET not in told.out + told.err


@pytest.mark.long
def test_every_method_runs_on_the_hubs_own_text_with_no_network(
    bench: Callable[..., int], hub: HubCache, pythia: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command of the README, all its defaults taken: no text is named, and no method."""
    lay_out_primary(hub, members=60, others=20)
    assert pythia.is_dir()
    assert bench("run", "--methods", "all", "--model", "pythia-410m", "--quick", "--jobs", 1, "--quiet") == 0
    out = tmp_path / "results" / "pythia-410m-quick"
    records = store.read_all(out)
    assert {(record.spec.task, record.spec.method) for record in records} == {
        (task, method) for task in ("arxiv", "arxiv-domain") for method in (*registry.RESERVED, *registry.methods())
    }
    assert {(record.spec.task, record.spec.method): record.reason for record in records if record.status != "ok"} == {
        ("arxiv-domain", "retrained"): "no retrained model: the reference is none",
    }
    read = manifest.read(out, "hub")
    assert read is not None
    assert {entry.repository for domain in read.domains.values() for entry in domain.sources} == {PRIMARY}
    forgotten = [entry for entry in read.documents.values() if (entry.domain, entry.role) == ("arxiv", "forget")]
    assert len(forgotten) == FEW["forget"] < MOST["forget"]  # few, however many there are: quick
    assert (out / "leaderboard.html").is_file()


def test_half_precision_is_a_board_of_its_own(
    bench: Callable[..., int], pythia: Path, tiny_corpus: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert pythia.is_dir()
    command = ("run", "--methods", "gradient-ascent", "--data", tiny_corpus, "--jobs", 1, "--tasks", "books")
    half = (*command, "--model", "pythia-410m", "--quick", "--dtype", "bfloat16")
    assert bench(*half) == 0
    out = tmp_path / "results" / "pythia-410m-bfloat16-quick"
    records = [record for record in store.read_all(out) if record.spec.method != "retrained"]
    assert {(record.spec.dtype, record.status) for record in records} == {("bfloat16", "ok")}
    capsys.readouterr()
    assert bench(*half[:-2], "--out", out) == 2
    assert "records of different precisions cannot stand in one leaderboard: " in capsys.readouterr().err


def test_what_is_cached_is_listed(
    bench: Callable[..., int], pythia: Path, hub: HubCache, tiny_lm: Callable[..., LanguageModel], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.model("openai-community/gpt2", tiny_lm("gpt2").folder)
    assert bench("list", "models") == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["pythia-410m"][1:] == ["405", "M", "2,048", "apache-2.0", pythia.name[:7], "yes", "EleutherAI/pythia-410m"]
    assert lines["gpt2"][1:] == ["124", "M", "1,024", "mit", "607a30d", "main", "openai-community/gpt2"]
    assert lines["opt-125m"][-2:] == ["no", "facebook/opt-125m"]
    assert lines.keys() == {"lab", "parameters", *catalogue()}


def test_another_commit_than_the_one_a_name_stands_for_is_told_of(
    bench: Callable[..., int], hub: HubCache, tiny_lm: Callable[..., LanguageModel], tiny_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.model("EleutherAI/pythia-410m", tiny_lm().folder)
    on = ("--model", "pythia-410m", "--quick", "--data", tiny_corpus, "--jobs", 1, "--tasks", "books")
    assert bench("run", "--methods", "magnitude-pruning", *on) == 0
    assert f"bench: pythia-410m stands for commit 9879c9b, which cannot be had now; this is {COMMIT[:7]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "pythia-410n"), "unknown model 'pythia-410n'; did you mean 'pythia-410m'?"),
        (("--model", "org/model"), "org/model: no such folder, not in the local cache, and it cannot be fetched from the hub (Offline"),
        (("--model", "pythia-410m", "--dtype", "float64"), "Invalid value for '--dtype'"),
        (("--model", "pythia-410m", "--device-map", "sequential"), "Invalid value for '--device-map'"),
        (("--model", "pythia-410m", "--context", "4096"), "No such option: --context"),
    ],
)
def test_bad_input_is_one_line(
    bench: Callable[..., int], pythia: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert pythia.is_dir()
    assert bench("run", *options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"bench: error: {said}")
