"""Results of benchmarks: printed, read from what was printed, kept, and shown as a table and a plot."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

OURS, RATIO = "ours", "ratio"  # what a bar is of
KEYS = {"name", "ours", "peer", "unit", "ratio", "bar", "ok", "bar_of"}
# Lines that were kept before they said what their bar is of: these are of our own figure, all others of the ratio.
OLD_OF_OURS = re.compile(r"availability( .* (failed|lost or doubled|longest))?|judge( errors)?")
DIGITS = 4  # behind the point of a figure
SHORT = 10  # digits of a commit
LONGEST = 2.0  # the ratio at which a bar of the plot is cut
LABEL, TRACK, FIGURE, ROW, HEAD = 290, 360, 190, 26, 58  # lengths in the plot, in pixels
STYLE = """
    svg { font: 13px system-ui, sans-serif; }
    .page { fill: #ffffff; } text { fill: #1f2328; } .faint { fill: #59636e; font-size: 12px; }
    .track { fill: #eaeef2; } .ok { fill: #0969da; } .bad { fill: #bc4c00; } .bar { stroke: #1f2328; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; } text { fill: #f0f6fc; } .faint { fill: #9198a1; }
      .track { fill: #262c36; } .ok { fill: #4493f8; } .bad { fill: #f0883e; } .bar { stroke: #f0f6fc; }
    }
"""


@dataclass(frozen=True)
class Circumstances:
    """When and where a benchmark ran, and of what.

    :param commit: the full id, with `+` behind it when files differed from it.
    """

    benchmark: str
    date: str
    commit: str
    machine: str


@dataclass(frozen=True)
class Line:
    """One line of JSON that a benchmark prints.

    :param ratio: None where the peer's figure is 0 or not known.
    :param bar_of: OURS or RATIO: which of the two may be at most the bar.
    """

    name: str
    ours: float | None
    peer: float | None
    unit: str
    ratio: float | None
    bar: float
    ok: bool
    bar_of: str = RATIO

    @classmethod
    def of(  # noqa: PLR0913 - what a line consists of
        cls,
        name: str,
        unit: str,
        figures: tuple[float, float],
        *,
        bar: float,
        ok: bool,
        bar_of: str = RATIO,
        ratio: float | None = None,
    ) -> Line:
        """The line of two figures, ours and the peer's. One that is not finite is not known.

        :param ratio: where it is not that of the two figures.
        """
        ours, peer = (round(figure, DIGITS) if math.isfinite(figure) else None for figure in figures)
        if ratio is None and ours is not None and peer:
            ratio = figures[0] / figures[1]
        return cls(name, ours, peer, unit, None if ratio is None else round(ratio, DIGITS), bar, ok, bar_of)

    def tell(self) -> bool:
        """Print the line; returns whether it is ok."""
        print(json.dumps(asdict(self)), flush=True)
        return self.ok

    @property
    def bar_ratio(self) -> float | None:
        """The bar as a ratio to the peer; None where there is none."""
        if self.bar_of == RATIO:
            return self.bar
        return self.bar / self.peer if self.peer else None


@dataclass(frozen=True)
class Run:
    """What came of one benchmark.

    :param failure: why there is not all that there should be, or empty.
    """

    of: Circumstances
    lines: tuple[Line, ...]
    failure: str = ""


def read_line(text: str) -> Line | None:
    """The result in a line that a benchmark printed; None when it is another line."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text, parse_constant=lambda _: "not finite")
    except ValueError:
        return None
    return _line(found) if isinstance(found, dict) else None


def _line(found: Mapping[str, object]) -> Line | None:
    def figure(key: str) -> float | None:
        value = found[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise TypeError(key)
        return value

    try:
        name, bar, ok = str(found["name"]), figure("bar"), found["ok"]
        bar_of = str(found.get("bar_of", OURS if OLD_OF_OURS.fullmatch(name) else RATIO))
        if {*found, "bar_of"} != KEYS or bar is None or not isinstance(ok, bool) or bar_of not in {OURS, RATIO}:
            return None
        ours, peer, ratio = figure("ours"), figure("peer"), figure("ratio")
    except (KeyError, TypeError):
        return None
    return Line(name, ours, peer, str(found["unit"]), ratio, bar, ok, bar_of)


def judged(of: Circumstances, printed: Iterable[str], code: int) -> Run:
    """What came of a benchmark that printed this and ended with this code."""
    lines = tuple(line for line in map(read_line, printed) if line is not None)
    if not lines:
        return Run(of, lines, f"it ended with code {code} and without a result")
    if code and all(line.ok for line in lines):
        return Run(of, lines, f"it ended with code {code} before it had all results")
    return Run(of, lines)


def keep(path: Path, run: Run) -> None:
    """Append a run to the file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: list[dict[str, object]] = [asdict(line) for line in run.lines]
    if run.failure:
        kept.append({"failure": run.failure})
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps({**asdict(run.of), **item}) + "\n" for item in kept)


def kept(path: Path) -> list[Run]:
    """The runs in the file of results, in their order. What a killed run left of a line is passed over."""
    found: dict[Circumstances, Run] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            item = json.loads(text)
            of = Circumstances(*(str(item.pop(name)) for name in Circumstances.__dataclass_fields__))
        except (ValueError, KeyError, AttributeError):
            continue
        run, line = found.get(of, Run(of, ())), _line(item)
        found[of] = Run(of, (*run.lines, line) if line else run.lines, str(item.get("failure", run.failure)))
    return list(found.values())


def latest(runs: Iterable[Run], machine: str, benchmarks: Iterable[str]) -> list[Run]:
    """The last run of each benchmark on this machine, in the order of the benchmarks."""
    last = {run.of.benchmark: run for run in runs if run.of.machine == machine}
    return [last[name] for name in benchmarks if name in last]


def table(runs: Sequence[Run], commit: str, machine: str, benchmarks: Sequence[str]) -> str:
    """The page of results.

    :param commit: what the page is written of; a run of another one is marked with its own.
    """
    text = [
        "# Results of the benchmarks",
        "",
        "Written by `make bench`. What is measured beside what: [benchmarks.md](benchmarks.md). Lower is better: 1 is",
        "the peer's figure.",
        "",
    ]
    if not runs:
        return "\n".join([*text, "Nothing was measured yet.", ""])
    text += [
        f"Machine: {_cell(machine)}. Commit: {_short(commit)}; a line that was measured on another one names it.",
        "",
        "![Each ratio beside its bar](benchmarks.svg)",
        "",
        "| line | ratio to the peer | bar | | ours, peer | measured |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for run in runs:
        measured = run.of.date[:10] + ("" if run.of.commit == commit else f" on {_short(run.of.commit)}")
        text += [_row(line, measured) for line in run.lines]
        if run.failure:
            text.append(f"| {_cell(run.of.benchmark)} | | | **NOT OK** | {_cell(run.failure)} | {measured} |")
    seen = {run.of.benchmark for run in runs}
    text += [f"| {name} | | | not measured | | |" for name in benchmarks if name not in seen]
    return "\n".join([*text, ""])


def _row(line: Line, measured: str) -> str:
    bar = f"ours at most {line.bar:g}" if line.bar_of == OURS else f"{line.bar:g}"
    verdict = "ok" if line.ok else "**NOT OK**"
    figures = f"{_number(line.ours)}, {_number(line.peer)} {_cell(line.unit)}"
    return f"| {_cell(line.name)} | {_number(line.ratio)} | {bar} | {verdict} | {figures} | {measured} |"


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _short(commit: str) -> str:
    return f"`{commit[:SHORT]}`" + (" and changes" if commit.endswith("+") else "")


def _cell(text: str) -> str:
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def plot(runs: Sequence[Run], machine: str) -> str:
    """An SVG of each ratio beside its bar; lines without a ratio are left to the table."""
    lines = [line for run in runs for line in run.lines if line.ratio is not None]
    width, height = LABEL + TRACK + FIGURE, HEAD + ROW * len(lines) + 14
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        "  <title>Ratio of each benchmark to its peer, beside its bar</title>",
        f"  <style>{STYLE}  </style>",
        f'  <rect class="page" width="{width}" height="{height}"/>',
        '  <text x="12" y="22">Ratio to the peer; the upright stroke is the bar. Lower is better.</text>',
        f'  <text class="faint" x="12" y="42">{escape(machine) if lines else "Nothing was measured yet."}</text>',
    ]
    for number, line in enumerate(lines):
        drawn += _drawn(line, HEAD + ROW * number)
    return "\n".join([*drawn, "</svg>", ""])


def _drawn(line: Line, top: int) -> list[str]:
    ratio, bar = line.ratio or 0.0, line.bar_ratio
    base, kind = top + 17, "ok" if line.ok else "bad"
    told = f"{_number(ratio)}{'' if bar is None else f', bar {_number(bar)}'}{'' if line.ok else ': NOT OK'}"
    shapes = [
        f'  <text x="{LABEL - 10}" y="{base}" text-anchor="end">{escape(line.name)}</text>',
        f'  <rect class="track" x="{LABEL}" y="{top + 5}" width="{TRACK}" height="16"/>',
        f'  <rect class="{kind}" x="{LABEL}" y="{top + 5}" width="{_length(ratio):.1f}" height="16"/>',
        f'  <text x="{LABEL + TRACK + 10}" y="{base}">{escape(told)}</text>',
    ]
    if bar is not None:
        at = f"{LABEL + _length(bar):.1f}"
        shapes.append(f'  <line class="bar" x1="{at}" y1="{top + 2}" x2="{at}" y2="{top + 24}" stroke-width="2"/>')
    return shapes


def _length(ratio: float) -> float:
    return TRACK * min(ratio, LONGEST) / LONGEST
