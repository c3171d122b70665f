"""Constant load on the sample application, as its users make it, and an account of what became of each part of it.

Requests are due at fixed times, whether earlier ones were answered or not, and their time is counted from then: a stall
shows in all that were due while it lasted. Some read pages, some create campaigns, some ask the JSON API for what was
just created, some launch a campaign, which is a Sidekiq job. Beside them subscribers follow the progress of campaigns.
"""

from __future__ import annotations

import asyncio
import heapq
import http.client
import itertools
import json
import math
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urlsplit

from lab._cable import Subscriber
from lab._http import Answer, AnswerError, Connection, IdleClosedError, request

RATE = 20.0  # requests a second, of all connections together
CONNECTIONS = 20
SUBSCRIBERS = 200
PORT = 80
PATIENCE = 10.0  # seconds from when a request is due to when it has failed
SLOWEST = 5  # requests that a summary names
READY_AFTER = 60.0  # seconds until all subscribers are subscribed
ARRIVALS = 40.0  # subscribers a second that come at the beginning
MARGIN = 2.0  # seconds that a broadcast may be late
JOBS_END_AFTER = 90.0  # seconds in which a job that failed is tried again
EMAIL = "operator@example.test"
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')
CAMPAIGN = re.compile(r"/campaigns/([0-9]+)")
PAGES = (("/campaigns", "<h1>Campaigns</h1>"), ("/agents", "<h1>Agents</h1>"))
# What a connection asks for in turn: half are pages; each fifth POST launches the campaign that the fourth created.
TURNS = ("page", "post", "page", "json")
POSTS_A_LAUNCH = 5
NOBODY = "-nobody-"  # no campaign is called so

# Each execution of LaunchCampaignJob ends with one UPDATE to `done`: a trigger leaves a row of each. Few agents are
# online, so that a job is short and makes few rows.
PREPARE = """
CREATE SCHEMA load;
CREATE TABLE load.executions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, campaign_id bigint NOT NULL, ended timestamptz NOT NULL);
CREATE FUNCTION load.note_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO load.executions (campaign_id, ended) VALUES (NEW.id, clock_timestamp());
  RETURN NULL;
END $$;
CREATE TRIGGER note_execution AFTER UPDATE OF status ON public.campaigns
  FOR EACH ROW WHEN (NEW.status = 'done') EXECUTE FUNCTION load.note_execution();
UPDATE public.agents SET status = 'offline' WHERE id > 10;
"""
CAMPAIGNS = "SELECT name, count(*) FROM campaigns WHERE starts_with(name, '{prefix}') GROUP BY name"
EXECUTIONS = """
SELECT e.campaign_id, count(*), max(extract(epoch FROM e.ended))
FROM load.executions e JOIN campaigns c ON c.id = e.campaign_id WHERE starts_with(c.name, '{prefix}') GROUP BY 1
"""


@dataclass(frozen=True)
class Request:
    """One request and what became of it.

    :param kind: page, post or json.
    :param due: when it was due, in seconds since the epoch.
    :param seconds: from then until its fate was known.
    :param failure: why it failed; None when it was answered well.
    :param retried: whether it was sent once more because its connection had been idle for too long.
    :param created: the name of the campaign that it asked for.
    :param launched: the number of the campaign that it launched.
    """

    kind: str
    due: float
    seconds: float
    failure: str | None = None
    retried: bool = False
    created: str | None = None
    launched: int | None = None


@dataclass(frozen=True)
class Summary:
    """Requests in figures; latencies in seconds.

    :param failures: how many failed, by kind and reason.
    :param slowest: those that took longest, longest first.
    """

    count: int
    failures: Counter[str]
    retried: int
    p50: float
    p99: float
    slowest: tuple[Request, ...]

    @property
    def longest(self) -> float:
        """How long the longest took; 0 of none."""
        return self.slowest[0].seconds if self.slowest else 0.0

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.failures.total()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed; 0 of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def summary(requests: Iterable[Request]) -> Summary:
    """Sum requests up."""
    every = list(requests)
    times = [item.seconds for item in every]
    return Summary(
        len(every),
        Counter(f"{item.kind}: {item.failure}" for item in every if item.failure is not None),
        sum(item.retried for item in every),
        percentile(times, 0.5),
        percentile(times, 0.99),
        tuple(heapq.nlargest(SLOWEST, every, key=lambda item: item.seconds)),
    )


@dataclass(frozen=True)
class Effects:
    """What the acknowledged requests left behind, and what subscribers saw.

    :param writes: acknowledged campaigns; `writes_lost` are not in the database, `writes_doubled` more than once.
    :param jobs: acknowledged launches; `jobs_lost` never ended, `jobs_doubled` were done more than once.
    :param disconnects: subscriptions that ended; `refusals` are attempts to come back that failed.
    :param gap: the longest time that a subscriber was without a subscription, in seconds.
    :param missed: broadcasts that a subscriber did not get while it was subscribed.
    """

    writes: int
    writes_lost: int
    writes_doubled: int
    jobs: int
    jobs_lost: int
    jobs_doubled: int
    disconnects: Counter[str]
    refusals: Counter[str]
    gap: float
    missed: int

    @property
    def lost_or_doubled(self) -> int:
        """How many writes and jobs are not there exactly once."""
        return self.writes_lost + self.writes_doubled + self.jobs_lost + self.jobs_doubled


