from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.plugin_utils._run_record import FAILED
from ansible_collections.slipway.release.plugins.plugin_utils._run_summary import (
    BAD,
    GOOD,
    PLAIN,
    UNSURE,
    WIDTH,
    fleet_summary,
    summary,
)

from tests.unit.plugins.plugin_utils.run_story import RUN, Story, bad_deploy, good_deploy, refused, seen, verdict

already = {"run": {**RUN, "token": 0}, "already": True}
back = {"taken_back": "1.2.0", "standing": "1.1.0"}


def block(story: Story) -> list[tuple[str, str]]:
    record = story.record()
    return summary("site1", record["hosts"]["site1"], record)


def text(story: Story) -> str:
    return "\n".join(line for line, _ in block(story))


@pytest.mark.parametrize(
    "story,headline,tone",
    [
        (good_deploy(), "site1: swarm 1.2.0 DEPLOYED", GOOD),
        (bad_deploy(), "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs", BAD),
        (refused(), "site1: deploy of swarm 1.2.0 REFUSED, nothing was changed", BAD),
        (Story().ours("preflight", already), "site1: swarm 1.2.0 already runs, nothing changed", GOOD),
        (
            Story().opened().ours("rollback", back).fails("no"),
            "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs, UNCHECKED",
            BAD,
        ),
        (
            Story().opened().ours("rollback", back).judged("rollback", deadline=True).fails("no"),
            "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs BUT FAILS ITS CHECKS",
            BAD,
        ),
        (
            Story().opened().ours("rollback", {**back, "standing": None}).fails("no"),
            "site1: swarm 1.2.0 TAKEN BACK, nothing stood before it",
            BAD,
        ),
        (
            Story().opened(verb="rollback", release=None).ours("rollback", back).judged("inconclusive", deadline=True),
            "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs",
            GOOD,
        ),
        (
            Story().opened(verb="rollback", release=None).ours("rollback", back).judged("hold", deadline=True),
            "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs",
            GOOD,
        ),
        (
            Story()
            .opened()
            .ours("stage", {"msg": "no"}, status=FAILED)
            .ours("rollback", {"taken_back": None, "standing": "1.1.0"}),
            "site1: deploy of swarm 1.2.0 FAILED, 1.1.0 runs",
            BAD,
        ),
        (
            Story().opened().ours("switch", {"msg": "no"}, status=FAILED),
            "site1: deploy of swarm 1.2.0 FAILED, what runs is not known",
            BAD,
        ),
        (
            Story(check_mode=True).opened(token=0),
            "site1: deploy of swarm 1.2.0 tried in check mode, nothing was changed",
            GOOD,
        ),
        (
            Story(playbook="playbooks/status.yml").ours(
                "status", {"status": {"current": "1.1.0"}}, arguments={"application": {"name": "swarm"}}
            ),
            "site1: status of swarm done, 1.1.0 runs",
            GOOD,
        ),
    ],
)
def test_the_first_line_says_what_happened(story: Story, headline: str, tone: str) -> None:
    assert block(story)[0] == (headline, tone)


def test_a_release_taken_back_is_told_whole() -> None:
    assert text(bad_deploy()).splitlines() == [
        "site1: swarm 1.2.0 TAKEN BACK, 1.1.0 runs",
        "  R1  Database migrations fail      hold  seen well: migration",
        "  R2  Critical functionality broken ROLLBACK",
        "      create a test campaign: POST /campaigns answered 500, expected 302 or 303",
        "  After going back, 1.1.0 was judged:",
        "  R1  Database migrations fail      hold  seen well: migration",
        "  R2  Critical functionality broken hold  seen well: page, service",
        "  phases  preflight 0.5s, stage 0.5s, switch 0.5s, smoke_test 0.5s,",
        "          verdict 1.5s FAILED, rollback 0.5s, verdict 0.5s, conclude 0.5s,",
        "          verdict 0.5s FAILED",
        "  report  ansible-playbook playbooks/report.yml -l site1",
        "  cost    remote calls 6, Rails boots 1, 11.0 s in all",
        "  next    the logs of the attempt: /var/lib/slipway/swarm/logs/7",
        "  next    mend the release and deploy it under a new version",
    ]


@pytest.mark.promise("U1")
@pytest.mark.parametrize(
    "playbook, inventory, told",
    [
        ("deploy.yml", [], "rollback.yml -l site1"),
        ("/opt/slipway/playbooks/deploy.yml", ["prod"], "rollback.yml -i prod -l site1"),
        (
            "/root/.ansible/collections/ansible_collections/slipway/release/playbooks/deploy.yml",
            ["a b", "/etc/sites"],
            "slipway.release.rollback -i 'a b' -i /etc/sites -l site1",
        ),
    ],
)
def test_what_comes_next_can_be_typed_as_it_stands(playbook: str, inventory: list[str], told: str) -> None:
    story = good_deploy()
    story.collector.playbook, story.collector.inventory = playbook, inventory
    assert f"to go back: ansible-playbook {told}" in " ".join(text(story).split())


def test_a_refusal_names_every_gate_that_does_not_hold_and_no_other() -> None:
    assert text(refused()).splitlines()[1:4] == [
        "  disk: 12 GB needed, 3 GB free on /var/lib/docker: free some, or 'docker image",
        "    prune'",
        "  secrets: SECRET_KEY_BASE is missing in /opt/swarm/.env: add it",
    ]
    assert text(refused()).splitlines()[-1] == "  next    mend the above and run again"


