# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence for a release that lies on the controller.

Each release has a directory:

    attestation.json    what the CI says of a commit; .sig beside it where signers are named
    *.xml               JUnit files, each with a property `commit`, or with its sha256 in the attestation
    review.yml          who reviewed it
    documentation.yml   where the customers' documentation is, when it is not in the repository

Reading it ends with a claim for each gate, whatever the files hold. The host compares the commits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Callable

import yaml
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._evidence import (
    DOCUMENTATION,
    NOTES,
    RELEASE_GATES,
    REVIEW,
    TESTS,
    WINDOW,
    Claim,
    EvidenceError,
    GateEvidence,
)
from ansible_collections.slipway.release.plugins.module_utils._observation import parse_timestamp
from ansible_collections.slipway.release.plugins.module_utils._plan_adopt import VERSION
from ansible_collections.slipway.release.plugins.module_utils._reader import Reader, like, one_of

from ._junit import SIZE_LIMIT, Suite, read_junit
from ._plain_yaml import load_yaml
from ._signatures import signer_of
from ._window import Window, read_window

RECORD_LIMIT, FILES_LIMIT = 100_000, 1000
PASSED = "passed"
_WIDTH = 500
_FORMAT = "1"
_COMMIT = like(re.compile(r"[0-9a-f]{40}"), "must be a full commit id, 40 hexadecimal digits")
_SHA256 = like(re.compile(r"[0-9a-f]{64}"), "must be a SHA-256, 64 hexadecimal digits")
_FILE = like(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.xml"), "must be the name of an .xml file beside it")


@dataclass(frozen=True)
class Settings:
    """The variables of the role release.

    :param directory: holds a directory for each release.
    :param notes: where the release notes go.
    :param waived: for each gate that need not hold, why and who says so.
    :param override: why this run may be outside the window.
    :param allowed_signers: whose signatures the records need; they need none when None.
    """

    directory: Path
    notes: Path
    waived: Mapping[str, Claim] = field(default_factory=dict)
    window: Window | None = None
    override: str | None = None
    allowed_signers: Path | None = None


def parse(given: Mapping[str, Any]) -> Settings:
    """Read the variables.

    :raises EvidenceError: listing every problem, each with its path.
    """
    problems: list[str] = []
    reader = Reader("release", given, problems)
    waived = reader.inside("gates", _waivers) or {}
    window = reader.inside("window", read_window)
    override = reader.text("window_override")
    directory = reader.text("evidence_directory", required=True)
    notes = reader.text("notes_directory", required=True)
    signers = reader.text("allowed_signers")
    reader.refuse_unknown()
    if problems:
        raise EvidenceError("; ".join(text.replace("release.", "release_", 1) for text in problems))
    return Settings(
        Path(directory or ""), Path(notes or ""), waived, window, override, Path(signers) if signers else None
    )


def _waivers(reader: Reader) -> dict[str, Claim]:
    found = {}
    for gate in RELEASE_GATES:
        if isinstance(reader.raw(gate), str):
            reader.text(gate, one_of(("required",)))
        else:
            waiver = reader.inside(gate, _waiver)
            if waiver is not None:
                found[gate] = waiver
    return found


def _waiver(reader: Reader) -> Claim:
    why, by = reader.text("waived", required=True), reader.text("by", required=True)
    return Claim(None, why or "", by=by)


def read_evidence(settings: Settings, version: str, now: datetime) -> GateEvidence:
    """Look at everything that the controller has; what is wrong is in the claims."""
    if not VERSION.fullmatch(version):
        # it names no directory; the host refuses it before it looks at any gate
        return GateEvidence(settings.waived)
    files = _Files(settings.directory / version, settings.allowed_signers)
    looks: dict[str, Callable[[], Claim | None]] = {
        TESTS: files.tests,
        REVIEW: files.review,
        NOTES: lambda: _place_for_notes(settings.notes),
        DOCUMENTATION: files.documentation,
        WINDOW: lambda: _window(settings, now),
    }
    claims = dict(settings.waived)
    for gate, look in looks.items():
        if gate in claims:
            continue
        try:
            claim = look()
        except EvidenceError as error:
            claim = Claim(ok=False, detail=str(error))
        except OSError as error:
            claim = Claim(ok=False, detail=f"{error.filename}: {error.strerror}")
        if claim is not None:
            claims[gate] = claim
    return GateEvidence(claims)


def _place_for_notes(directory: Path) -> None:
    """Nothing is known of the notes here but whether they can be written."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise EvidenceError(f"they cannot be written to {directory}: mend release_notes_directory")


def _window(settings: Settings, now: datetime) -> Claim:
    window = settings.window
    if window is None:
        raise EvidenceError("no window is agreed: set release_window, or waive release_gates.window")
    if window.contains(now):
        return Claim(ok=True, detail=f"inside {window.description}")
    there = f"{now.astimezone(window.zone):%a %H:%M}"
    outside = f"it is {there} there, outside {window.description}"
    if settings.override is not None:
        return Claim(None, f"{outside}: {settings.override}")
    raise EvidenceError(
        f"{outside}: wait until {window.opens(now):%a %Y-%m-%d %H:%M}, or say why not: "
        "-e \"release_window_override='WHY'\""  # without the outer quotes Ansible takes the first word alone
    )


class _Files:
    """The directory of one release."""

    def __init__(self, directory: Path, signers: Path | None) -> None:
        self.directory = directory
        self._signers = signers

    def tests(self) -> Claim:
        """What a CI and test runners say."""
        attested = self._record("attestation", _attestation)
        suites = self._suites(attested)
        if attested is None and not suites:
            raise EvidenceError(
                f"there is no evidence in {self.directory}: put the CI's attestation.json or its JUnit files there"
            )
        if attested is None and self._signers is not None:
            raise EvidenceError(f"there is no signed attestation.json in {self.directory}: let the CI write one")
        commits = {attested["commit"]} if attested else set()
        commits |= {suite.commit or "" for suite in suites.values()}
        if len(commits) > 1:
            raise EvidenceError(f"the files in {self.directory} are for {len(commits)} commits: keep those of one")
        for name, suite in suites.items():
            if suite.failures:
                raise EvidenceError(
                    f"{self.directory / name}: {suite.failures} of {suite.tests} tests failed "
                    f"({'; '.join(suite.failed)}): mend the release"
                )
        if attested and attested["result"] != PASSED:
            raise EvidenceError(f"the CI says {attested['result']} ({_source(attested)}): mend the release")
        ran = sum(suite.tests - suite.skipped for suite in suites.values())
        if suites and not ran:
            raise EvidenceError(f"no test ran, by the JUnit files in {self.directory}: run them")
        said = [f"{ran} tests passed"] if suites else []
        said += [f"passed in the CI ({_source(attested)})"] if attested else []
        return Claim(ok=True, detail=", ".join(said), commit=commits.pop())

    def _suites(self, attested: Mapping[str, Any] | None) -> dict[str, Suite]:
        listed = attested["junit"] if attested else {}
        paths = sorted(self.directory.glob("*.xml"))
        if len(paths) > FILES_LIMIT:
            raise EvidenceError(f"{self.directory} has {len(paths)} JUnit files, more than {FILES_LIMIT}")
        missing = sorted(set(listed) - {path.name for path in paths})
        if missing:
            raise EvidenceError(f"{self.directory / missing[0]} is named in the attestation and is not there")
        found = {}
        for path in paths:
            content = _content(path, SIZE_LIMIT)
            try:
                suite = read_junit(content)
            except EvidenceError as error:
                raise EvidenceError(f"{path}: {error}") from None
            if attested and path.name in listed:
                if hashlib.sha256(content).hexdigest() != listed[path.name]:
                    raise EvidenceError(f"{path} is not the file that the attestation names: its sha256 differs")
                suite = replace(suite, commit=suite.commit or attested["commit"])
            if suite.commit is None or (self._signers is not None and path.name not in listed):
                raise EvidenceError(
                    f"{path} says for no commit: give it a property commit, or let attestation.json name its sha256"
                )
            found[path.name] = suite
        return found

    def review(self) -> Claim:
        """Who reviewed the release."""
        record = self._record("review", _review)
        if record is None:
            raise EvidenceError(
                f"there is no record in {self.directory}: write review.yml there, with commit, reviewer, kind (self or "
                "peer) and when"
            )
        detail = f"{record['kind']} review by {record['reviewer']}, {record['when']}"
        return Claim(ok=True, detail=detail, commit=record["commit"])

    def documentation(self) -> Claim | None:
        """Where the documentation is; without a record the repository has it."""
        record = self._record("documentation", _documentation)
        return (
            None
            if record is None
            else Claim(ok=True, detail=f"{record['url']}, {record['when']}", commit=record["commit"])
        )

    def _record(self, name: str, build: Callable[[Reader], dict[str, Any]]) -> dict[str, Any] | None:
        """A record that is there, checked and signed as asked."""
        paths = [self.directory / f"{name}.{suffix}" for suffix in ("json", "yml")]
        there = [path for path in paths if path.exists()]
        if not there:
            return None
        if len(there) > 1:
            raise EvidenceError(f"{there[0]} and {there[1].name} are both there: keep one")
        content = _content(there[0], RECORD_LIMIT)
        signer = signer_of(content, Path(f"{there[0]}.sig"), self._signers) if self._signers else None
        problems: list[str] = []
        reader = Reader(str(there[0]), _loaded(there[0], content), problems)
        record = build(reader)
        reader.refuse_unknown()
        if problems:
            raise EvidenceError(_line("; ".join(problems)))
        return {**record, "signer": signer}


def _source(attested: Mapping[str, Any]) -> str:
    signed = f"signed by {attested['signer']}" if attested["signer"] else None
    return ", ".join(filter(None, (attested["url"], attested["when"], signed)))


def _line(text: str) -> str:
    """One line of bounded length: the names of keys are somebody else's."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_WIDTH]


def _content(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise EvidenceError(f"{path} is no file")
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror or error}") from error
    if len(content) > limit:
        raise EvidenceError(f"{path} is larger than {limit // 1000} kB")
    return content


def _loaded(path: Path, content: bytes) -> object:
    """What a record holds; in YAML every value is the text that stands there."""
    try:
        return json.loads(content) if path.suffix == ".json" else load_yaml(content, yaml.BaseLoader)
    except SlipwayError as error:
        raise EvidenceError(f"{path}: {error}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise EvidenceError(f"{path} is no {kind} that can be read ({type(error).__name__})") from None


def _time(value: str) -> str | None:
    try:
        parse_timestamp(value)
    except ValueError:
        return f"must be an ISO 8601 time with a zone, not {value!r}"
    return None


def _common(reader: Reader) -> dict[str, Any]:
    return {"commit": reader.text("commit", _COMMIT, required=True), "when": reader.text("when", _time, required=True)}


def _attestation(reader: Reader) -> dict[str, Any]:
    told = reader.raw("format", required=True)
    # a number in JSON, text in YAML
    if not isinstance(told, (int, str)) or str(told) != _FORMAT:
        reader.problem("format", f"must be {_FORMAT}")
    listed = reader.items("junit", _listed)
    return {
        **_common(reader),
        "result": reader.text("result", one_of((PASSED, "failed")), required=True),
        "url": reader.text("url"),
        "junit": dict(listed),
    }


def _listed(reader: Reader) -> tuple[str, str]:
    return reader.text("file", _FILE, required=True) or "", reader.text("sha256", _SHA256, required=True) or ""


def _review(reader: Reader) -> dict[str, Any]:
    return {
        **_common(reader),
        "reviewer": reader.text("reviewer", required=True),
        "kind": reader.text("kind", one_of(("self", "peer")), required=True),
    }


def _documentation(reader: Reader) -> dict[str, Any]:
    return {**_common(reader), "url": reader.text("url", required=True)}
