from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._log_lines import LONGEST, Reader
from ansible_collections.slipway.release.plugins.module_utils._log_signatures import (
    LONGEST_SAMPLE,
    LONGEST_TEXT,
    MOST,
    OTHER,
    Log,
    bucket,
    masked,
    milliseconds,
    quantile,
    without_secrets,
)
from ansible_collections.slipway.release.plugins.module_utils._profile import Logs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.module_utils.log_samples import ERRORS, NOISE, lograge

STAMP = "2026-11-23T08:0{}:00.123456789Z "
CANARY = "Korrekt-Pferd_Batterie"


def log_of(*lines: str | bytes, rules: Logs | None = None, secrets: set[str] | None = None) -> Log:
    log = Log(rules or Logs(), secrets or set())
    for line in lines:
        log.feed((STAMP.format(1) + line).encode() if isinstance(line, str) else line)
        log.feed(b"\n")
    log.end()
    return log


def told(reader: Reader, line: str) -> object:
    found = reader.read(line.encode())
    return found and (found[1]._replace(duration=None), found[2])


def figures(log: Log) -> dict[str, int]:
    return {what: sum(item[0] for item in blocks) for what, blocks in log.counts()}


@pytest.mark.promise("P1")
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_signature_in_every_format(name: str) -> None:
    lines, text = ERRORS[name]
    log = log_of(*lines, "Completed 200 OK in 3ms", *lines)
    [error] = log.errors
    assert (error.text, error.count, error.first) == (text, 2, "2026-11-23T08:01:00")
    assert figures(log)[""] == 2


@pytest.mark.promise("P1")
@pytest.mark.parametrize("name", NOISE)
def test_what_outsiders_cause_and_what_is_no_error_does_not_count(name: str) -> None:
    log = log_of(*[NOISE[name]] * 3)
    assert (log.errors, sum(figures(log).values())) == ([], 0)


@pytest.mark.promise("P2")
@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T08:00:00.1Z pid=1 tid=a class=J jid=5e1 WARN: ActiveRecord::RecordNotFound: Couldn't find Agent",
        "2026-11-23T08:00:00.1Z pid=1 tid=a WARN: Billing::Error: the tick was missed",
        "[ActiveJob] [TickJob] [0c1f] Error performing TickJob (Job ID: 0c1f) from Sidekiq(default) in 3.1ms: X (y):",
    ],
)
def test_a_job_that_fails_is_an_error_whatever_its_level(line: str) -> None:
    assert len(log_of(line).errors) == 1


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    "line, status",
    [
        (lograge(500, error="NoMethodError: x"), 500),
        (lograge(503), 503),
        (lograge(200), 200),
        (lograge("500"), 500),  # type: ignore[arg-type]
        ("method=GET path=/a format=html controller=A action=b status=500 error='X: y' duration=12.5 view=1", 500),
        ("[3f1c] Completed 500 Internal Server Error in 12.5ms (ActiveRecord: 1.2ms)", 500),
        ('10.0.0.7 - - [23/Nov/2026:08:00:00 +0000] "GET /a?token=x HTTP/1.1" 502 157 "-" "curl"', 502),
        (lograge(500)[:-3] + "x" * LONGEST, 500),
    ],
)
def test_requests_and_their_failures_are_counted(line: str, status: int) -> None:
    log = log_of(line, lograge(404))
    [block] = log.blocks.values()
    assert (block.requests, block.failed, block.lines) == (2, int(status >= 500), 0)
    assert [item.level for item in log.errors] == ([str(status)] if status >= 500 else [])


def test_lines_that_look_alike_are_read_like_the_first_of_them() -> None:
    """A pattern stands in for JSON's grammar; both must say the same."""
    lines = [
        lograge(status, duration=duration, level="INFO", message=f"[{status}] GET /{path}", path=f"/{path}", **more)
        for status in (200, 404, 500)
        for duration in (1, 12.5, -1, 1e30)
        for path in ("a", "b?x={}", 'q"uote', "{[,", "\\")
        for more in ({}, {"error": "X: 1"}, {"nested": {"a": [1]}}, {"list": ["a", "}"]}, {"view": None, "ok": True})
    ]
    lines += [
        json.dumps({"lvl": level, "tid": "1", "msg": said}) for level in ("INFO", "ERROR") for said in ("a", "b 1")
    ]
    lines += [json.dumps({"level": "INFO", "msg": 'x"}, {"level": "ERROR'}), '{"lvl":"INFO","tid":"1","msg":"a"} x']
    together, compact = Reader(), Reader()
    for line in lines * 2:
        alone = told(Reader(), line)
        assert told(together, line) == alone
        dense = json.dumps(json.loads(line), separators=(",", ":")) if line[-1] == "}" else line
        assert told(compact, dense) == alone


