# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of a release: what the controller claims, and what the application's repository has at its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, TypeVar

from ._changelog import SIZE_LIMIT, CustomerNotes, Notes, customer_notes, parse
from ._errors import CommandError, SlipwayError
from ._evidence import CHANGELOG, DOCUMENTATION, NOTES, REVIEW, TESTS, WINDOW, Claim, EvidenceError, GateEvidence
from ._once import Once

if TYPE_CHECKING:
    from ._site import Site

_VERSION = "${version}"
_T = TypeVar("_T")


class UnseenError(SlipwayError):
    """A gate that could not be looked at and refuses nothing."""


class ExcusedError(SlipwayError):
    """A gate that need not hold, by somebody's decision.

    :param why: the reason.
    :param by: who decided; None when it was whoever runs this.
    """

    def __init__(self, why: str, by: str | None) -> None:
        self.why = why
        self.by = by
        super().__init__(f"need not hold ({by or 'this run'}): {why}")


@dataclass(frozen=True)
class Papers:
    """What the repository has at the release's commit.

    :param documentation: how many characters the customers' documentation has; None when there is none.
    :param migrations: the names of its migration files.
    """

    changelog: str | None
    documentation: int | None
    migrations: list[str]


class ReleaseGates:
    """The gates of one release. A gate returns what it saw, or raises what is wrong.

    :param version: the release that is asked for.
    :param evidence: what the controller knows; None when nothing was handed on.
    :param commit: what the release's ref names; may raise CommandError.
    :param opens: whether a run begins when all gates hold; else somebody looks only.
    :param standing: whether the release is the one that runs already.
    """

    def __init__(  # noqa: PLR0913 - what a request is made of
        self,
        site: Site,
        version: str,
        evidence: GateEvidence | None,
        commit: Callable[[], str | None],
        *,
        opens: bool,
        standing: bool,
    ) -> None:
        self._site = site
        self._version = version
        self._claims = (evidence or GateEvidence()).claims
        self._commit = commit
        self._opens = opens
        self._standing = standing
        self._papers = Once(self._read_papers)
        self._notes = Once(self._read_notes)

    def tests(self) -> str:
        """All tests pass, by evidence for exactly this commit."""
        return self._claimed(TESTS)

    def review(self) -> str:
        """Somebody reviewed exactly this commit."""
        return self._claimed(REVIEW)

    def window(self) -> str:
        """The agreed low-usage window is open. Whoever looks only may do so at any time."""
        claim = self._claim(WINDOW)
        if claim.ok is False and not self._opens:
            raise UnseenError(claim.detail)
        return self._claimed(WINDOW)

    def changelog(self) -> str:
        """The changelog has an entry for this version."""
        self._claim(CHANGELOG)
        notes = self._notes()
        return f"{sum(map(len, notes.sections.values()))} items of {notes.date}"

    def release_notes(self) -> str:
        """There is something to tell customers."""
        self._holds(self._claim(NOTES))
        told = customer_notes(self._of_changelog(self._notes))
        if told.empty:
            raise SlipwayError(
                f"the changelog's entry for {self._version} tells customers nothing: write what concerns them below "
                "Added, Changed, Fixed, Breaking or Action required"
            )
        return _counted(told)

    def documentation(self) -> str:
        """The documentation for customers is there."""
        claim = self._claim(DOCUMENTATION)
        if claim.detail:
            return self._holds(claim)
        size, path = self._of_changelog(self._papers).documentation, self._documentation_path
        if not size:
            raise SlipwayError(
                f"{path} is {'not there' if size is None else 'empty'} at {self._known_commit[:12]}: write it, or put "
                "documentation.yml with commit, url and when beside the other evidence"
            )
        return f"{path}, {size} characters"

    def _of_changelog(self, read: Callable[[], _T]) -> _T:
        """What is read for the gate `changelog` too, which says what is wrong with it where it has to hold."""
        try:
            return read()
        except UnseenError:
            raise
        except SlipwayError:
            if self._excused(CHANGELOG):
                raise
            raise UnseenError("not looked at: the gate changelog says why") from None

    @property
    def notes(self) -> Notes | None:
        """The release's entry in the changelog, where it has one that can be read and does not run already."""
        try:
            return None if self._standing else self._notes()
        except SlipwayError:
            return None

    @property
    def migrations(self) -> list[str] | None:
        """The names of the release's migration files, where they can be read and it does not run already."""
        try:
            return None if self._standing else self._papers().migrations
        except SlipwayError:
            return None

    def _claimed(self, gate: str) -> str:
        claim = self._claim(gate)
        if not claim.detail:
            raise EvidenceError("the controller handed on nothing about it: slipway.release.read_evidence reads it")
        return self._holds(claim)

    def _claim(self, gate: str) -> Claim:
        """What the controller says; nothing where it says nothing. Raises where the gate need not be looked at."""
        if self._standing:
            raise UnseenError(f"{self._version} runs already")
        claim = self._claims.get(gate, Claim(ok=True, detail=""))
        if claim.ok is None:
            raise ExcusedError(claim.detail, claim.by)
        return claim

    def _excused(self, gate: str) -> bool:
        return gate in self._claims and self._claims[gate].ok is None

    def _holds(self, claim: Claim) -> str:
        if not claim.ok:
            raise SlipwayError(claim.detail)
        if claim.commit is not None and claim.commit != self._known_commit:
            raise SlipwayError(
                f"the evidence is for commit {claim.commit[:12]}, and {self._version} is {self._known_commit[:12]}: "
                "bring evidence for exactly this commit"
            )
        return claim.detail

    @property
    def _known_commit(self) -> str:
        try:
            commit = self._commit()
        except CommandError:
            commit = None
        if commit is None:
            raise UnseenError("not looked at: the commit is not known, the gate release says why")
        return commit

    def _read_notes(self) -> Notes:
        text, path = self._papers().changelog, self._site.profile.repository.changelog
        if text is None:
            raise SlipwayError(
                f"{path} is not in the repository at {self._known_commit[:12]}: write one with an entry for "
                f"{self._version}, or mend application.repository.changelog"
            )
        return parse(text, self._version)

    @property
    def _documentation_path(self) -> str:
        return self._site.profile.repository.documentation.replace(_VERSION, self._version)

    def _read_papers(self) -> Papers:
        commit, profile, checkout = self._known_commit, self._site.profile, self._site.checkout
        try:
            with checkout.holding(commit) as place:
                documentation = checkout.file_at(place, commit, self._documentation_path, SIZE_LIMIT)
                return Papers(
                    checkout.file_at(place, commit, profile.repository.changelog, SIZE_LIMIT),
                    None if documentation is None else len(documentation.strip()),
                    checkout.names_at(place, commit, profile.migrations_path),
                )
        except CommandError as error:
            raise SlipwayError(
                f"commit {commit[:12]} cannot be read from {profile.repository.url} ({error.reason}): push it, or mend "
                "its access"
            ) from error


def _counted(told: CustomerNotes) -> str:
    parts = (("new", told.new), ("breaking", told.breaking), ("action required", told.action_required))
    counted = [f"{len(items)} {name}" for name, items in (*parts, ("fixed", told.fixed)) if items]
    return ", ".join(counted)
