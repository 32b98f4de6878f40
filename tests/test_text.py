"""Text from the hub, through the hub client's own code and a cache on disk: sources, roles, manifest, and what is said aloud."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_cache import HubCache
from hub_text import PILE_10K, PINNED, PRIMARY, YAO, inference_rows, lay_out_primary, lay_out_yao, words
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from benchmark import LanguageModel, registry
from benchmark.corpus import Corpus, load_corpus
from benchmark.errors import InputError
from benchmark.plan import Options, plan
from benchmark.source import ModelSource
from benchmark.splits import split
from benchmark.text import build, manifest
from benchmark.text.folder import data_folder, named_text
from benchmark.text.manifest import Manifest, sha256
from benchmark.text.origin import origin
from benchmark.text.sources import Role, text, texts

PYTHIA = "EleutherAI/pythia-70m"

Table = Sequence[Mapping[str, object]]


def source(repository: str | None = PYTHIA) -> ModelSource:
    return ModelSource("pythia-70m", Path("model"), repository=repository)


def lay_out(
    out: Path, name: str | None = None, repository: str | None = PYTHIA, most: Mapping[Role, int] = build.MOST
) -> tuple[Corpus, Manifest]:
    folder = data_folder(None if name is None else Path(name), source(repository), out, most)
    assert folder is not None
    found = manifest.read(out, folder.name)
    assert found is not None
    return load_corpus(folder), found


def complaint(out: Path) -> str:
    with pytest.raises(InputError) as caught:
        lay_out(out)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def roles(corpus: Corpus, domain: str) -> Counter[str | None]:
    return Counter(document.role for document in corpus.documents(domain))


@pytest.mark.parametrize("name", texts())
def test_every_named_text_is_well_formed(name: str) -> None:
    found = text(name)
    assert {source.domain for source in found.sources if source.choice == "primary"} == set(found.domains)
    for domain in found.domains:
        for choice in ("primary", "fallback"):
            given = [role for source in found.of(domain, choice) for pool in source.pools for role in pool.roles]
            assert set(given) == {"forget", "retain", "retain_eval", "holdout"}, f"{domain}, {choice}: every role needs a pool"
    for entry in found.sources:
        assert entry.revision == "main" or len(entry.revision) == 40
        assert all((pool.config is None) != (pool.files is None) for pool in entry.pools)


def test_a_hub_model_takes_hub_text_unless_told_otherwise(tmp_path: Path) -> None:
    assert named_text(None, source()) == "hub"
    assert named_text(None, source(None)) is None
    assert named_text(Path("hub"), source(None)) == "hub"
    assert named_text(Path("pile"), source()) == "pile"
    assert named_text(tmp_path, source()) is None
    assert data_folder(tmp_path, source(), tmp_path) == tmp_path


def test_the_primary_source(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub)
    corpus, found = lay_out(tmp_path)
    assert list(corpus.domains) == ["arxiv", "books", "general", "github"]
    assert roles(corpus, "arxiv") == {"forget": 5, "retain_eval": 5, "retain": 20, "holdout": 8}
    assert sum(roles(corpus, "general").values()) == 2 * 38
    for domain, documents in corpus.domains.items():
        for document in documents:
            entry = found.documents[document.id]
            assert (entry.domain, entry.role, entry.sha256) == (domain, document.role, sha256(document.text))
            read = found.source(document.id)
            assert (read.repository, read.revision, read.pinned) == (PRIMARY, PINNED, True)
            assert read.membership == ("known non-member" if document.role == "holdout" else "known member")
            assert document.id.startswith(f"{PRIMARY}/{read.config}/{read.split}/")
    assert len(found.documents) == sum(map(len, corpus.domains.values()))
    assert found.fallbacks() == {}
    assert found.rules["documents"] == build.MOST
    row = int(corpus.documents("arxiv")[0].id.rpartition("/")[2])
    assert corpus.documents("arxiv")[0].text == inference_rows("arxiv", "train", 30)[row]["text"]


def test_text_is_drawn_once_and_the_same_everywhere(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub)
    first = lay_out(tmp_path / "a")
    assert lay_out(tmp_path / "b") == (Corpus(tmp_path / "b" / "hub-text" / "hub", first[0].domains), first[1])
    (hub.home / "hub").rename(hub.home / "gone")
    assert lay_out(tmp_path / "a") == first  # what a results folder has needs neither hub nor cache
    (tmp_path / "a" / "hub-text" / "hub" / "arxiv.jsonl.gz").unlink()
    assert "no text for arxiv" in complaint(tmp_path / "a")


def test_many_rows_are_cut_to_a_cap(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub)
    most: dict[Role, int] = {"forget": 3, "retain_eval": 2, "retain": 4, "holdout": 5}
    corpus, found = lay_out(tmp_path, most=most)
    assert roles(corpus, "books") == most
    assert found.rules["documents"] == most
    assert found.domains["books"].dropped.beyond_cap == 30 - 9 + 8 - 5
    (hub.home / "hub").rename(hub.home / "gone")
    assert lay_out(tmp_path, most=most) == (corpus, found)
    assert complaint(tmp_path).startswith("no text for arxiv")  # so few will not do for all


def test_text_in_full_does_for_a_trial(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub)
    full = lay_out(tmp_path)
    assert lay_out(tmp_path, most=build.FEW) == full


def test_what_is_twice_or_nearly_is_left_out_and_counted(hub: HubCache, tmp_path: Path) -> None:
    train, val = inference_rows("arxiv", "train", 30), inference_rows("arxiv", "val", 8)
    val += [{**val[0], "text": train[3]["text"]}, {**val[0], "text": train[4]["text"] + " with an end"}, {**val[0], "text": " "}]
    lay_out_primary(hub, changed={"arxiv": {"train": [*train, train[7]], "val": val}})
    corpus, found = lay_out(tmp_path)
    dropped = found.domains["arxiv"].dropped
    assert (dropped.empty, dropped.duplicate) == (1, 2)
    assert dropped.overlapping == {"forget": 0, "retain": 0, "retain_eval": 0, "holdout": 1}
    assert roles(corpus, "arxiv")["holdout"] == 8
    assert not any(document.id.endswith(("val/8", "val/9", "val/10")) for document in corpus.documents("arxiv"))


def test_without_the_primary_the_fallback_is_used_and_said(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub, without=["arxiv", "github"])
    lay_out_yao(hub)
    corpus, found = lay_out(tmp_path)
    assert set(found.fallbacks()) == {"arxiv", "github"}
    said = found.fallbacks()["arxiv"]
    assert said.startswith(f"the text for arxiv is the fallback {YAO}, because {PRIMARY} has no split 'train' of configuration 'arxiv'")
    assert roles(corpus, "arxiv") == {"forget": 6, "retain_eval": 4, "retain": 16, "holdout": 8}
    assert {found.membership(document.id) for document in corpus.documents("github")} == {"presumed"}
    task = registry.task("arxiv")
    told = origin(split(task, corpus), source(), tmp_path / "hub-text" / "hub")
    assert told.remarks[0] == said
    assert told.membership == {"forget": "presumed", "retain": "presumed", "holdout": "presumed", "general": "known member or presumed"}


def test_the_fallbacks_of_books_and_general_text(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub, without=["gutenberg", "wikipedia"])
    draft = tmp_path / "pg19" / "data"  # the first of 23 files, as it was asked for: no other is needed
    draft.mkdir(parents=True)
    parquet(draft / "train-00000-of-00023-abc.parquet", [{"short_book_title": "t", "text": words(f"book {n}")} for n in range(30)])
    hub.dataset_files("emozilla/pg19", draft.parent, commit="4" * 40)
    later = [{"text": words(f"later {n}")} for n in range(8)]
    hub.dataset("imperial-cpg/project-gutenberg-extended", {"default": {"train": later}}, commit="5" * 40)
    names = ["ArXiv", "Github", "Gutenberg (PG-19)", "Pile-CC"]
    sample = [{"text": words(f"pile {n}"), "meta": {"pile_set_name": names[n % 4]}} for n in range(200)]
    lay_out_without_a_card(hub, tmp_path / "pile-10k", sample)
    corpus, found = lay_out(tmp_path / "out")
    assert set(found.fallbacks()) == {"books", "general"}
    assert roles(corpus, "books") == {"forget": 5, "retain_eval": 5, "retain": 20, "holdout": 8}
    by_text = {str(row["text"]): int(n) % 4 for n, row in enumerate(sample)}
    assert {by_text[document.text] for document in corpus.documents("general")} == {3}
    assert set(roles(corpus, "general")) == {"forget", "retain_eval", "retain", "holdout"}
    told = origin(split(registry.task("books"), corpus), source(), tmp_path / "out" / "hub-text" / "hub")
    assert [remark for remark in told.remarks if remark.startswith("temporal shift")]
    assert told.membership["holdout"] == "known non-member"


def lay_out_without_a_card(hub: HubCache, folder: Path, rows: Table) -> None:
    """A data set whose card declares no configurations: its files are where `push_to_hub` puts them."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: bigscience-bloom-rail-1.0\n---\n", "utf-8")
    parquet(folder / "data" / "train-00000-of-00001-4746b8785c874cc7.parquet", rows)
    hub.dataset_files(PILE_10K, folder, commit="2" * 40)