@pytest.mark.parametrize("statuses", [[200] * 5 + [500] * 5, [500] * 5 + [200] * 5])
def test_what_failed_is_told_from_what_did_not_though_they_differ_in_one_number(statuses: list[int]) -> None:
    said = '{{"time":"2026-11-23T08:00:0{}","method":"GET","uri":"/agents","status":{},"request_time":0.01{}}}'
    log = log_of(*(said.format(number % 10, status, number) for number, status in enumerate(statuses)))
    assert [(name, blocks[0]) for name, blocks in log.counts() if name] == [(" requests", (5, 10))]


def test_what_has_no_message_is_told_by_its_keys_also_when_others_like_it_came_before() -> None:
    lines = ['{"level":"error","redis_timeout":"x"}'] * 5 + ['{"level":"error","payment_lost":"x"}'] * 3
    assert {error.text: error.count for error in log_of(*lines).errors} == {
        "level redis_timeout": 5,
        "level payment_lost": 3,
    }


def test_other_numbers_make_no_other_signature() -> None:
    first = (
        "Error reading 3f1c2a77-1111-4222-8333-abcdefabcdef of agent-17 at 10.1.2.3:6379, 2026-11-23T08:00:00.1Z, 0x1f"
    )
    second = "Error reading aaaaaaaa-2222-4333-9444-bbbbbbbbbbb1 of agent-9 at fe80::1:80, 2027-01-01T00:00:00.9Z, 0x2e"
    assert masked(first) == masked(second) == "Error reading # of # at #, #, #"
    assert masked("""can't find "Anna" or 'Bob' in column "name" of relation 'users'""") == (
        """can't find "#" or "#" in column "name" of relation 'users'"""
    )


def test_the_profile_says_what_else_is_an_error_and_what_is_none() -> None:
    rules = Logs((re.compile("code 5"),), (re.compile("Redis"), re.compile("500 GET Flaky")))
    lines = ["code 500", "code 200", "ERROR: Redis went away", lograge(500, controller="Flaky"), lograge(500)]
    json_lines = [json.dumps({"level": "INFO", "message": f"code {number}"}) for number in (100, 200, 500, 501)]
    log = log_of(*lines, *json_lines, rules=rules)
    assert [(item.text, item.count) for item in log.errors] == [
        ("code #", 2),
        ("GET CampaignsController#show", 1),
        ("code #", 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'Parameters: {"user"=>{"password"=>"%s", "name"=>"x"}}',
        '{"level":"ERROR","message":"ERROR password=%s"}',
        "ERROR: api_key: %s",
        "ERROR: Authorization: Bearer %s, refused",
        "ERROR: Cookie: _session=%s; a=b",
        "ERROR: sent bearer %s",
        "ERROR: redis://:%s@redis:6379 refused",
        "ERROR: GET /reset?code=%s",
        "ERROR: SECRET_KEY_BASE='%s'",
        '{"level":"ERROR","msg":"{\\"token\\":\\"%s\\"}"}',
        '{"level":"ERROR","message":"secret: %s"',
        "NoMethodError (x):\napp/a.rb:1:in `token=%s'",
        '{"method":"GET","path":"/x","status":500,"error":"X: token=%s"}',
        '2026/11/23 08:00:00 [error] 1#1: *1 failed, client: x, request: "GET /?token=%s HTTP/1.1"',
        '10.0.0.7 - - [23/Nov/2026:08:00:00 +0000] "GET /a?token=%s HTTP/1.1" 502 157 "-" "curl"',
    ],
)
def test_what_looks_like_a_secret_is_in_no_output(text: str) -> None:
    log = log_of(text % CANARY)
    assert log.signatures
    assert CANARY not in repr(log.signatures)


@settings(max_examples=40, deadline=None)  # a busy machine is no failure
@given(st.text(max_size=50), st.text(max_size=300), st.booleans())
def test_a_known_secret_is_in_no_output(before: str, after: str, as_json: bool) -> None:
    said = f"ERROR: {before}{CANARY}{after}"
    line = json.dumps({"level": "ERROR", "message": said}) if as_json else said
    assert CANARY not in repr(log_of(line, secrets={CANARY}).signatures)


