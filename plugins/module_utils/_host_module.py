# SPDX-License-Identifier: GPL-3.0-or-later
"""What calls share: how a plan is carried out for a run, and one place where an error becomes a module's failure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Callable, cast

from ._engine import Outcome, Plan, carry_out, preview
from ._errors import OutOfOrderError, RefusedError, SlipwayError, printable
from ._profile import Profile
from ._profile import secrets as profile_secrets
from ._redact import texts_in
from ._scrub import scrubbed
from ._site import Site

# A call that must not give up (a rollback) waits for the one before it to end.
PATIENT = 900.0
BRIEF = 10.0
SHORTEST_SECRET = 8


@dataclass
class Module:
    """A module's call: what it was given, and what it says beside its result.

    :param secrets: texts that its result must not hold.
    :param clock_ahead: seconds by which the host's clock is ahead of the controller's, and what the call took to come.
    """

    params: dict[str, Any]
    check_mode: bool = False
    secrets: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    clock_ahead: float = 0.0


def _told(parameters: dict[str, Any]) -> set[str]:
    """What names the release and the run: no secret, whatever else has the same value."""
    told = {parameters.get("version"), parameters.get("commit"), *(parameters.get("run") or {}).values()}
    return {str(value) for value in told}


def _plain_of(parameters: dict[str, Any], marked: Iterable[str]) -> set[str]:
    """What whoever calls knows already, for it was no secret there."""
    given = {name: value for name, value in parameters.items() if name != "environment"}
    return set(texts_in(given)) - {*marked, *profile_secrets(parameters.get("application"))} | _told(parameters)


def _secrets_of(parameters: dict[str, Any], marked: Iterable[str]) -> set[str]:
    """What has to be hidden of the values that were marked as secret.

    The environment holds plain ones too: a variable that is "1", or the release's own version, would otherwise be
    hidden in what the next task is told.
    """
    return long_enough(marked) - _told(parameters)


def long_enough(values: Iterable[str]) -> set[str]:
    """Those values that are told from other text: hidden everywhere, a short one would spoil times and names."""
    return {value for value in values if len(value) >= SHORTEST_SECRET}


def profile_of(module: Module) -> Profile:
    """The profile in the module's arguments; what was not given keeps its default."""
    given = {name: value for name, value in module.params["application"].items() if value is not None}
    return Profile.parse(given)


def site_of(module: Module) -> Site:
    """The site that the module's arguments describe."""
    environment = {name: str(value) for name, value in (module.params.get("environment") or {}).items()}
    return Site(profile_of(module), environment)


def result_of(site: Site, outcome: Outcome, before: str | None, after: str | None) -> dict[str, Any]:
    """A module's result: the steps that changed something, the facts they gave, and the releases as a diff."""
    return {
        "since": outcome.since,
        "changed": bool(outcome.changed),
        "steps": outcome.changed,
        "observations": [item.to_dict() for item in outcome.observations],
        "rails_boots": site.rails_boots,
        "diff": {"before": f"{before}\n", "after": f"{after if outcome.changed else before}\n"},
        **outcome.facts,
    }


def carry(module: Module, site: Site, plan: Callable[[], Plan], wait: float = BRIEF) -> Outcome:
    """Carry out a plan under the flock for the run in the arguments; in check mode say what it would do."""
    if module.check_mode:
        try:
            return preview(site, plan())
        except OutOfOrderError:
            # nothing was staged in check mode, so that what comes after staging is not known step by step
            return Outcome(site.ledger.now(), changed=["known when the release is staged"])
    token = int(module.params["run"].get("token", 0))
    with site.ledger.locked(wait):
        site.ledger.check_run(token)
        try:
            return carry_out(site, plan())
        finally:
            # a long call was no silence; on a full disk its own failure is what matters
            with suppress(OSError):
                site.ledger.check_run(token)


def _message(error: SlipwayError | OSError) -> str:
    """What to tell people; where the host itself fails, that comes before anything could be said better."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return printable(f"the host: {place}{error.strerror or error}: mend that and run the same again")
    return str(error)


def perform(
    answer: Callable[[Module, Site], dict[str, Any]],
    parameters: dict[str, Any],
    secrets: Sequence[str],
    *,
    check_mode: bool,
    sent: float,
) -> dict[str, Any]:
    """Answer a call; returns a module's result. An error that people are meant to read becomes a failure.

    :param secrets: the values of all arguments that are marked as secret.
    :param sent: when the controller sent the call, by its own clock, in seconds since the epoch.
    """
    # before anything is waited for
    clock_ahead = time.time() - sent
    module = Module(parameters, check_mode, _secrets_of(parameters, secrets), clock_ahead=clock_ahead)
    site: Site | None = None
    try:
        site = site_of(module)
        site.marked, site.told = set(secrets), _plain_of(parameters, secrets)
        result = answer(module, site)
    except (SlipwayError, OSError) as error:
        observations = [item.to_dict() for item in getattr(error, "observations", [])]
        boots = site.rails_boots if site else 0
        told = {"msg": _message(error), "observations": observations, "rails_boots": boots}
        # jobs that went back to their queues did so whatever failed later
        result = {**getattr(error, "facts", {}), **told, "failed": True}
        if isinstance(error, RefusedError):
            result.update(failures=error.failures, notes=error.notes)
    if module.warnings:
        result["warnings"] = module.warnings
    result = scrubbed(result, module.secrets)
    return cast("dict[str, Any]", site.hidden(result) if site else result)
