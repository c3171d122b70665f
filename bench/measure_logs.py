"""A JSON log of 1 GB to signatures beside jq counting by message.

Ours reads every line as the shipped library does: levels, requests, failures, durations, and what is said without what
differs from one time to the next. The peer is the fastest of what jq users write.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench._pairs import compare
from lab._common import ROOT, told

SIZE = float(os.environ.get("SLIPWAY_BENCH_BYTES", "1e9"))  # smaller ones are for trying the benchmark out
BAR = 1.0
MOST_MEMORY = 100e6
TRIAL = 3_000_000  # bytes with which the peer's ways are compared: jq 1.6 takes a quadratic time for one of them
OURS = """
import json, sys
sys.path.insert(0, "collections")
from ansible_collections.slipway.release.plugins.module_utils._log_signatures import Log
from ansible_collections.slipway.release.plugins.module_utils._profile import Logs
log = Log(Logs())
with open(sys.argv[1], "rb", buffering=0) as stream:
    while block := stream.read(262_144):
        log.feed(block)
log.end()
[block] = log.blocks.values()
found = {item.text for item in log.errors}
print(json.dumps([block.lines, block.errors, block.requests, block.failed, len(log.signatures), sorted(found)]))
"""
COUNT = """LC_ALL=C jq -r '.message // .msg' "$1" |"""
PEERS = {
    "jq reduce": """jq -n 'reduce inputs as $line ({}; .[$line.message // $line.msg] += 1) | length' "$1" """,
    "jq | sort | uniq -c": f"{COUNT} LC_ALL=C sort | uniq -c | wc -l",
    "jq | awk": f"{COUNT} LC_ALL=C awk '{{n[$0]++}} END {{for (key in n) all++; print all}}'",
}
ENDPOINTS = [("agents", "index"), ("agents", "show"), ("campaigns", "index"), ("campaigns", "show"), ("tasks", "edit")]
# Shares of all lines, one after another: requests not found, well, and failed; messages; jobs; the rest are errors.
LOST, WELL, REQUESTS, MESSAGES, JOBS = 0.03, 0.815, 0.82, 0.94, 0.99
SAID = [
    "Campaign %d: %d of 4000 tasks done, ETA 00:12:%d",
    "Agent agent-%d came online from 10.1.%d.%d",
    'Hash list "list %d" has %d hashes, %d cracked',
    "Cache write: agents/metrics (expires in %d s, %d bytes, try %d)",
]
RAISED = [
    "NoMethodError (undefined method `eta' for #<Campaign id: %d>):",
    "ActiveRecord::StatementInvalid (PG::UndefinedColumn: ERROR:  column tasks.%d does not exist):",
    "Redis::CannotConnectError (Error connecting to Redis on redis:%d (Errno::ECONNREFUSED)):",
]
PLACE = "\\n  \\napp/models/campaign.rb:41:in `eta'\\napp/controllers/campaigns_controller.rb:12:in `show'"


class Written:
    """What was written to the log, so that what is read of it can be compared."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._random = random.Random(5)  # noqa: S311 - the same log each time

    def lines(self, size: float) -> Iterator[str]:
        """Lines of about `size` bytes together."""
        while size > 0:
            line = self._line()
            size -= len(line)
            yield line

    def _line(self) -> str:
        kind, number = self._random.random(), self._random.randrange(1_000_000)
        stamp = f"2026-11-23T{number % 24:02}:{number % 60:02}:{number % 59:02}.{number:06}Z"
        if kind < REQUESTS:
            return self._request(kind, number, stamp)
        self.counts["lines"] += 1
        if kind < MESSAGES:
            said = (SAID[number % len(SAID)] % (number, number % 250, number % 60)).replace('"', '\\"')
            return f'{{"level":"INFO","@timestamp":"{stamp}","progname":"swarm","message":"{said}"}}\n'
        if kind < JOBS:
            job = f'"class":"CampaignJob","jid":"{number:024x}","elapsed":"{kind:.3f}"'
            return f'{{"ts":"{stamp}","pid":1,"tid":"{number % 40:x}","lvl":"INFO","msg":"done","ctx":{{{job}}}}}\n'
        self.counts["errors"] += 1
        said = RAISED[number % len(RAISED)] % number
        return f'{{"level":"FATAL","@timestamp":"{stamp}","request_id":"{number:032x}","message":"{said}{PLACE}"}}\n'

    def _request(self, kind: float, number: int, stamp: str) -> str:
        self.counts["requests"] += 1
        status, error = (404, "") if kind < LOST else (200, "")
        if kind > WELL:
            self.counts["failed"] += 1
            status, error = 500, f'"error":"NoMethodError: undefined method `eta\' for #<Campaign id: {number}>",'
        controller, action = ENDPOINTS[number % len(ENDPOINTS)]
        path, name = f"/{controller}/{number}", f"{controller.title()}Controller"
        return (
            f'{{"method":"GET","path":"{path}","format":"html","controller":"{name}","action":"{action}",'
            f'"status":{status},{error}"allocations":{number},"duration":{5 + number / 7000:.2f},"view":{kind:.2f},'
            f'"db":{number / 50000:.2f},"remote_ip":"10.0.{number % 250}.7","request_id":"{number:032x}",'
            f'"@timestamp":"{stamp}","@version":"1","message":"[{status}] GET {path} ({name}#{action})"}}\n'
        )


def timed(argv: list[str]) -> tuple[float, int, str]:
    """Run a command; returns seconds, the most memory that it held in bytes, and what it printed."""
    begun = time.monotonic()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"logs: {argv[0]} ended with code {process.returncode}")
    return time.monotonic() - begun, usage.ru_maxrss * 1024, printed.strip()


def fastest(sample: Path) -> str:
    """The peer's fastest way."""
    took = {name: timed(["sh", "-c", script, "sh", str(sample)])[0] for name, script in PEERS.items()}
    print("logs: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()), "for a sample", flush=True)
    return min(took, key=lambda name: took[name])


def main() -> int:
    """Run the benchmark."""
    if shutil.which("jq") is None:
        sys.exit("logs: the peer is not here: sudo apt-get install -y jq")
    memory = Path("/dev/shm")  # noqa: S108 - the file lies in a directory of its own
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * SIZE
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as place:
        log, sample, written = Path(place) / "log", Path(place) / "sample", Written()
        with told(f"{SIZE / 1e9:.1f} GB of log written"):
            sample.write_text("".join(Written().lines(min(TRIAL, SIZE))))
            with log.open("w") as stream:
                stream.writelines(written.lines(SIZE))
        way = fastest(sample)
        seen: list[str] = []
        most: list[int] = []

        def ours() -> float:
            seconds, held, printed = timed([sys.executable, "-I", "-c", OURS, str(log)])
            seen.append(printed)
            most.append(held)
            return seconds

        def holds() -> bool:
            lines, errors, requests, failed, signatures, texts = json.loads(seen[-1])
            counted = {"lines": lines, "errors": errors, "requests": requests, "failed": failed}
            print(f"logs: {counted}, {signatures} signatures, {max(most) / 1e6:.0f} MB; the peer is {way}")
            for text in texts:
                print(f"logs:   {text}")
            return counted == dict(written.counts) and max(most) < MOST_MEMORY

        return compare("logs", ours, lambda: timed(["sh", "-c", PEERS[way], "sh", str(log)])[0], BAR, holds=holds)


if __name__ == "__main__":
    sys.exit(main())
