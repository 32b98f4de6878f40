"""How a model is loaded and fitted into memory is said alike to every command that runs cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import LanguageModel, cli
from benchmark.errors import InputError
from benchmark.loading import Loading
from benchmark.plan import Options


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_it_is_handed_over(command: str, tiny_lm: Callable[..., LanguageModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Options] = []

    def planned(options: Options, *given: object) -> None:
        asked.append(options)
        raise InputError("that is all")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmark.plan.plan", planned)
    on = ("--model", str(tiny_lm().folder), "--methods", "gradient-ascent", "--tasks", "arxiv", "--device", "cuda:0", "--dtype", "bfloat16")
    flags = ("--memory", "2", "--gradient-checkpointing", "--allow-pickle", "--trust-remote-code")
    monkeypatch.setattr("sys.argv", ["bench", command, *on, *flags])
    with pytest.raises(SystemExit):
        cli.main()
    (options,) = asked
    assert options.loading == Loading("cuda:0", None, "bfloat16", allow_pickle=True, trust_remote_code=True)
    assert (options.memory, options.gradient_checkpointing) == (2 * 10**9, True)
