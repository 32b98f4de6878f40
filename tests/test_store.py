"""Records on disk: whole or not at all, strict when read, one writer at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from records import record, spec

from benchmark import store
from benchmark.errors import InputError
from benchmark.record import Record


@pytest.fixture
def cell() -> Record:
    return record(spec())


def test_a_record_comes_back_as_it_was_written(tmp_path: Path, cell: Record) -> None:
    file = store.write(tmp_path, cell)
    assert file == tmp_path / "records" / f"arxiv--ascent--{cell.spec.key()}.json"
    assert store.read_all(tmp_path) == [cell]
    assert store.find(tmp_path, cell.spec) == cell


def test_an_unrun_cell_is_not_found(tmp_path: Path, cell: Record) -> None:
    assert store.find(tmp_path, cell.spec) is None
    assert store.read_all(tmp_path) == []


def test_lists_of_numbers_stand_on_one_line(tmp_path: Path, cell: Record) -> None:
    lines = store.write(tmp_path, cell).read_text().splitlines()
    assert len(lines) < 500
    assert any(line.strip().startswith('"tokens": [100, 100') for line in lines)


def test_names_that_are_no_file_names_are_made_safe(tmp_path: Path) -> None:
    strange = record(spec("team/method", "../etc"))
    assert store.write(tmp_path, strange).parent == tmp_path / "records"
    assert store.read_all(tmp_path) == [strange]


def test_a_killed_write_leaves_the_old_record_and_is_passed_over(tmp_path: Path, cell: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(tmp_path, cell)

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write(tmp_path, cell.model_copy(update={"reason": "newer"}))
    monkeypatch.undo()
    assert len(list((tmp_path / "records").iterdir())) == 2
    assert store.read_all(tmp_path) == [cell]
    with store.lock(tmp_path):
        assert len(list((tmp_path / "records").iterdir())) == 1


def test_a_full_disk_is_one_clear_line(tmp_path: Path, cell: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"^cannot write .*: No space left on device; free some space"):
        store.write(tmp_path, cell)
    assert list((tmp_path / "records").iterdir()) == []


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path: Path, cell: Record) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        store.write(tmp_path / "taken", cell)
    with pytest.raises(InputError, match="cannot write"), store.lock(tmp_path / "taken"):
        pass


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:100], "is not JSON"),
        (lambda text: "[]", "not a record of schema version 1"),
        (lambda text: json.dumps(json.loads(text) | {"schema_version": 99}), "it says 99"),
        (lambda text: json.dumps(json.loads(text) | {"extra": 1}), "is not a record: extra"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "renamed or edited"),
        (lambda text: text.replace('"retraining_flops": 31000000000000.0', '"retraining_flops": NaN'), "retraining_flops"),
    ],
)
def test_a_foreign_file_is_named_with_its_remedy(tmp_path: Path, cell: Record, damage: object, said: str) -> None:
    file = store.write(tmp_path, cell)
    assert callable(damage)
    file.write_text(damage(file.read_text()))
    with pytest.raises(InputError, match=said) as caught:
        store.read_all(tmp_path)
    assert str(file) in str(caught.value)
    assert "delete it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    second = f"from pathlib import Path; from benchmark import store\nwith store.lock(Path({str(tmp_path)!r})): pass"
    with store.lock(tmp_path):
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=False)
        assert f"another run (pid {os.getpid()}) is writing to {tmp_path}" in done.stderr
    assert subprocess.run([sys.executable, "-c", second], check=False).returncode == 0


def test_the_lock_is_released_when_a_run_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(tmp_path):
        raise ZeroDivisionError
    with store.lock(tmp_path):
        pass
