# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages, loaded as a browser loads them: the page, then its files over a handful of connections."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ._clock import Clock
from ._html import Document
from ._http import HttpError, HttpTimeoutError, Response
from ._observation import Observation, timestamp
from ._profile import Page
from ._session import LoginError, Session, Visitor

CONNECTIONS = 6
MAX_ASSETS = 300
SHOWN = 3
REDIRECTS = 3
_FILES_ALONE = re.compile(r"\d+ of \d+ assets failed: ")


def probe_page(session: Session, page: Page, clock: Clock) -> Observation:
    """Load a page; the value is the time until the last of its files has arrived."""

    def seen(value: float | None, detail: str, *, ok: bool) -> Observation:
        unit = None if value is None else "s"
        return Observation("page", page.path, timestamp(clock.now()), value, unit, ok=ok, detail=detail)

    try:
        visitor = session.visitor()
    except LoginError as error:
        return seen(None, str(error), ok=False)
    begun = clock.monotonic()
    try:
        answer = visitor.get(page.path)
    except HttpError as error:
        late = isinstance(error, HttpTimeoutError)
        return seen(round(clock.monotonic() - begun, 3) if late else None, str(error), ok=False)
    wrong = _wrong(visitor, page, answer)
    document = visitor.document(page.path, answer) if wrong is None and answer.html else Document()
    bodies, problems = _load(visitor, document, clock)
    seconds = round(clock.monotonic() - begun, 3)
    problems = [wrong, *problems] if wrong else problems
    size = len(answer.body) + sum(bodies)
    parts = ["; ".join(problems)] if problems else [f"{answer.status}, {len(bodies)} assets, {size / 1000:.0f} kB"]
    if document.outside:
        parts.append(f"refers to other hosts: {_listed(document.outside)}")
    return seen(seconds, "; ".join(parts), ok=not problems)


def answered(seen: Observation) -> bool:
    """Whether a page was right by itself, whatever became of its files: a proxy may be the one that has them."""
    return seen.ok is True or _FILES_ALONE.match(seen.detail) is not None


def _wrong(visitor: Visitor, page: Page, answer: Response) -> str | None:
    wrong = None if answer.ok else visitor.wrong(answer, (200,))
    if wrong is None and page.contains is not None and page.contains not in answer.text:
        wrong = f"{answer.status}, but does not contain {page.contains!r}"
    return wrong


class _NoFileError(Exception):
    """A file that is not there; the text says why in a few words."""


def _file(visitor: Visitor, path: str, left: Callable[[], float]) -> Response:
    """Fetch a file, wherever it leads; one that lies on another host, as Active Storage's may, is not fetched.

    :param left: seconds that it may take from now on.
    """
    following = path
    for _ in range(REDIRECTS + 1):
        if left() <= 0:
            raise _NoFileError("not loaded in time")
        answer = visitor.client.get(following, left())
        if visitor.leads_away(answer) and answer.redirect:
            return answer
        onward = visitor.onward(answer) if answer.redirect and not visitor.sent_to_login(answer) else None
        if onward is None:
            return _whole(answer, moved=following != path)
        following = onward
    raise _NoFileError(f"more than {REDIRECTS} redirects")


def _whole(answer: Response, *, moved: bool) -> Response:
    if not answer.ok:
        raise _NoFileError(str(answer.status))
    if moved and answer.html:
        # what an application shows instead of a file that it has not
        raise _NoFileError("a page in its place")
    return answer


def _load(visitor: Visitor, document: Document, clock: Clock) -> tuple[list[int], list[str]]:
    """Fetch the files of a page; returns the sizes of those that came, and what was wrong with the others."""
    assets = document.assets[:MAX_ASSETS]
    if not assets:
        return [], []
    end = clock.monotonic() + visitor.profile.critical_timeout

    def fetch(path: str) -> Response | str:
        try:
            return _file(visitor, path, lambda: end - clock.monotonic())
        except (HttpError, _NoFileError) as error:
            return f"{path.partition('?')[0]}: {error}"

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answers = list(pool.map(fetch, assets))
    failures = [item for item in answers if isinstance(item, str)]
    problems = [f"{len(failures)} of {len(assets)} assets failed: {_listed(failures)}"] if failures else []
    if len(document.assets) > MAX_ASSETS:
        problems.append(f"names {len(document.assets)} assets, more than {MAX_ASSETS}")
    return [len(item.body) for item in answers if isinstance(item, Response)], problems


def _listed(items: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(item[:200] for item in items[:SHOWN]) + more