def test_a_failure_that_no_criterion_explains_is_told_with_its_reason() -> None:
    story = Story().opened().ours("stage", {"msg": "the build\n failed"}, status=FAILED, task="Build")
    assert "  Build: the build failed" in text(story)


def test_a_criterion_with_a_figure_shows_it() -> None:
    slow = seen("page", "/campaigns", "200", value=8.04, unit="s")
    found = text(Story().opened().judged("rollback", threshold=5, observations=[slow]))
    assert "      /campaigns: 8.0 s, 200" in found


def test_missing_evidence_shows_the_reason() -> None:
    story = Story().opened().judged("rollback", observations=[], reason="no evidence of page at the deadline")
    assert "      no evidence of page at the deadline" in text(story)


def test_of_what_nobody_could_look_at_a_deploy_speaks_and_the_way_back_does_not() -> None:
    unseen: dict[str, Any] = {"verdict": "inconclusive", "count": 0, "observations": [], "reason": "no evidence"}
    assert "R2  Critical functionality broken inconclusive\n      no evidence" in text(
        Story().opened().judged("inconclusive", **unseen)
    )
    back = text(bad_deploy().judged("hold", deadline=True, **unseen))
    assert "After going back, 1.1.0 was judged:\n  R1  Database migrations fail      hold" in back
    assert "no evidence" not in back


def test_a_criterion_that_decides_nothing_says_so() -> None:
    assert "ROLLBACK (shadow)" in text(Story().opened().judged("rollback", mode="shadow"))


def test_no_line_is_too_long_nor_moves_the_cursor() -> None:
    nasty = "\x1b[2J word " * 60
    bad = seen("flow", nasty, nasty, ok=False)
    story = Story().opened().judged("rollback", title=nasty, reason=nasty, observations=[bad])
    story.ours("stage", {"msg": nasty}, status=FAILED, task=nasty)
    lines = [line for line, _ in block(story)]
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("broken", [{}, {"criteria": [{}]}, {"overall": None, "criteria": [{"observations": [{}]}]}])
def test_a_verdict_of_another_shape_is_survived(broken: dict[str, Any]) -> None:
    story = Story().opened().ours("rollback_criteria", {"verdict": broken})
    assert block(story)
    assert verdict("hold") != broken


@pytest.mark.promise("A2")
def test_what_customers_were_told_is_told_and_what_they_may_not_know_stands_out() -> None:
    told = [
        {"event": "start", "channel": "mail", "state": "sent", "detail": None},
        {"event": "success", "channel": "mail", "state": "unknown", "detail": "no answer came"},
        {"event": "success", "channel": "", "state": "failed", "detail": "a secret is missing"},
    ]
    story = good_deploy().task("ansible.builtin.debug", {"announce_outcome": told})
    assert [line for line in block(story) if "told" in line[0]] == [
        ("  told    start by mail: sent", PLAIN),
        ("  told    success by mail: unknown: no answer came", BAD),
        ("  told    success: failed: a secret is missing", BAD),
    ]
    assert story.host()["announced"] == told
    assert story.host()["outcome"] == "deployed"


FLEET = [f"site{number}" for number in range(1, 7)]


def test_a_fleet_is_told_wave_by_wave_with_the_reasons() -> None:
    story = bad_deploy()
    story.collector.wave(["site1", "site2"], FLEET)
    story.ours("preflight", already, host="site2")
    story.collector.wave(["site3", "site4"], FLEET)
    for name in ("site3", "site4"):
        story.fails("nothing was changed here", phase="fleet", host=name)
    assert fleet_summary(story.record()) == [
        ("fleet: 1 taken back, 1 already runs, 2 refused, 2 not begun", BAD),
        ("  wave 1  taken back: site1: R2 Critical functionality broken", BAD),
        ("  wave 1  already runs: site2", GOOD),
        ("  wave 2  refused: site3, site4: nothing was changed here", BAD),
        ("  later   not begun, nothing was changed: site5, site6", BAD),
        ("  next    mend the above and run again: where the release stands, it is only", PLAIN),
        ("          looked at", PLAIN),
    ]


def test_a_fleet_on_which_the_release_stands_needs_no_advice() -> None:
    story = good_deploy()
    story.collector.wave(["site1"], ["site1", "site2"])
    story.collector.wave(["site2"], ["site1", "site2"])
    story.ours("preflight", already, host="site2")
    assert fleet_summary(story.record()) == [
        ("fleet: 1 deployed, 1 already runs", GOOD),
        ("  wave 1  deployed: site1", GOOD),
        ("  wave 2  already runs: site2", GOOD),
    ]


@pytest.mark.promise("D4")
def test_jobs_that_were_pushed_back_are_listed_and_stand_out() -> None:
    told = {"pushed_back": 7, "at_work": [f"LaunchCampaignJob {number}" for number in range(7)]}
    assert [line for line in block(good_deploy().ours("switch", told)) if line[1] == UNSURE] == [
        ("  jobs    7 ran longer than worker_drain, pushed back to the queue to be done", UNSURE),
        ("          anew; at work were LaunchCampaignJob 0, LaunchCampaignJob 1,", UNSURE),
        ("          LaunchCampaignJob 2, LaunchCampaignJob 3, LaunchCampaignJob 4 and 2", UNSURE),
        ("          more", UNSURE),
    ]
    assert "  jobs " not in text(good_deploy())
