"""The command line: what it prints, and that everything a user can get wrong is one line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from panels import attack, with_panels
from records import original, record, spec, suite

from benchmark import LanguageModel, cli, headline, registry, store
from benchmark.check.suite import CHECKS

METHOD = '''
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark import LanguageModel, Request, UnlearningMethod, register


@register("{name}")
@dataclass(frozen=True)
class Fade(UnlearningMethod):
    """Make every weight a little smaller."""

    by: float = 0.99
    """What weights are multiplied by at each step."""

    search: ClassVar = {{"by": (0.98, 0.99)}}

    def unlearn(self, lm: LanguageModel, request: Request) -> Iterator[None]:
        """Yield twice."""
        for _ in range(2):
            with torch.no_grad():
                for parameter in lm.model.parameters():
                    parameter.mul_(self.by)
            yield
'''


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Run the command line in this process, in an empty folder; plugins are forgotten afterwards."""
    registry.methods()
    for name in ("_methods", "_tasks", "_broken", "_plugins"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Said(int(ended.value.code or 0), told.out, told.err)

    return run


@pytest.fixture
def complaint(bench: Callable[..., Said]) -> Callable[..., str]:
    """What is said about bad input: one line on stderr, nothing on stdout, exit code 2."""

    def run(*arguments: object) -> str:
        said = bench(*arguments)
        assert (said.code, said.out) == (2, "")
        assert re.fullmatch(r"bench: error: .*\n", said.err), said.err
        return said.err.removeprefix("bench: error: ").removesuffix("\n")

    return run


@pytest.fixture
def on_tiny(tiny_lm: Callable[..., LanguageModel], tiny_corpus: Path) -> tuple[object, ...]:
    """Options that name the tiny model and data, and one task."""
    return ("--model", tiny_lm().folder, "--data", tiny_corpus, "--tasks", "books")


@pytest.fixture
def on_lab(tiny_lab: Path, tiny_corpus: Path) -> tuple[object, ...]:
    """The same with a lab, in which there is something to forget."""
    return ("--model", tiny_lab, "--data", tiny_corpus, "--tasks", "books")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "fade.py"
    file.write_text(METHOD.format(name="fade"))
    return file


def data(folder: Path, lines: int, bad: str = "") -> Path:
    """A data folder with one domain."""
    folder.mkdir()
    rows = [json.dumps({"id": str(i), "text": f"some words {i}"}) for i in range(lines)]
    (folder / "books.jsonl").write_text("\n".join([*rows, bad]))
    return folder


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed `bench` in a process of its own."""
    command = [Path(sys.executable).with_name("bench"), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False)


def test_help_comes_without_anything_heavy() -> None:
    script = (
        "import sys\n"
        "from benchmark import cli\n"
        "sys.argv = ['bench', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print('code', ended.code or 0)\n"
        "print('heavy', sorted({'torch', 'transformers', 'numpy', 'pandas', 'scipy', 'pydantic'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert "Usage: " in ran.stdout
    assert ran.stdout.endswith("code 0\nheavy []\n")
    assert ran.stderr == ""


@pytest.mark.parametrize(("arguments", "named"), [((), "leaderboard"), (("--help",), "leaderboard"), (("lab",), "train")])
def test_help(bench: Callable[..., Said], arguments: tuple[str, ...], named: str) -> None:
    said = bench(*arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Usage: ")
    assert f"  {named} " in said.out


def test_the_installed_command_fails_in_one_line(tmp_path: Path) -> None:
    ran = process("leaderboard", tmp_path / "none", NO_COLOR="1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"bench: error: {tmp_path / 'none'}: no such results folder; `bench run` makes one\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rnu",), "No such command 'rnu'. Did you mean 'run'?"),
        (("run", "--metods", "all"), "No such option: --metods"),
        (("run", "--limit", "few"), "Invalid value for '--limit': "),
        (("run", "--limit", "1"), "--limit 1: at least 2 documents are needed for an interval"),
        (("run", "--jobs", "0"), "Invalid value for '--jobs': "),
        (("run", "--seeds", "0"), "Invalid value for '--seeds': "),
        (("sweep", "--trials", "0"), "Invalid value for '--trials': "),
        (("sweep", "--jobs", "0"), "Invalid value for '--jobs': "),
        (("sweep", "--limit", "1"), "--limit 1: at least 2 documents are needed for an interval"),
        (("sweep", "--grid", "gradient-ascent.lr=fast"), "--grid gradient-ascent.lr=fast: expected a number"),
        (("sweep", "--grid", "gradient-ascent.lr=1", "--trials", "2"), "--trials goes with the methods' own search spaces"),
        (("sweep", "--set", "gradient-ascent.lr=1"), "--set gradient-ascent.lr=1: the sweep itself tries values of gradient-ascent.lr"),
        (("show",), "Missing argument "),
        (("show", "selectve-pruning"), "unknown method or metric 'selectve-pruning'; did you mean 'selective-pruning'?"),
        (("list", "method"), "Invalid value for "),
        (("list", "methods", "--plugin", "none.py"), "none.py: no such plugin file"),
        (("lab", "trian"), "No such command 'trian'. Did you mean 'train'?"),
        (("lab", "train", "--data", "none"), "none: no such folder; data is a folder of <domain>.jsonl[.gz] files"),
        (("leaderboard", "none"), "none: no such results folder; `bench run` makes one"),
        (("check",), "Missing argument "),
        (("check", "selectve-pruning"), "unknown method, module or .py file 'selectve-pruning'; did you mean 'selective-pruning'?"),
        (("check", "none.py"), "none.py: no such plugin file"),
        (("new-method",), "Missing argument "),
        (
            ("new-method", "My Method"),
            "method name 'My Method': expected lower-case words with hyphens between them, as in gradient-ascent",
        ),
        (("new-method", "npo"), "method name 'npo' is taken by "),
    ],
)
def test_bad_arguments(complaint: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    assert complaint(*arguments).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "gradient-asent"), "unknown method 'gradient-asent'; did you mean 'gradient-ascent'?"),
        (("--methods", ","), "--methods: no name given; name some, or all"),
        (("--tasks", "boks"), "unknown task 'boks'; did you mean 'books'?"),
        (("--model", "pythia-410"), "unknown model 'pythia-410'; did you mean 'pythia-410m'?"),
        (("--model", "./none"), "./none: no such model folder"),
        (("--model", "."), ".: no config.json; expected a Hugging Face model folder"),
        (("--device", "gpu"), "device 'gpu' cannot be used: "),
        (("--set", "gradient-ascent.lr=fast"), "--set gradient-ascent.lr=fast: expected a number"),
        (("--set", "gradient-ascent.rl=1"), "unknown field of gradient-ascent 'rl'; did you mean 'lr'?"),
        (("--set", "lr"), "--set lr: expected method.field=value, as in gradient-ascent.lr=1e-5"),
        (("--data", "none"), "none: no such folder; data is a folder of <domain>.jsonl[.gz] files"),
        (("--plugin", "none.py"), "none.py: no such plugin file"),
        (("--setting", "taught"), "Invalid value for '--setting': "),
        (
            ("--model", "lab", "--setting", "pretrained"),
            "--setting pretrained: lab is a lab, whose references are exact already; leave --set",
        ),
        (("--teach", "lr"), "--teach lr: expected field=value, as in lr=1e-4"),
        (("--teach", "epoch=3"), "unknown field in --teach 'epoch'; did you mean 'epochs'?"),
        (("--teach", "epochs=few"), "--teach epochs=few: expected a whole number"),
        (("--teach", "epochs=0"), "--teach: epochs must be above 0, not 0"),
        (("--teach", "epochs=1", "--setting", "pretrained"), "--teach epochs=1: nothing is taught in the pretrained setting; leave it out"),
    ],
)
def test_bad_options_of_a_run(complaint: Callable[..., str], on_tiny: tuple[object, ...], arguments: tuple[str, ...], said: str) -> None:
    assert complaint("run", *on_tiny, *arguments).startswith(said)
    assert not list(Path().iterdir())


def test_data_that_cannot_be_used(complaint: Callable[..., str], on_tiny: tuple[object, ...], tmp_path: Path) -> None:
    bad = data(tmp_path / "bad", 3, '{"id": 3, "text":')
    assert complaint("run", *on_tiny, "--data", bad).startswith(f"{bad / 'books.jsonl'}, line 4: not JSON")
    small = data(tmp_path / "small", 8)
    assert complaint("run", *on_tiny, "--data", small).startswith(f"{small}: domain 'books': 8 documents are too few to split")


def test_a_results_folder_that_cannot_be_written(complaint: Callable[..., str], on_tiny: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert complaint("run", *on_tiny, "--quiet", "--out", out).startswith(f"cannot write to {out}: ")


def test_a_results_folder_that_another_run_holds(complaint: Callable[..., str], on_tiny: tuple[object, ...], tmp_path: Path) -> None:
    with store.lock(tmp_path / "out"):
        message = complaint("run", *on_tiny, "--quiet", "--out", tmp_path / "out")
    assert message == f"another run (pid {os.getpid()}) is writing to {tmp_path / 'out'}; wait for it, or name another folder"


def test_a_results_folder_with_records_of_another_model(complaint: Callable[..., str], on_tiny: tuple[object, ...], tmp_path: Path) -> None:
    store.write(tmp_path, record(spec("original", "books")))
    for more in ((), ("--fresh",), ("--quick",)):
        message = complaint("run", *on_tiny, "--out", tmp_path, *more)
        assert message.startswith("records of different models cannot stand in one leaderboard: ")
        assert message.endswith(f"{tmp_path} holds one kind already, name another folder with --out")
    assert [file.name for file in tmp_path.iterdir() if file.name != "here"] == ["records"]


def test_a_leaderboard_of_nothing(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert complaint("leaderboard", tmp_path) == "there are no records to show; run `bench run` first"


def test_a_leaderboard_from_records(bench: Callable[..., Said], tmp_path: Path) -> None:
    for made in suite():
        store.write(tmp_path, made)
    said = bench("leaderboard", tmp_path)
    assert said.code == cli.FAILED, "one cell of the suite failed"
    assert re.search(r"^ *1 +gradient-difference ", said.out, re.MULTILINE)
    assert said.err == "books fragile: failed: out of memory in step 3\n"
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.html"} <= {file.name for file in tmp_path.iterdir()}


def test_list(bench: Callable[..., Said]) -> None:
    tasks = bench("list", "tasks").out.splitlines()
    assert tasks[0] == "arxiv          forget some LaTeX of research papers, keep the others"
    assert [line.split()[0] for line in tasks] == [*registry.tasks(), *registry.tasks("pile")]
    methods = bench("list", "methods").out
    assert [line.split()[0] for line in methods.splitlines()] == list(registry.methods())
    assert re.search(r"^gradient-ascent +Ascend on the loss of the forget set\. Yao et al\. 2024", methods, re.MULTILINE)
    metrics = bench("list", "metrics").out.splitlines()
    assert [line.split()[0] for line in metrics] == [*headline.QUANTITIES, *registry.metrics()]
    assert [line.split()[:2] for line in metrics[:3]] == [
        [name, "headline"] for name in ("forget_score", "utility_damage", "reference_distance")
    ]
    models = bench("list", "models").out
    assert models.splitlines()[0].split()[0] == "lab"
    assert re.search(r"^pythia-410m +405 M .* EleutherAI/pythia-410m$", models, re.MULTILINE)


def test_a_plugin_is_listed_and_shown(bench: Callable[..., Said], plugin: Path) -> None:
    assert "fade " in bench("list", "methods", "--plugin", plugin).out
    said = bench("show", "fade", "--plugin", plugin)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"fade  ({plugin}:11)",
        "",
        "Make every weight a little smaller.",
        "",
        "Hyper-parameters, changed with --set METHOD.FIELD=VALUE:",
        "  by: float = 0.99  What weights are multiplied by at each step.",
    ]


def test_a_metric_is_shown_with_what_it_gave(bench: Callable[..., Said], complaint: Callable[..., str], tmp_path: Path) -> None:
    panels = [{"mia_loss": attack(wins), "blind_zlib": attack(4)} for wins in (6, 3)]
    text = panels[0].pop("blind_zlib")
    panels[1].pop("blind_zlib")
    store.write(tmp_path, with_panels(original(), *panels, panels[0], {"blind_zlib": text}))
    store.write(tmp_path, record(spec("another")))  # of another method: not read
    said = bench("show", "mia_loss", "--results", tmp_path)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-2:] == [
        f"in {tmp_path}, at the untouched model and the reference:",
        "  arxiv: target 1.000 [0.689, 1.000], reference 0.500 [0.224, 0.776]: told apart",
    ]
    assert bench("show", "blind_zlib", "--results", tmp_path).out.splitlines()[-1] == "  arxiv: 0.667 [0.367, 0.967]"
    assert bench("show", "mia_zlib", "--results", tmp_path).out.splitlines()[-1] == f"in {tmp_path}: not measured"
    assert complaint("show", "mia_loss", "--results", "nowhere") == "nowhere: no such results folder; `bench run` makes one"


@pytest.mark.parametrize(
    ("name", "said", "on_record"),
    [
        ("forget_score", "by construction: target 0, reference 1", None),
        ("utility_damage", "by construction: target 0, reference 0", None),
        ("reference_distance", "by construction: reference 0", "  arxiv: target 0.100"),
        ("forget_nll", "direction: lower where the model knows the text; the right value is the reference model's", None),
    ],
)
def test_a_quantity_of_the_headline_is_shown(
    bench: Callable[..., Said], complaint: Callable[..., str], tmp_path: Path, name: str, said: str, on_record: str | None
) -> None:
    made = original()
    store.write(tmp_path, made)
    assert made.baseline is not None
    target, reference = (half["forget"].mean_nll for half in (made.baseline.target_test, made.baseline.reference_test))
    expected = f"  arxiv: target {target:.3f}, reference {reference:.3f}" if name == "forget_nll" else on_record
    shown = bench("show", name, "--results", tmp_path)
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == f"{name}  (headline, measured of every method, version 1)"
    assert said in lines
    assert [line.split(":")[0] for line in lines[4:8]] == ["unit", "range", "direction", "source"]
    assert (lines[-1] == expected) if expected else not any(str(tmp_path) in line for line in lines)
    assert complaint("show", name, "--results", "nowhere").startswith("nowhere: no such results folder")


def test_a_new_method_is_written_once_and_checked(bench: Callable[..., Said], complaint: Callable[..., str]) -> None:
    said = bench("new-method", "my-method")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("my_method.py: edit it, then `bench check my_method.py` and ")
    assert complaint("new-method", "my-method").startswith("my_method.py: there is such a file already")
    said = bench("check", "my_method.py")
    assert (said.code, said.err) == (0, "")
    first, *lines, last, _ = said.out.splitlines()
    assert first == f"my-method  ({Path('my_method.py').resolve()}:12)"
    assert [line.split()[1] for line in lines] == [check.name for check in CHECKS]
    assert last == f"  {len(CHECKS) - 2} ok, 2 skipped"


def test_a_check_that_fails(bench: Callable[..., Said], plugin: Path) -> None:
    said = bench("check", plugin)
    assert (said.code, said.err) == (cli.FAILED, "")
    first, *lines = said.out.splitlines()
    assert first == f"fade  ({plugin}:11)"
    assert lines[0] == "  FAIL     docstring"
    assert [line[11:20] for line in lines[1:4]] == ["expected:", "seen:    ", "matters: "]
    assert [line.split()[1] for line in lines if "FAIL" in line] == ["docstring", "uses-forget", "frozen-stays"]
    assert "  FAIL     frozen-stays      on gpt_neox, gpt2, opt, llama, qwen2" in lines


def test_broken_plugins_are_told_of(bench: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_broken", {"strangers.own": "ValueError: [no] way"})
    said = bench("list", "methods")
    assert said.code == 0
    assert said.err == "bench: warning: plugin strangers.own cannot be imported: ValueError: [no] way\n"


def test_a_bad_message_is_still_one_line(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert (
        complaint("leaderboard", tmp_path / "two\nlines [b]") == f"{tmp_path}/two lines [b]: no such results folder; `bench run` makes one"
    )


def test_a_run_with_a_plugin(bench: Callable[..., Said], on_lab: tuple[object, ...], plugin: Path) -> None:
    """From the command line to a leaderboard in the default folder, in one process; the second time nothing is left to do."""
    command = ("run", *on_lab, "--methods", "fade", "--plugin", plugin, "--jobs", 1)
    said = bench(*command, "--quick")
    folder = Path("results") / "tiny-lab-quick"
    assert said.code == 0, said.err
    assert said.err.startswith(f"3 cells, 0 on record in {folder}, 3 to run\n")
    assert "fade" in said.out
    assert (folder / "leaderboard.md").is_file()
    assert bench(*command, "--quick").err == f"3 cells, 3 on record in {folder}, 0 to run\n"
    said = bench(*command, "--quick", "--limit", 2, "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert len(store.read_all(Path("results") / "tiny-lab-quick-limit-2")) == 3
    refused = bench(*command, "--out", folder)
    assert refused.code == 2
    assert refused.err.startswith("bench: error: records of different protocols cannot stand in one leaderboard: ")


def test_a_sweep(bench: Callable[..., Said], on_lab: tuple[object, ...], plugin: Path, tmp_path: Path) -> None:
    said = bench("sweep", *on_lab, "--methods", "fade", "--plugin", plugin, "--jobs", 1, "--trials", 2, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "| fade | **by=0.9" in said.out
    assert (tmp_path / "out" / "sweep.md").read_text() == said.out[:-1]
    refused = bench("sweep", *on_lab, "--methods", "fade", "--plugin", plugin, "--trials", 3, "--out", tmp_path / "out")
    assert (refused.code, refused.err) == (
        2,
        "bench: error: method 'fade' declares 2 settings to search; every method needs 3 for equal trials\n",
    )


def test_a_sweep_of_a_grid(bench: Callable[..., Said], on_lab: tuple[object, ...], plugin: Path) -> None:
    command = ("sweep", *on_lab, "--methods", "fade,random-pruning", "--plugin", plugin, "--jobs", 1, "--limit", 2)
    said = bench(*command, "--grid", "fade.by=0.9,0.95,0.99", "--set", "random-pruning.step=0.5", "--seeds", 2)
    assert said.code == 0, said.err
    folder = Path("results") / "tiny-lab" / "sweep-limit-2"
    assert said.err.startswith(f"8 cells, 0 on record in {folder}, 8 to run\n")
    found = [(each.spec.method, each.spec.seed, each.spec.hyperparameters) for each in store.read_all(folder)]
    assert sorted(str(fields["by"]) for method, _, fields in found if method == "fade") == ["0.9", "0.9", "0.95", "0.95", "0.99", "0.99"]
    assert {fields["step"] for method, _, fields in found if method == "random-pruning"} == {0.5}
    assert {seed for _, seed, _ in found} == {0, 1}
    assert "| random-pruning | **its own** |" in said.out
    assert {file.name for file in folder.iterdir() if file.is_file()} >= {"sweep.md", "sweep.csv", "robustness.csv"}
