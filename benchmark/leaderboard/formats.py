"""Numbers as people read them. Files for machines keep full precision."""

from __future__ import annotations

from benchmark.comparison import Rank
from benchmark.scores import Interval

DASH = "–"  # noqa: RUF001 -- what a missing value looks like

DECIMALS = 2
"""Of scores."""

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def number(value: float | None, decimals: int = DECIMALS) -> str:
    """Fixed decimals; no minus before a zero."""
    return DASH if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval(value: Interval | None) -> str:
    """`0.62 [0.55, 0.69]`, or `0.62` where the interval has no ends."""
    if value is None:
        return DASH
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]" if value.known else number(value.value)


def rank(value: Rank | None) -> str:
    """`3`, nothing for a row without one."""
    return "" if value is None else str(value.best)


def rank_interval(value: Rank | None) -> str:
    """`3 to 7`, or `3`; nothing for a row without one."""
    if value is None:
        return ""
    return f"{value.best} to {value.worst}" if value.worst > value.best else str(value.best)


def percent(share: float | None) -> str:
    """`4.5 %`; beyond 1000 % it no longer matters by how much."""
    if share is None:
        return DASH
    return "over 1000 %" if share > 10 else f"{100 * share + 0.0:.1f} %"


def budget(share: float) -> str:
    """`5 %`."""
    return f"{100 * share:g} %"


def count(value: float | None) -> str:
    """Three significant digits and an SI prefix: `1.23 T`."""
    if value is None:
        return DASH
    power = 0
    while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}".strip()


def seconds(value: float | None) -> str:
    """`12.3`, in seconds."""
    return DASH if value is None else f"{value:,.1f}"


def memory(size: int | None) -> str:
    """`512 MiB`."""
    if size is None:
        return DASH
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def against_retraining(flops: float | None, retraining: float | None) -> str:
    """`31x cheaper`."""
    if flops is None or retraining is None:
        return DASH
    if flops == 0:
        return "free"
    ratio = retraining / flops
    if abs(ratio - 1) < 0.005:
        return "the same"
    return f"{_times(ratio)} cheaper" if ratio >= 1 else f"{_times(1 / ratio)} dearer"


def _times(ratio: float) -> str:
    if ratio > 10_000:
        return "over 10,000x"
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:,.0f}x"