def parquet(file: Path, rows: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)


def test_a_split_in_several_places(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub, without=["arxiv"])
    folder = tmp_path / "yao"
    card = ["---", "configs:", "- config_name: arxiv", "  data_files:"]
    for name, count in (("forget", 6), ("approximate", 8), ("retain", 20)):
        card += [f"  - split: {name}", "    path:", f"    - {name}/a.parquet", f"    - {name}/b.parquet"]
        (folder / name).mkdir(parents=True)
        for part in "ab":
            parquet(folder / name / f"{part}.parquet", [{"text": words(f"{name} {part} {n}")} for n in range(count // 2)])
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), "utf-8")
    hub.dataset_files(YAO, folder, commit="1" * 40)
    corpus, _ = lay_out(tmp_path / "out")
    assert roles(corpus, "arxiv") == {"forget": 6, "retain_eval": 4, "retain": 16, "holdout": 8}


def test_without_either_one_line_at_once(hub: HubCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out_primary(hub, without=["github"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setattr("benchmark.text.fetch.TIMEOUT", 0.2)
        started = time.monotonic()
        message = complaint(tmp_path)
        assert time.monotonic() - started < 5
    assert message.startswith(f"no text for github: {PRIMARY} has no split")
    assert f"{YAO} is not in the local cache and cannot be fetched (" in message
    assert message.endswith("give a folder of your own with --data FOLDER")
    assert not (tmp_path / "manifest-hub.json").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GatedRepoError, f"{PRIMARY}: gated; accept its terms at https://huggingface.co/datasets/{PRIMARY} and set HF_TOKEN"),
        (RepositoryNotFoundError, f"{PRIMARY}: no such repository on the hub; if it is private, set HF_TOKEN"),
        (RevisionNotFoundError, f"{PRIMARY}: no revision {PINNED!r} of it; a revision is a branch, a tag or a commit"),
    ],
)
def test_what_the_hub_refuses(
    hub: HubCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[HfHubHTTPError], said: str
) -> None:
    asked: list[str] = []

    def refuse(self: object, repository: str, **_: object) -> None:
        asked.append(repository)
        raise kind("401 Client Error\nmore lines", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    assert complaint(tmp_path).startswith(f"no text for arxiv: {said}; ")
    assert asked == [PRIMARY, YAO], "a refusal says nothing about other data sets"


def test_a_silent_hub_is_asked_once(hub: HubCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out_yao(hub)
    asked: list[str] = []

    def silent(self: object, repository: str, **_: object) -> None:
        asked.append(repository)
        raise TimeoutError("no answer")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", silent)
    message = complaint(tmp_path)
    assert asked == [PRIMARY]
    assert message.startswith(f"no text for books: {PRIMARY} is not in the local cache; emozilla/pg19 is not in the local cache;")


def test_a_part_of_a_split_is_not_taken_for_the_whole(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub)
    file = hub.home / "hub" / f"datasets--{PRIMARY.replace('/', '--')}" / "snapshots" / PINNED / "arxiv" / "train-00000-of-00001.parquet"
    file.rename(file.with_name("train-00000-of-00002.parquet"))
    assert complaint(tmp_path).startswith(f"no text for arxiv: {PRIMARY} is not in the local cache and cannot be fetched (Offline")


def test_parquet_without_text_is_said(hub: HubCache, tmp_path: Path) -> None:
    lay_out_primary(hub, changed={"arxiv": {"train": [{"tokens": 1}], "val": [{"tokens": 1}]}})
    message = complaint(tmp_path)
    assert f"{PRIMARY}, arxiv/train-00000-of-00001.parquet has no text: none of the columns text, content, TEXT, but tokens" in message


def test_forget_and_retain_that_overlap(hub: HubCache, tmp_path: Path) -> None:
    base = words("base", 100)
    rows = [{"text": f"{base} {number}"} for number in range(30)]
    lay_out_primary(hub, changed={"arxiv": {"train": rows, "val": inference_rows("arxiv", "val", 8)}})
    message = complaint(tmp_path)
    assert f"{PRIMARY}: 5 of 5 documents of the retain_eval set overlap with those of other sets, and 2 must be left" in message


@pytest.mark.parametrize("rows", [[], [{"text": "alone"}] * 5])
def test_a_forget_set_with_nothing_in_it(hub: HubCache, tmp_path: Path, rows: list[dict[str, str]]) -> None:
    empty = [{"text": " "}, *rows]
    lay_out_primary(hub, changed={"arxiv": {"train": empty, "val": inference_rows("arxiv", "val", 8)}})
    assert f"{PRIMARY} gives 0 documents for the forget set, which needs 2" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("repository", "member", "non_member"),
    [
        ("EleutherAI/pythia-410m", "known member", "known non-member"),
        ("EleutherAI/pythia-410m-deduped", "presumed", "known non-member"),
        ("openai-community/gpt2", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_membership_is_of_the_model(repository: str | None, member: str, non_member: str) -> None:
    found = text("hub")
    assert (found.membership("known member", repository), found.membership("known non-member", repository)) == (member, non_member)


def test_the_pile_with_and_without_its_github_part(hub: HubCache, tmp_path: Path) -> None:
    parts = ["Github", "ArXiv", "Pile-CC"]
    rows = {
        split: [{"text": words(f"pile {split} {n}"), "meta": {"pile_set_name": parts[n % 3]}} for n in range(90)]
        for split in ("train", "val")
    }
    hub.dataset(PILE_10K, {"default": {"train": rows["train"]}}, commit="2" * 40)
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "val.jsonl.zst").write_bytes(compressed(rows["val"]))
    hub.dataset_files("monology/pile-uncopyrighted", draft, commit="3" * 40)
    corpus, found = lay_out(tmp_path / "out", "pile")
    assert list(corpus.domains) == ["code", "prose"]
    by_text = {row["text"]: row["meta"]["pile_set_name"] for split in rows.values() for row in split}  # type: ignore[index]
    assert {by_text[document.text] for document in corpus.documents("code")} == {"Github"}
    assert {by_text[document.text] for document in corpus.documents("prose")} == {"ArXiv", "Pile-CC"}
    assert found.fallbacks() == {}
    assert list(registry.tasks("pile")) == ["code-domain", "prose-domain"]
    code = split(registry.task("code-domain"), corpus)
    assert {by_text[document.text] for document in code.forget} == {"Github"}
    assert "Github" not in {by_text[document.text] for document in code.retain}
    told = origin(code, source(), tmp_path / "out" / "hub-text" / "pile")
    assert told.membership == {"forget": "known non-member", "retain": "known member", "holdout": "known non-member"}
    assert "NeelNanda/pile-10k at 222222222222, not pinned" in told.source


def compressed(rows: Table) -> bytes:
    import pyarrow

    return bytes(pyarrow.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), "zstd", asbytes=True))


def test_a_task_with_a_text_of_its_own_says_how_to_ask_for_it(hub: HubCache, tmp_path: Path, tiny_lm: Callable[..., LanguageModel]) -> None:
    hub.model(PYTHIA, tiny_lm().folder)
    for model in ("pythia-70m", str(tiny_lm().folder)):
        with pytest.raises(InputError, match=r"^task 'code-domain' is over a text of its own; ask for it with --data pile$"):
            plan(Options(model=model, tasks=["code-domain"], out=tmp_path))


def test_the_lab_has_text_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--data hub: a lab's models were trained on a text of their own; use it without --model lab$"):
        plan(Options(data=Path("hub"), tasks=["arxiv"], out=tmp_path))


def test_a_run_on_a_hub_model(
    hub: HubCache,
    tmp_path: Path,
    tiny_lm: Callable[..., LanguageModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmark import cli

    hub.model(PYTHIA, tiny_lm().folder)
    lay_out_primary(hub, without=["arxiv"])
    lay_out_yao(hub)
    monkeypatch.chdir(tmp_path)
    options = ["--model", "pythia-70m", "--methods", "random-pruning", "--tasks", "arxiv,books-domain", "--quick"]
    monkeypatch.setattr(sys, "argv", ["bench", "run", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().err
    assert f"bench: the text for arxiv is the fallback {YAO}, because {PRIMARY} has no split 'train'" in said
    out = tmp_path / "results" / "pythia-70m-quick"
    board = (out / "leaderboard.md").read_text("utf-8")
    assert f"{PRIMARY} at {PINNED[:12]}" in board
    assert "In the model's training data: forget: known non-member; retain: known member or presumed" in board
    assert "The text for arxiv is the fallback" in board
    assert manifest.read(out, "hub") is not None