class _ContentError(Exception):
    """An answer that is not the one expected."""


class LoadError(Exception):
    """The load could not begin."""


@dataclass(frozen=True)
class Target:
    """Where the load goes.

    :param name: the host name that the application answers to.
    :param password: the operator's.
    """

    address: str
    name: str
    password: str
    port: int = PORT


class _Window:
    """A browser window: one connection, a session of its own, and the campaign that it created last."""

    def __init__(self, target: Target) -> None:
        self.connection = Connection(target.address, target.port)
        self.headers = {"Host": target.name}
        self.number: int | None = None
        self.retried = False
        self._target = target
        self._token = ""
        self._marker: str | None = None
        self._pages = 0
        self._posts = 0

    def another(self) -> _Window:
        """Open a window for which the same person is logged in."""
        other = _Window(self._target)
        other.headers = dict(self.headers)
        other._token = self._token
        return other

    @property
    def launches(self) -> bool:
        """Whether its next POST launches the campaign that it created last."""
        return self.number is not None and self._posts % POSTS_A_LAUNCH == POSTS_A_LAUNCH - 1

    async def login(self, password: str) -> None:
        """Log in, and read a page whose token belongs to the session; LoadError when nobody is let in."""
        await self._send("GET", "/login")
        answer = await self._send("POST", "/login", {"session[email]": EMAIL, "session[password]": password})
        try:
            _expect(answer, http.client.SEE_OTHER)
            await self.page()
        except _ContentError as error:
            raise LoadError(f"login: {error}") from error

    async def page(self) -> None:
        """Read a list."""
        path, expected = PAGES[self._pages % len(PAGES)]
        self._pages += 1
        answer = await self._send("GET", path)
        _expect(answer, http.client.OK)
        if expected not in answer.text:
            raise _ContentError(f"{path} without {expected}")

    async def json(self) -> None:
        """Ask for what was created last: it must be there, once."""
        answer = await self._send("GET", f"/campaigns.json?{urlencode({'name': self._marker or NOBODY})}")
        _expect(answer, http.client.OK)
        try:
            names = [item["name"] for item in json.loads(answer.body)]
        except (ValueError, TypeError, KeyError) as error:
            raise _ContentError("no list of campaigns") from error
        if names != ([self._marker] if self._marker else []):
            raise _ContentError(f"{len(names)} campaigns of one name")

    async def create(self, marker: str) -> None:
        """Create a campaign, which is then the last one."""
        self._posts += 1
        answer = await self._send("POST", "/campaigns", {"campaign[name]": marker, "campaign[priority]": "1"})
        self.number = _campaign(answer)
        self._marker = marker

    async def launch(self) -> None:
        """Launch the campaign that it created last."""
        self._posts += 1
        answer = await self._send("POST", f"/campaigns/{self.number}/launch", {})
        if _campaign(answer) != self.number:
            raise _ContentError("sent to another campaign")

    async def _send(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        """Send a request as a browser does, once more where the connection had been idle for too long."""
        headers, body = self.headers, b""
        if form is not None:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({**form, "authenticity_token": self._token}).encode()
        data = request(method, path, headers, body)
        self.retried = False
        try:
            answer = await self.connection.send(data)
        except IdleClosedError:
            self.retried = True
            answer = await self.connection.send(data)
        if "set-cookie" in answer.headers:
            self.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
        token = TOKEN.search(answer.text)
        if token:
            self._token = token[1]
        return answer


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise _ContentError(f"status {answer.status}")


def _campaign(answer: Answer) -> int:
    _expect(answer, http.client.SEE_OTHER)
    path = urlsplit(answer.headers.get("location", "")).path
    match = CAMPAIGN.fullmatch(path)
    if match is None:
        raise _ContentError(f"sent to {path or 'nowhere'}")
    return int(match[1])


class Load:
    """The load on one host; it begins once all subscribers are subscribed, and ends when told to or by itself.

    :param duration: seconds after which it ends.
    :param rate: requests a second, over all `connections` together.
    """

    def __init__(
        self,
        target: Target,
        duration: float,
        *,
        rate: float = RATE,
        connections: int = CONNECTIONS,
        subscribers: int = SUBSCRIBERS,
    ) -> None:
        self.prefix = f"load-{secrets.token_hex(4)}-"
        self._target = target
        self._duration = duration
        self._rate = rate
        self._connections = connections
        self._subscribers = [Subscriber(target.address, target.port) for _ in range(subscribers)]
        self._requests: list[Request] = []
        self._numbers = itertools.count(1)
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._problem: Exception | None = None
        self._ended = 0.0
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            self._thread.join()
            raise LoadError(f"no load on {self._target.address}: {self._problem}") from self._problem
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._problem is not None:
            raise LoadError(f"the load broke off: {self._problem}") from self._problem

    def within(self, begun: float, ended: float) -> list[Request]:
        """Return the requests that were due between two moments, in seconds since the epoch."""
        return [item for item in list(self._requests) if begun <= item.due <= ended]

    def effects(self, query: Callable[[str], str]) -> Effects:
        """Look for what the acknowledged requests should have left, once jobs had time to end.

        :param query: asks the application's database, in which PREPARE was run before the load; columns come parted
            by `|`.
        """
        well = [item for item in self._requests if item.failure is None]
        writes = {item.created for item in well if item.created is not None}
        jobs = {item.launched for item in well if item.launched is not None}
        deadline = time.monotonic() + JOBS_END_AFTER
        while jobs - (done := self._executions(query)).keys() and time.monotonic() < deadline:
            time.sleep(1)
        found = {name: int(count) for name, count in _rows(query(CAMPAIGNS.format(prefix=self.prefix)))}
        broadcasts = [(number, at) for number, (_, at) in done.items()]
        return Effects(
            writes=len(writes),
            writes_lost=len(writes - found.keys()),
            writes_doubled=sum(count > 1 for count in found.values()),
            jobs=len(jobs),
            jobs_lost=len(jobs - done.keys()),
            jobs_doubled=sum(count > 1 for count, _ in done.values()),
            disconnects=Counter(reason for item in self._subscribers for reason in item.losses),
            refusals=Counter(reason for item in self._subscribers for reason in item.refusals),
            gap=max((item.longest_gap(self._ended) for item in self._subscribers), default=0.0),
            missed=sum(item.missed(broadcasts, MARGIN) for item in self._subscribers),
        )

    def _executions(self, query: Callable[[str], str]) -> dict[int, tuple[int, float]]:
        """How often each campaign's job was done, and when for the last time, in seconds since the epoch."""
        rows = _rows(query(EXECUTIONS.format(prefix=self.prefix)))
        return {int(number): (int(count), float(at)) for number, count, at in rows}

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread that waits must hear of it
            self._problem = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        first = _Window(self._target)
        try:
            async with asyncio.timeout(READY_AFTER):
                await first.login(self._target.password)
        finally:
            first.connection.close()
        async with asyncio.TaskGroup() as followers:
            following = await self._follow(followers, first)
            self._ready.set()
            begun = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as workers:
                for number in range(self._connections):
                    workers.create_task(self._ask(number, begun, first))
            self._ended = time.time()
            for task in following:
                task.cancel()

    async def _follow(self, group: asyncio.TaskGroup, window: _Window) -> list[asyncio.Task[None]]:
        """Let the subscribers come, and return when all are subscribed."""
        tasks = []
        for item in self._subscribers:
            item.headers = {**window.headers, "Origin": f"http://{self._target.name}"}
            tasks.append(group.create_task(item.run()))
            await asyncio.sleep(1 / ARRIVALS)
        async with asyncio.timeout(READY_AFTER):
            for item in self._subscribers:
                await item.subscribed.wait()
        return tasks

    async def _ask(self, number: int, begun: float, first: _Window) -> None:
        """Make the requests of one connection, each when it is due, or as soon as the one before is over."""
        clock = asyncio.get_running_loop().time
        epoch = time.time() - clock()
        window = first.another()
        for turn in itertools.count():
            after = number / self._rate + turn * self._connections / self._rate
            if after >= self._duration:
                break
            due = begun + after
            await asyncio.sleep(max(0.0, due - clock()))
            if self._ending.is_set():
                break
            # the connections do not all ask for the same at the same time
            self._requests.append(await self._one(window, TURNS[(turn + number) % len(TURNS)], due, epoch))
        window.connection.close()

    async def _one(self, window: _Window, kind: str, due: float, epoch: float) -> Request:
        failure = created = launched = None
        try:
            async with asyncio.timeout_at(due + PATIENCE):
                if kind == "page":
                    await window.page()
                elif kind == "json":
                    await window.json()
                elif window.launches:
                    launched = window.number
                    await window.launch()
                else:
                    created = f"{self.prefix}{next(self._numbers)}."
                    await window.create(created)
        except TimeoutError:
            failure = f"no answer in {PATIENCE:.0f} s"
        except (_ContentError, AnswerError) as error:
            failure = str(error)
        except OSError as error:
            failure = type(error).__name__
        seconds = asyncio.get_running_loop().time() - due
        return Request(kind, due + epoch, seconds, failure, window.retried, created, launched)


def _rows(printed: str) -> list[list[str]]:
    return [line.split("|") for line in printed.splitlines()]
