# SPDX-License-Identifier: GPL-3.0-or-later
"""What calls share: how a plan is carried out for a run, and one place where an error becomes a module's failure."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, NoReturn, Protocol

from ._engine import Outcome, Plan, carry_out, preview
from ._errors import OutOfOrderError, SlipwayError
from ._profile import Profile
from ._site import Site

# A call that must not give up (a rollback) waits for the one before it to end.
PATIENT = 900.0
BRIEF = 10.0
SHORTEST_SECRET = 8


class Module(Protocol):
    """What is used of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    no_log_values: set[str]

    def exit_json(self, **result: Any) -> NoReturn: ...  # noqa: ANN401 - as AnsibleModule has it
    def fail_json(self, msg: str, **result: Any) -> NoReturn: ...  # noqa: ANN401 - the same
    def warn(self, warning: str) -> None: ...


def spare_plain_values(module: Module) -> None:
    """Let Ansible blank out secrets only.

    It replaces every no_log value wherever it occurs in a result, and the environment holds plain ones too: a variable
    that is "1", or the release's own version, would otherwise blank out what the next task is told.
    """
    parameters = module.params
    told = {parameters.get("version"), parameters.get("commit"), *(parameters.get("run") or {}).values()}
    plain = {str(value) for value in told}
    secrets = {value for value in module.no_log_values if len(value) >= SHORTEST_SECRET and value not in plain}
    module.no_log_values = secrets


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


def perform(module: Module, answer: Callable[[Module, Site], dict[str, Any]]) -> None:
    """Answer a module's call; an error that people are meant to read becomes its failure, with what was observed."""
    site: Site | None = None
    spare_plain_values(module)
    try:
        site = site_of(module)
        result = answer(module, site)
    except SlipwayError as error:
        observations = [item.to_dict() for item in getattr(error, "observations", [])]
        module.fail_json(str(error), observations=observations, rails_boots=site.rails_boots if site else 0)
    module.exit_json(**result)
