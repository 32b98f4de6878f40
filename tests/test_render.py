"""The published files: the same bytes for the same records, and the records' own numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import Removes, harmed, original, record, spec, suite
from rich.console import Console

from benchmark import store
from benchmark.errors import InputError
from benchmark.leaderboard import board, formats, render
from benchmark.leaderboard.document import sections
from benchmark.leaderboard.export import to_csv, to_json
from benchmark.leaderboard.markdown import markdown
from benchmark.leaderboard.page import html
from benchmark.record import OperatingPoint, Record
from benchmark.scores import Interval


def published(folder: Path, records: list[Record]) -> dict[str, bytes]:
    for each in records:
        store.write(folder, each)
    render.publish(folder)
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return published(tmp_path_factory.mktemp("run"), suite())


def test_everything_is_written(files: dict[str, bytes]) -> None:
    written = {name for name in files if not name.startswith("records")}
    figures = {f"figures/{name}.{kind}" for name in ("overview", "arxiv", "books", "books-domain") for kind in ("svg", "png")}
    assert written == {"leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.html"} | figures


def test_the_same_records_give_the_same_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    again = published(tmp_path, suite()[::-1])
    assert again.keys() == files.keys()
    assert [name for name in files if again[name] != files[name]] == []


def test_csv_has_the_records_numbers_to_the_last_bit(files: dict[str, bytes]) -> None:
    lines = {(line["task"], line["label"]): line for line in csv.DictReader(io.StringIO(files["leaderboard.csv"].decode()))}
    assert len(lines) == 3 * 8
    for table in board(suite()).tasks:
        for ranked in table.rows:
            row = ranked.row
            line = lines[table.task, row.label]
            assert line["status"] == row.status
            assert line["rank"] == ("" if ranked.rank is None else str(ranked.rank.best))
            assert line["rank_worst"] == ("" if ranked.rank is None else str(ranked.rank.worst))
            if row.headline is None or row.headline.score is None or row.expense is None:
                assert line["forget_score_at_5_percent"] == ""
                assert line["reason"] == row.reason
                continue
            assert float(line["forget_score_at_5_percent"]) == row.headline.score.value
            assert float(line["forget_score_at_5_percent_low"]) == row.headline.score.low
            assert float(line["utility_damage_at_5_percent"]) == row.headline.damage
            assert float(line["flops"]) == row.expense.flops
            assert line["records"] == row.keys[0]


def test_json_has_everything(files: dict[str, bytes]) -> None:
    content = json.loads(files["leaderboard.json"])
    assert content["schema_version"] == 3
    built = board(suite())
    best = built.tasks[0].rows[2].row
    told = content["leaderboard"]["tasks"][0]["rows"][2]["row"]
    assert best.headline is not None
    assert best.headline.score is not None
    assert told["headline"]["score"] == best.headline.score._asdict()
    assert [point["score"] for point in told["curves"][0]] == [point.score for point in best.curves[0]]
    assert content["leaderboard"]["protocol"]["budgets"] == [0.01, 0.05, 0.2]


def test_a_score_on_a_single_document_is_published_without_an_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("records.DOCUMENTS", 1)
    files = published(tmp_path, [original(), record(spec())])
    nothing, method = csv.DictReader(io.StringIO(files["leaderboard.csv"].decode()))
    told = [f"forget_score_at_5_percent{end}" for end in ("", "_low", "_high")]
    assert [nothing[name] for name in told] == ["0.0", "0.0", "0.0"], "nothing done is certain"
    assert [method[name] for name in told][1:] == ["", ""]
    told_row = json.loads(files["leaderboard.json"])["leaderboard"]["tasks"][0]["rows"][1]["row"]
    assert told_row["headline"]["score"] == {"value": pytest.approx(0.5), "low": None, "high": None}
    shown = [cells[3] for cells in table_after(files["leaderboard.md"].decode(), "Overall")]
    assert shown == ["0.00 [0.00, 0.00]", "0.50"]
    console = Console(record=True, width=140, file=io.StringIO())
    console.print(render.terminal_table(board([original(), record(spec())])))
    assert "inf" not in console.export_text()


def table_after(text: str, heading: str) -> list[list[str]]:
    lines = text.split(f"## {heading}\n", 1)[1].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    body = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def test_markdown_shows_the_boards_numbers_in_its_order(files: dict[str, bytes]) -> None:
    text = files["leaderboard.md"].decode()
    built = board(suite())
    shown = table_after(text, "Overall")
    told = [[formats.rank(row.rank), row.name, formats.rank_interval(row.rank), formats.interval(row.mean)] for row in built.overall]
    assert [cells[:4] for cells in shown] == told
    scores = table_after(text, "arxiv")
    assert [cells[1] for cells in scores] == [ranked.row.label for ranked in built.tasks[0].rows]
    assert scores[2][4] == formats.interval(built.tasks[0].rows[2].row.points[1].score)
    assert text.index("## Overall") < text.index("## arxiv") < text.index("## Not ranked") < text.index("## How to read this")


def test_markdown_states_the_rule_the_data_and_the_hardware(files: dict[str, bytes]) -> None:
    text = files["leaderboard.md"].decode()
    for said in (
        "best validation forget score",
        "reported on the test half",
        "methods that cannot be told apart share it",
        "a difference in score of up to 0.050, the mean over tasks of the noise floor, is none",
        "Student's t on jackknife values of 12 forget documents",
        "fingerprint mmmmmmmmmmmm",
        "data fingerprint dddddddddddd",
        "Some CPU",
        "24, made between",
        "| books  | fragile  | failed   | out of memory in step 3 |",
    ):
        assert said in text
    for link in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert link in files


def test_markdown_and_html_show_hostile_text_as_it_is() -> None:
    reason = "a | b <script>alert(1)</script> *c*\n[d](e)"
    built = board([original(), record(spec(), status="failed", reason=reason)])
    text = markdown(built.model, sections(built))
    assert r"a \| b \<script\>alert(1)\</script\> \*c\* [d]\(e)" in text
    page = html(built.model, sections(built), {})
    assert "<script" not in page


class Reader(HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_needs_nothing_else(files: dict[str, bytes]) -> None:
    reader = Reader()
    reader.feed(files["leaderboard.html"].decode())
    assert reader.open == []
    assert sum(source.startswith("data:image/svg+xml") for source in reader.sources) == 4
    assert all(source.startswith(("#", "data:")) for source in reader.sources)


def test_a_board_without_scores_is_published_too(tmp_path: Path) -> None:
    cells = [record(spec(name, "arxiv-domain"), kind="none", removes="domain") for name in ("one", "two")]
    files = published(tmp_path, [original("arxiv-domain", "none", "domain"), *cells])
    text = files["leaderboard.md"].decode()
    assert "there is no reference model" in text
    assert "figures/arxiv-domain.svg" in files
    assert "figures/overview.svg" not in files
    assert "overview" not in text


def test_a_board_of_one_method_that_costs_nothing_is_drawn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = published(tmp_path, [original(), record(spec("free"), flops=0)])
    assert "figures/overview.svg" in files


def test_a_board_of_failures_is_published_too(tmp_path: Path) -> None:
    files = published(tmp_path, [record(spec(), status="failed", reason="no memory")])
    assert "no memory" in files["leaderboard.md"].decode()
    assert "figures/arxiv.svg" not in files


def test_a_misplaced_reference_row_leaves_the_published_board_alone(tmp_path: Path) -> None:
    before = published(tmp_path, [original(), record(spec())])
    wrong = record(spec("original", hyperparameters={"not": "original"}))
    store.write(tmp_path, wrong)
    with pytest.raises(InputError, match="nothing is published"):
        render.publish(tmp_path)
    assert (tmp_path / "leaderboard.md").read_bytes() == before["leaderboard.md"]


def test_the_terminal_table_fits(files: dict[str, bytes]) -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(render.terminal_table(board(suite())))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert "gradient-difference" in text
    assert "fragile: books: failed" in text


def test_the_terminal_table_of_six_tasks_fits_with_marks_and_long_names() -> None:
    tasks = [f"{domain}{kind}" for domain in ("arxiv", "books", "github") for kind in ("", "-domain")]
    cells = []
    for task in tasks:
        removes: Removes = "domain" if task.endswith("-domain") else "documents"
        cells += [record(spec(f"method-{index}", task), ((0.04, 0.3),), removes=removes, flops=10**11) for index in range(20)]
        cells.append(harmed(record(spec("weighted-ascent-of-long-name", task), ((0.04, 0.9),), removes=removes), 0.3))
    slow = [each.model_copy(update={"operating_points": tuple(slowed(point) for point in each.operating_points)}) for each in cells]
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(render.terminal_table(board(slow)))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert text.count("7,407") == 21, "six times 1,234.5 seconds, not cut short"
    assert "0.00‡" in text
    assert "‡ above 2 times the budget" in text


def slowed(point: OperatingPoint) -> OperatingPoint:
    return point.model_copy(update={"cost": point.cost.model_copy(update={"seconds": 1234.5})})


def test_exports_are_pure() -> None:
    assert to_csv(board(suite())) == to_csv(board(suite()[::-1]))
    assert to_json(board(suite())) == to_json(board(suite()[::-1]))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.number(-0.001), "0.00"),
        (formats.number(None), "–"),  # noqa: RUF001
        (formats.interval(Interval(0.615, 0.5, 0.7)), "0.61 [0.50, 0.70]"),
        (formats.interval(Interval(0.615, -math.inf, math.inf)), "0.61"),
        (formats.percent(0.0449), "4.5 %"),
        (formats.percent(1e20), "over 1000 %"),
        (formats.budget(0.05), "5 %"),
        (formats.count(0), "0"),
        (formats.count(1.234e12), "1.23 T"),
        (formats.count(999_999), "1 M"),
        (formats.memory(512 * 2**20), "512 MiB"),
        (formats.memory(3 * 2**30), "3.0 GiB"),
        (formats.against_retraining(1e12, 31e12), "31x cheaper"),
        (formats.against_retraining(4e12, 2e12), "2.0x dearer"),
        (formats.against_retraining(0, 2e12), "free"),
        (formats.against_retraining(1000, 1000.4), "the same"),
        (formats.against_retraining(1, 1e12), "over 10,000x cheaper"),
        (formats.against_retraining(1e12, None), "–"),  # noqa: RUF001
    ],
)
def test_numbers_are_shown_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected
