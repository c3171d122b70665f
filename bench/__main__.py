"""`make bench`: runs the benchmarks one after another, keeps what came of each, and writes the table and the plot."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench._results import Circumstances, Run, judged, keep, kept, latest, plot, table
from lab._common import ROOT

BENCHMARKS = ROOT / "bench"
RESULTS = ROOT / "build" / "bench" / "results.jsonl"
PAGE, PLOT = ROOT / "docs" / "benchmarks-results.md", ROOT / "docs" / "benchmarks.svg"
# Whoever sets one of these tries a benchmark out: its figures are no results.
TRIALS = {
    *("SLIPWAY_BENCH_BYTES", "SLIPWAY_BENCH_CYCLES", "SLIPWAY_BENCH_DAYS", "SLIPWAY_BENCH_DRAINS"),
    "SLIPWAY_BENCH_SITES",
}


def every_benchmark(directory: Path) -> list[str]:
    """The names of the executables in order, but for the one that the others are links to."""
    names = {path.name for path in directory.iterdir() if path.is_file() and os.access(path, os.X_OK)}
    return sorted(names - {str(path.readlink()) for path in directory.iterdir() if path.is_symlink()})


def machine() -> str:
    """What a figure depends on: cores, processor, memory."""
    told = [text.partition(":")[2].strip() for text in _lines("/proc/cpuinfo") if text.startswith("model name")]
    memory = [int(text.split()[1]) for text in _lines("/proc/meminfo") if text.startswith("MemTotal")]
    size = f", {memory[0] * 1024 / 1e9:.0f} GB" if memory else ""
    return f"{os.cpu_count()} x {told[0] if told else platform.machine()}{size}"


def _lines(path: str) -> list[str]:
    place = Path(path)
    return place.read_text(encoding="utf-8").splitlines() if place.exists() else []


def commit() -> str:
    """The commit that is checked out, with `+` when a tracked file differs; docs/, where we write, is left out."""
    here = ["git", "-C", str(ROOT)]
    head = subprocess.run([*here, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    status = [*here, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]
    return head + ("+" if subprocess.run(status, check=True, capture_output=True).stdout else "")


def measure(executable: Path, of: Circumstances) -> Run:
    """Run a benchmark and show what it prints."""
    printed = []
    with subprocess.Popen([str(executable)], stdout=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                printed.append(line)
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # it was told too, and takes its host away
            raise
    return judged(of, printed, code)


def write(names: list[str], of: str, on: str) -> None:
    """Write the table and the plot of what is kept."""
    runs = latest(kept(RESULTS), on, names)
    PAGE.write_text(table(runs, of, on, names), encoding="utf-8")
    PLOT.write_text(plot(runs, on), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help="names of benchmarks, with commas between them (default: all)")
    names = every_benchmark(BENCHMARKS)
    chosen = [name for name in parser.parse_args(arguments).only.split(",") if name] or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"there is no benchmark {', '.join(unknown)}: there are {', '.join(names)}")
    tried_out = sorted(TRIALS & set(os.environ))
    of, on, good = commit(), machine(), True
    for name in chosen:
        date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        print(f"\n{name}: begun at {date}", flush=True)
        run = measure(BENCHMARKS / name, Circumstances(name, date, of, on))
        if run.failure:
            print(f"{name}: {run.failure}", flush=True)
        good &= not run.failure and all(line.ok for line in run.lines)
        if not tried_out:
            keep(RESULTS, run)
            write(names, of, on)
    print(f"\nnothing is kept: {', '.join(tried_out)} is set" if tried_out else f"\n{PAGE.relative_to(ROOT)}")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