def test_a_secret_that_lies_across_an_end_is_not_shown_in_part() -> None:
    for size in (0, 1, 280, 290, 299, 300, 301, 1990, 1999, 2000):
        text = without_secrets(("x " * 2000)[: size % 2010] + CANARY, {CANARY})
        assert CANARY[:10] not in text
    for size in (1975, 1985, 1995, 2000):
        [error] = log_of(f"ERROR: {'k' * size}{CANARY}", secrets={CANARY, "k" * size}).errors
        assert CANARY[:6] not in repr(error)


_KEYS = st.sampled_from(["level", "message", "msg", "status", "method", "duration", "controller", "error", "tid", "x"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
_LINES = st.binary(max_size=200) | st.dictionaries(_KEYS, _VALUES, max_size=8).map(
    lambda item: json.dumps(item).encode()
)


@settings(max_examples=40, deadline=None)  # a busy machine is no failure
@given(st.lists(_LINES, max_size=20), st.booleans())
def test_nothing_makes_it_fail(lines: list[bytes], stamped: bool) -> None:
    log = log_of(*[STAMP.format(2).encode() + line if stamped else line for line in lines])
    json.dumps([vars(item) for item in log.signatures])
    for item in log.signatures:
        assert len(item.text) <= LONGEST_TEXT
        assert len(item.sample) <= LONGEST_SAMPLE
        assert (item.text + item.sample).isprintable()
    for _, blocks in log.counts():
        assert all(events <= trials for events, trials in blocks)


@settings(max_examples=40, deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=500), st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_how_it_is_cut_into_blocks_does_not_matter(content: bytes, sizes: list[int]) -> None:
    whole, pieces = Log(Logs()), Log(Logs())
    whole.feed(content)
    at = 0
    while at < len(content):
        size = sizes[at % len(sizes)]
        pieces.feed(content[at : at + size])
        at += size
    whole.end()
    pieces.end()
    assert whole.signatures == pieces.signatures


def _hostile(kind: str, number: int) -> bytes:
    word = "".join(chr(97 + int(digit)) for digit in str(number))
    return {
        "messages": f"ERROR: it broke at {word} " + "y" * 600,
        "kinds": json.dumps({f"k{word}": 1, "level": "ERROR", "message": word * 60}),
        "requests": lograge(500, controller=word * 40, action=word),
        "paths": lograge(200, controller=None, path=f"/{word * 40}"),
        "no end": "x" * 4000,
    }[kind].encode() + (b"" if kind == "no end" else b"\n")


@pytest.mark.parametrize("kind", ["messages", "kinds", "requests", "paths", "no end"])
def test_whoever_writes_it_memory_stays_small(kind: str) -> None:
    log = Log(Logs())
    for number in range(2000):
        log.feed(_hostile(kind, number))
    tracemalloc.start()
    for number in range(2000, 4000):
        log.feed(_hostile(kind, number))
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    log.end()
    assert grown < 10_000_000
    assert len(log.signatures) <= 2 * (MOST + 1)
    if kind in {"messages", "requests"}:
        assert OTHER in {item.text for item in log.errors}
        assert sum(item.count for item in log.errors) == 4000


def test_durations_are_counted_in_steps() -> None:
    log = log_of(*[lograge(200, duration=value) for value in (10, 10, 10, 100, "x", None, True)])
    assert sum(log.durations.values()) == 4
    assert quantile(log.durations, 0.5) == bucket(10)
    assert 10 < milliseconds(bucket(10)) < 10.6
    assert log.slower(bucket(50)) == [(1, 4)]
    assert [bucket(value) for value in (0, -1, float("nan"), float("inf"))] == [0, 0, 0, 0]


def test_events_are_told_apart_by_ten_minutes() -> None:
    lines: list[Any] = [f"2026-11-23T08:{minute}:00.1Z ERROR: x".encode() for minute in ("01", "09", "10", "31")]
    assert dict(log_of(*lines).counts()) == {"": [(2, 2), (1, 1), (1, 1)]}
    other = [b"2026-11-23T08:31:00.1Z ERROR: y", b"2026-11-23T08:32:00.1Z " + lograge(200).encode()]
    log = log_of(*lines, *other)
    # where little else is logged, all lines but requests are errors
    assert dict(log.counts())[""] == [(2, 2), (1, 1), (2, 3)]
    assert [(item.text, log.counts_of(item)) for item in log.errors] == [
        ("x", [(2, 2), (1, 1), (1, 3)]),
        ("y", [(0, 2), (0, 1), (1, 3)]),
    ]
