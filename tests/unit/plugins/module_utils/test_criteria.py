from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.release.plugins.module_utils._criteria import (
    CriteriaError,
    Criterion,
    Finding,
    State,
    Verdict,
    judge,
    parse,
)
from ansible_collections.slipway.release.plugins.module_utils._observation import Observation
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]
CRITERIA = parse(
    [
        {"id": "R1", "title": "Database migrations fail", "probes": ["migration"]},
        {
            "id": "R2",
            "title": "Critical functionality broken",
            "probes": ["switch", "service", "flow", "page"],
            "required": ["service", "page"],
        },
        {"id": "R3", "title": "A page takes over 5 seconds", "probes": ["page"], "over": 5, "unit": "s", "looks": 3},
        {"id": "C2", "title": "A cache is not warm", "mode": "warn", "probes": ["cache"]},
    ]
)
SLOW = next(item for item in CRITERIA if item.id == "R3")


def seen(
    probe: str, subject: str = "it", *, ok: bool | None = True, value: float | None = None, detail: str = "as told"
) -> Observation:
    unit = None if value is None else "s"
    return Observation(probe, subject, "2026-11-23T08:00:00.000Z", value, unit, ok=ok, detail=detail)


EVIDENCE = [seen("service"), seen("page", value=0.1)]

observations = st.lists(
    st.builds(
        seen,
        st.sampled_from(["migration", "switch", "service", "flow", "page", "cache", "gate"]),
        st.sampled_from(["/agents", "/campaigns", "create a test campaign"]),
        ok=st.sampled_from([True, False, None]),
        value=st.none() | st.floats(0, 10),
    ),
    max_size=20,
)


def words(verdict: Verdict) -> dict[str, str]:
    return {finding.id: finding.verdict for finding in verdict.findings}


def judged(*items: Observation, deadline: bool = False) -> Verdict:
    return judge(CRITERIA, State(), items, deadline=deadline)[1]


def finding(identity: str, *items: Observation, deadline: bool = False) -> Finding:
    return next(item for item in judged(*items, deadline=deadline).findings if item.id == identity)


@given(observations, observations, st.booleans())
def test_the_judge_is_pure(before: list[Observation], items: list[Observation], deadline: bool) -> None:
    state, _ = judge(CRITERIA, State(), before)
    kept = json.dumps(state.to_dict())
    assert judge(CRITERIA, state, items, deadline=deadline) == judge(CRITERIA, state, items, deadline=deadline)
    assert json.dumps(state.to_dict()) == kept


@given(observations, observations, st.booleans())
def test_a_state_survives_json(before: list[Observation], items: list[Observation], deadline: bool) -> None:
    state, _ = judge(CRITERIA, State(), before)
    again = State.from_dict(json.loads(json.dumps(state.to_dict())))
    assert again == state
    assert judge(CRITERIA, again, items, deadline=deadline) == judge(CRITERIA, state, items, deadline=deadline)


@given(observations, observations, st.booleans())
def test_judging_in_parts_ends_as_judging_at_once(
    first: list[Observation], second: list[Observation], deadline: bool
) -> None:
    state, _ = judge(CRITERIA, State(), first)
    assert judge(CRITERIA, state, second, deadline=deadline) == judge(
        CRITERIA, State(), first + second, deadline=deadline
    )


@given(observations, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_different_subjects_does_not_matter(
    items: list[Observation], dice: random.Random, deadline: bool
) -> None:
    queues: dict[tuple[str, str], list[Observation]] = {}
    for item in items:
        queues.setdefault((item.probe, item.subject), []).append(item)
    mixed = []
    while queues:
        key = dice.choice(sorted(queues))
        mixed.append(queues[key].pop(0))
        queues = {name: queue for name, queue in queues.items() if queue}
    assert judge(CRITERIA, State(), mixed, deadline=deadline) == judge(CRITERIA, State(), items, deadline=deadline)


@given(observations, observations, st.booleans())
def test_well_observations_never_ask_to_go_back(
    items: list[Observation], more: list[Observation], deadline: bool
) -> None:
    well = [seen(item.probe, item.subject, value=0.1) for item in more]
    state, before = judge(CRITERIA, State(), items, deadline=deadline)
    after = judge(CRITERIA, state, well, deadline=deadline)[1]
    was, becomes = words(before), words(after)
    assert [name for name in was if was[name] != "rollback" and becomes[name] == "rollback"] == []
    assert before.overall == "rollback" or after.overall != "rollback"


@given(observations)
def test_missing_required_evidence_is_never_a_pass(items: list[Observation]) -> None:
    blind = [item for item in items if item.probe != "page" or item.ok is None]
    state, verdict = judge(CRITERIA, State(), blind)
    assert words(verdict)["R2"] != "hold"
    assert verdict.overall != "hold"
    closed = judge(CRITERIA, state, [], deadline=True)[1]
    assert (words(closed)["R2"], closed.overall, closed.deadline) == ("rollback", "rollback", True)


@given(observations)
def test_what_decides_is_the_last_observation_behind_it(items: list[Observation]) -> None:
    for found in judge(CRITERIA, State(), items)[1].findings:
        subjects = [item["subject"] for item in found.observations]
        probes = [item["probe"] for item in found.observations]
        if found.observations:
            last = (probes[-1], subjects[-1])
            assert list(zip(probes, subjects, strict=True)).count(last) == found.count


@given(observations)
def test_only_an_enforced_criterion_decides(items: list[Observation]) -> None:
    advisory = [Criterion(**{**vars(item), "mode": "shadow"}) for item in CRITERIA]
    verdict = judge(advisory, State(), items, deadline=True)[1]
    assert (verdict.overall, verdict.message) == ("hold", "")


@pytest.mark.promise("R2")
def test_the_message_says_what_is_wrong() -> None:
    broken = seen("flow", "create a test campaign", ok=False, detail="POST /campaigns: 500,\nexpected 302 or 303")
    assert judged(*EVIDENCE, broken).message == (
        "R2 Critical functionality broken: create a test campaign: POST /campaigns: 500, expected 302 or 303"
    )


def test_the_most_telling_kind_comes_first_in_the_reason() -> None:
    page, switch = seen("page", "/agents", ok=False), seen("switch", "switch", ok=False)
    assert finding("R2", page, switch).reason == "switch: as told; /agents: as told"


@pytest.mark.promise("R3")
def test_a_page_has_to_be_slow_often_enough() -> None:
    slow = seen("page", "/campaigns", value=8.04)
    assert (finding("R3", slow, slow).verdict, finding("R3", slow, slow).count) == ("inconclusive", 2)
    found = finding("R3", slow, slow, slow)
    assert (found.verdict, found.reason) == ("rollback", "/campaigns took 8.0 s, more than 5 s")
    assert (found.count, found.looks, found.threshold) == (3, 3, 5)


def test_slow_looks_at_different_pages_are_not_added_up() -> None:
    items = [seen("page", subject, value=8) for subject in ("/a", "/b", "/c", "/a", "/b")]
    assert finding("R3", *items).count == 2


def test_what_is_slow_is_told_before_what_was_slow_once() -> None:
    found = finding("R3", *[seen("page", "/agents", value=8)] * 3, seen("page", "/campaigns", value=6))
    assert found.reason == "/agents took 8.0 s, more than 5 s"
    assert [item["subject"] for item in found.observations] == ["/campaigns", "/agents", "/agents", "/agents"]


def test_exactly_the_limit_is_no_breach() -> None:
    assert SLOW.breached_by(seen("page", value=5)) is False


@pytest.mark.parametrize(
    "item",
    [
        seen("page", value=8, ok=None),
        seen("page", value=0.1, ok=False),
        seen("page", ok=False),
        seen("service", value=8),
        Observation("page", "it", "2026-11-23T08:00:00Z", 8000, "ms", ok=True, detail=""),
    ],
)
def test_what_says_nothing_about_speed(item: Observation) -> None:
    assert SLOW.breached_by(item) is None
    assert finding("R3", item).reason == "no evidence"
    slow = seen("page", value=8)
    assert finding("R3", slow, slow, item).count == 2


def test_a_look_that_is_well_clears_its_subject_alone() -> None:
    items = [seen("page", "/a", value=8), seen("page", "/b", value=8), seen("page", "/a", value=1)]
    assert [item["subject"] for item in finding("R3", *items).observations] == ["/b"]


def test_what_was_reason_enough_to_go_back_is_not_undone_by_looking_again() -> None:
    slow = seen("page", value=8)
    assert finding("R3", slow, slow, slow, seen("page", value=1)).verdict == "rollback"
    assert finding("R2", seen("flow", ok=False), seen("flow"), *EVIDENCE).verdict == "rollback"


def test_what_could_not_be_seen_clears_nothing_and_is_no_evidence() -> None:
    assert finding("R2", seen("page", ok=False), seen("page", ok=None)).verdict == "rollback"
    assert finding("R2", seen("service"), seen("page", ok=None)).missing == ("page",)


def test_evidence_for_one_criterion_is_none_for_another() -> None:
    timed = parse(
        [
            {"id": "R2", "title": "Broken", "probes": ["page"]},
            {"id": "R3", "title": "Slow", "probes": ["page"], "over": 5, "unit": "s", "required": ["page"]},
        ]
    )
    verdict = judge(timed, State(), [seen("page")], deadline=True)[1]
    assert words(verdict) == {"R2": "hold", "R3": "rollback"}


def test_a_breach_that_nothing_disproved_counts_at_the_deadline() -> None:
    slow = seen("page", value=8)
    assert finding("R3", slow, deadline=True).verdict == "rollback"
    assert finding("R3", slow, seen("page", value=1), deadline=True).verdict == "hold"


def test_a_criterion_that_nobody_required_evidence_for_leaves_nothing_open() -> None:
    verdict = judged(*EVIDENCE, deadline=True)
    assert (verdict.overall, words(verdict)["R1"]) == ("hold", "inconclusive")


def test_ids_with_the_same_beginning_are_kept_apart() -> None:
    pair = parse(
        [
            {"id": "R3", "title": "Slow", "probes": ["page"], "over": 5, "unit": "s"},
            {"id": "R3.1", "title": "Broken", "probes": ["page"]},
        ]
    )
    _, verdict = judge(pair, State(), [seen("page", value=1), seen("page", value=1, ok=False)])
    assert words(verdict) == {"R3": "hold", "R3.1": "rollback"}


def test_a_state_of_criteria_that_are_gone_is_not_looked_at() -> None:
    state, _ = judge(CRITERIA, State(), [seen("page", ok=False), seen("flow", ok=False)])
    narrowed = parse([{"id": "R2", "title": "Broken", "probes": ["flow"]}])
    found = judge(narrowed, state, [])[1].findings[0]
    assert [item["probe"] for item in found.observations] == ["flow"]


@pytest.mark.parametrize(
    "broken",
    [
        {"breaches": None},
        {"breaches": []},
        {"breaches": {"R2": []}},
        {"breaches": {"R2 page /a": {}}},
        {"breaches": {"R2 page /a": [3]}},
        {"breaches": {"R2 page /a": [{"subject": "/a"}]}},
        {"seen": 3},
        {"seen": "page"},
        {"tried": 3},
        {"tried": "page"},
        {"verdict": {}},
    ],
)
def test_a_state_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(CriteriaError, match=r"^state: "):
        State.from_dict(broken)


def test_all_problems_are_told_at_once_each_once() -> None:
    with pytest.raises(CriteriaError) as caught:
        parse(
            [
                {"id": "R 1", "title": "Broken", "probes": ["pages"], "mode": "block"},
                {"id": "R3", "probes": ["page"], "over": 5, "looks": 1.5},
                {"id": "R3", "title": "Slow", "probes": [], "required": ["page"], "look": 3},
                {"id": "R4", "title": "Lost", "over": -1, "unit": "s", "looks": float("inf")},
                {"id": "R5", "title": "Open", "probes": ["exposure"], "attempted": ["page"]},
            ]
        )
    assert str(caught.value).split("; ") == [
        "criteria[0].id: must be up to 40 letters, digits, dots, dashes, underscores, not 'R 1'",
        "criteria[0].mode: must be one of enforce, warn, shadow, not 'block'",
        next(
            line for line in str(caught.value).split("; ") if line.startswith("criteria[0].probes[0]: must be one of")
        ),
        "criteria[1].title: is required",
        "criteria[1].looks: must be a whole number, not 1.5",
        "criteria[1].over: needs a unit, and a unit needs over",
        "criteria[2].probes: must name at least one kind of observation",
        "criteria[2].required: must be among probes",
        "criteria[2].look: is unknown: did you mean looks?",
        "criteria[3].probes: is required",
        "criteria[3].over: must be a number from 0 to 1e+09",
        "criteria[3].looks: must be a number from 1 to 1000",
        "criteria[4].attempted: must be among probes",
    ]


def test_an_id_stands_there_once() -> None:
    names = [f"R{number}" for number in range(9)]
    twice = [{"id": name, "title": "Slow", "probes": ["page"]} for name in names * 2]
    with pytest.raises(CriteriaError) as caught:
        parse(twice)
    assert str(caught.value) == "; ".join(f"criteria: {name} stands there twice" for name in names)


@pytest.mark.parametrize("strange", [None, "R1", 3, {}, [], [None], [[]], ["R1"]])
def test_what_is_no_list_of_criteria_is_refused(strange: object) -> None:
    with pytest.raises(CriteriaError, match=r"^criteria"):
        parse(strange)


def test_the_criteria_of_the_role_can_be_judged_by() -> None:
    defaults = yaml.safe_load((ROOT / "roles/verdict/defaults/main.yml").read_text())
    found = {item.id: item for item in parse(defaults["verdict_criteria"])}
    assert {name for name, item in found.items() if item.mode == "enforce"} >= {"R1", "R2", "R3", "R4"}
    assert (found["R3"].over, found["R3"].unit, found["R2"].required) == (5, "s", ("service", "page"))


BY_DEFAULT = parse(yaml.safe_load((ROOT / "roles/verdict/defaults/main.yml").read_text())["verdict_criteria"])
ASKED_FOR = [("R2", "flow"), ("R2", "health"), ("R2", "worker"), ("R4", "data"), ("R5", "exposure")]


@pytest.mark.parametrize("criterion, kind", ASKED_FOR)
def test_evidence_that_was_looked_for_and_never_seen_is_a_reason_to_go_back_at_the_deadline(
    criterion: str, kind: str
) -> None:
    unseen = seen(kind, ok=None)
    state, verdict = judge(BY_DEFAULT, State(), [*EVIDENCE, unseen])
    assert (verdict.overall, words(verdict)[criterion]) == ("inconclusive", "inconclusive")
    # what was looked for is remembered from one judgement to the next
    kept = State.from_dict(json.loads(json.dumps(state.to_dict())))
    _, last = judge(BY_DEFAULT, kept, EVIDENCE, deadline=True)
    assert (last.overall, words(last)[criterion]) == ("rollback", "rollback")
    assert f"no evidence of {kind} at the deadline" in last.message
    # one look that saw it is enough
    assert judge(BY_DEFAULT, kept, [seen(kind)], deadline=True)[1].overall == "hold"


def test_all_that_was_looked_for_is_told_at_once() -> None:
    unseen = [seen(kind, ok=None) for _, kind in ASKED_FOR]
    found = judge(BY_DEFAULT, State(), [*EVIDENCE, *unseen], deadline=True)[1]
    assert {item.id: item.missing for item in found.findings if item.missing} == {
        "R2": ("worker", "health", "flow"),
        "R4": ("data",),
        "R5": ("exposure",),
    }


def test_what_an_application_has_not_is_not_asked_for() -> None:
    assert judge(BY_DEFAULT, State(), EVIDENCE, deadline=True)[1].overall == "hold"


@pytest.mark.parametrize("kind", ["vulnerability", "figure", "cache", "log", "job", "query", "latency"])
def test_other_kinds_may_stay_unseen(kind: str) -> None:
    unseen = seen(kind, "new", ok=None)
    assert judge(BY_DEFAULT, State(), [*EVIDENCE, unseen], deadline=True)[1].overall == "hold"


R5 = parse([{"id": "R5", "title": "A vulnerability was found", "probes": ["vulnerability", "exposure"]}])


def known(new: int, back: int | None, *more: Observation) -> Finding:
    """What R5 says of so many new ones, when going back would bring back so many."""
    one = [seen("vulnerability", f"CVE-{number} openssl", ok=False) for number in range(new)]
    counted = seen("vulnerability", "new", ok=new == 0, value=new)
    way_back = seen("vulnerability", "way back", ok=None if back is None else back == 0, value=back)
    state, _ = judge(R5, State(), [*one, counted, way_back])
    # a state goes through JSON, and what comes later is judged with it
    kept = State.from_dict(json.loads(json.dumps(state.to_dict())))
    return judge(R5, kept, more, deadline=True)[1].findings[0]


@pytest.mark.parametrize("back", [None, 0, 1])
def test_a_new_vulnerability_asks_to_go_back(back: int | None) -> None:
    assert known(1, back).verdict == "rollback"


def test_nobody_goes_back_to_more_known_vulnerabilities() -> None:
    found = known(1, 2)
    assert (found.verdict, found.count) == ("inconclusive", 1)
    assert found.reason.startswith("going back is worse, a person decides: ")
    assert "CVE-0 openssl" in found.reason


def test_what_stands_open_asks_to_go_back_all_the_same() -> None:
    assert known(1, 2, seen("exposure", "GET /sidekiq", ok=False)).verdict == "rollback"


def test_more_vulnerabilities_behind_are_no_reason_to_go_there() -> None:
    assert known(0, 3).verdict == "hold"


COUNTING = parse(
    [
        {"id": "R2", "title": "Broken", "probes": ["page"], "looks": 3},
        {"id": "P1", "title": "More errors", "probes": ["log"], "counts": {"error": 0.01}},
        {"id": "P2", "title": "More jobs fail", "probes": ["job"], "counts": {"error": 0.01, "growth": 2}},
    ]
)
BEFORE = {
    probe: {subject: {"events": 864, "trials": 86400, "blocks": [[6, 600]] * 144} for subject in ("all", "rare")}
    for probe in ("log", "job")
}
PAGE_IS_WRONG = seen("page", "/agents", ok=False)


def counted(probe: str, minute: int, events: float, subject: str = "all", of: float = 60) -> Observation:
    at = f"2026-11-23T{minute // 60:02}:{minute % 60:02}:00.000Z"
    return Observation(probe, subject, at, events, "events", ok=True, detail="", of=of)


def compared(*items: Observation, deadline: bool = False) -> Verdict:
    return judge(COUNTING, State(), items, baseline=BEFORE, deadline=deadline)[1]


MORE_ERRORS = [counted("log", minute, 3) for minute in range(60)]
MORE_FAILED = [counted("job", minute, 3) for minute in range(60)]
mixed = st.lists(
    st.one_of(
        st.builds(
            counted,
            st.sampled_from(["log", "job", "latency"]),
            st.integers(0, 90),
            st.integers(0, 30),
            st.sampled_from(["all", "rare", "unknown"]),
            st.integers(0, 90),
        ),
        st.builds(seen, st.just("page"), st.just("/agents"), ok=st.booleans()),
    ),
    max_size=12,
)


@given(mixed, mixed, st.booleans())
def test_counting_in_parts_ends_as_counting_at_once(
    first: list[Observation], second: list[Observation], deadline: bool
) -> None:
    state, _ = judge(COUNTING, State(), [*MORE_ERRORS[:25], *first], baseline=BEFORE)
    again = State.from_dict(json.loads(json.dumps(state.to_dict())))
    assert judge(COUNTING, again, second, baseline=BEFORE, deadline=deadline) == judge(
        COUNTING, State(), [*MORE_ERRORS[:25], *first, *second], baseline=BEFORE, deadline=deadline
    )


@pytest.mark.promise("P2")
def test_more_failed_jobs_ask_to_go_back_with_what_a_person_needs_to_argue() -> None:
    verdict = compared(*MORE_FAILED)
    found = verdict.findings[2]
    assert (verdict.overall, found.verdict) == ("rollback", "rollback")
    assert found.reason.startswith("all: ")
    assert found.reason.endswith("were to be expected")
    strongest = found.compared[0]
    assert (strongest["probe"], strongest["subject"], strongest["decided"]) == ("job", "all", True)
    assert strongest["statistic"] >= strongest["threshold"] > 4
    assert strongest["before"] == {"events": 864, "trials": 86400}
    assert strongest["events"] > 1.5 * strongest["expected"]


def test_what_was_found_more_frequent_stays_found() -> None:
    calm = [counted("job", minute, 0) for minute in range(60, 600)]
    assert compared(*MORE_FAILED, *calm).overall == "rollback"


def first_decided(*subjects: str) -> int:
    """The minute in which more failed jobs are found, where each of these subjects counts them."""
    state = State()
    for minute in range(60):
        seen_now = [counted("job", minute, 2.5 if name in subjects else 0.6, name) for name in ("all", "rare")]
        state, verdict = judge(COUNTING, state, seen_now, baseline=BEFORE)
        if verdict.overall == "rollback":
            return minute
    return 60


def test_what_several_subjects_say_adds_up() -> None:
    assert first_decided("all", "rare") < first_decided("all") < 60


@pytest.mark.promise("P1")
def test_what_logs_say_adds_nothing_to_what_decides_without_them() -> None:
    both = parse([{"id": "F1", "title": "More", "probes": ["log", "job"], "counts": {"error": 0.01}}])
    state, minute, overall = State(), 0, "hold"
    while overall == "hold":
        items = [counted("log", minute, 2.5), counted("job", minute, 2.4)]
        state, verdict = judge(both, state, items, baseline=BEFORE)
        overall, minute = verdict.overall, minute + 1
    (found,) = verdict.findings
    assert overall == "inconclusive"
    assert {(item["probe"], item["decided"]) for item in found.compared} == {("log", True), ("job", False)}
    assert all(item["statistic"] < item["threshold"] for item in found.compared), "neither decides by itself"


@pytest.mark.promise("P2")
def test_jobs_are_compared_with_the_days_before() -> None:
    counts: dict[str, Any] = {"events": 14 * 864, "trials": 14 * 86400, "blocks": [[864, 86400]] * 14}
    for length, overall in (({"seconds": 86400}, "rollback"), ({}, "hold")):
        before = {"job": {"all": {**counts, **length}}}
        assert judge(COUNTING, State(), MORE_FAILED, baseline=before)[1].overall == overall


@pytest.mark.promise("P1")
def test_the_log_never_decides_alone() -> None:
    alone = compared(*MORE_ERRORS, deadline=True)
    assert (alone.overall, alone.findings[1].verdict, alone.findings[1].count) == ("inconclusive", "inconclusive", 1)
    assert alone.findings[1].reason.startswith(
        "the log alone does not decide, no probe of ours finds anything wrong: all"
    )
    assert compared(*MORE_ERRORS, PAGE_IS_WRONG).findings[1].verdict == "rollback"
    # not at the same time
    well = seen("page", "/agents")
    assert compared(PAGE_IS_WRONG, well, *MORE_ERRORS).overall == "inconclusive"


def test_a_probe_of_an_advisory_criterion_is_no_witness() -> None:
    advisory = [Criterion(**{**vars(item), "mode": "warn"}) if item.id == "R2" else item for item in COUNTING]
    verdict = judge(advisory, State(), [*MORE_ERRORS, PAGE_IS_WRONG], baseline=BEFORE)[1]
    assert verdict.findings[1].verdict == "inconclusive"


def test_without_a_baseline_counts_decide_nothing() -> None:
    for baseline in (None, {}, {"job": {"other": BEFORE["job"]["all"]}}):
        verdict = judge(COUNTING, State(), MORE_FAILED, baseline=baseline, deadline=True)[1]
        assert verdict.overall == "hold"
        assert verdict.findings[2].compared == ()
    assert judge(COUNTING, State(), MORE_FAILED)[1].findings[2].reason == "there is no baseline to compare with"


def test_counts_that_are_not_enough_are_no_breach_at_the_deadline() -> None:
    verdict = compared(*MORE_FAILED[:8], deadline=True)
    assert (verdict.overall, verdict.findings[2].verdict) == ("hold", "hold")


def test_what_could_not_be_counted_is_no_evidence() -> None:
    blind = Observation("job", "all", "2026-11-23T08:00:00Z", 900, "events", ok=None, detail="", of=900)
    assert compared(blind).findings[2].reason == "no evidence"


@pytest.mark.parametrize(
    "broken",
    [
        {"log": 3},
        {"log": {"all": {}}},
        {"log": {"all": {"blocks": [3]}}},
        {"log": {"all": {"blocks": [["a", 1]]}}},
        {"log": {"all": {"blocks": [[10**400, 1]]}}},
        {"log": {"all": {"blocks": [], "seconds": "long"}}},
    ],
)
def test_a_baseline_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(CriteriaError, match=r"^baseline: must be "):
        judge(COUNTING, State(), [], baseline=broken)


@pytest.mark.parametrize("broken", [{"P1 log all": {}}, {"P1 log all": {"at": "", "block": 3}}, {"P1 log all": 3}, []])
def test_counts_of_another_shape_are_refused(broken: object) -> None:
    with pytest.raises(CriteriaError, match=r"^state: "):
        judge(COUNTING, State.from_dict({"counts": broken}), [], baseline=BEFORE)


@pytest.mark.parametrize(
    "damage",
    [
        {"minute": "x"},
        {"since": 10**400},
        {"trials": None},
        {"weights": [[[0.0]]]},
        {"weights": "all"},
        {"weights": 0},
    ],
)
def test_a_count_that_was_changed_is_refused(damage: dict[str, Any]) -> None:
    item = Observation("log", "all", "2026-11-23T08:00:00Z", 1, "events", ok=True, detail="", of=900)
    counts = judge(COUNTING, State(), [item], baseline=BEFORE)[0].to_dict()["counts"]
    (key,) = (name for name in counts if name.endswith(" log all"))
    kept = counts[key]
    if damage.get("weights") == 0:
        damage = {"weights": [[[0.0 for _ in drifts] for drifts in bursts] for bursts in kept["weights"]]}
    with pytest.raises(CriteriaError, match=r"^state: "):
        judge(COUNTING, State.from_dict({"counts": {key: {**kept, **damage}}}), [], baseline=BEFORE)


def test_problems_with_counts_are_told() -> None:
    with pytest.raises(CriteriaError) as caught:
        parse(
            [
                {"id": "P1", "title": "x", "probes": ["log"], "counts": {"error": 0.5, "growth": 0, "alpha": 1}},
                {"id": "P2", "title": "x", "probes": ["log"], "counts": {"error": 0.01}, "looks": 3},
            ]
        )
    assert [line.partition(":")[0] for line in str(caught.value).split("; ")] == [
        "criteria[0].counts.error",
        "criteria[0].counts.growth",
        "criteria[0].counts.alpha",
        "criteria[1].counts",
    ]


@pytest.mark.parametrize("probe", ["exposure", "log", "query"])
def test_where_only_what_is_wrong_is_named_silence_clears_what_too_few_looks_saw(probe: str) -> None:
    criteria = parse([{"id": "R5", "title": "It stands open", "probes": [probe], "looks": 3}])
    state, overall = State(), []
    everything = seen(probe, "everything")
    for wrong in (True, False, False, True, False, True, True, True, False):
        found = [everything, *([seen(probe, "/sidekiq", ok=False)] if wrong else [])]
        state, verdict = judge(criteria, State.from_dict(json.loads(json.dumps(state.to_dict()))), found)
        overall.append(verdict.overall)
    # three in a row, which nothing undoes
    assert overall == ["inconclusive", "hold", "hold", "inconclusive", "hold", *["inconclusive"] * 2, *["rollback"] * 2]


def test_a_kind_that_was_not_looked_at_clears_nothing() -> None:
    criteria = parse([{"id": "R5", "title": "It stands open", "probes": ["exposure"], "looks": 2}])
    state, _ = judge(criteria, State(), [seen("exposure", "/sidekiq", ok=False)])
    state, _ = judge(criteria, state, [seen("page"), seen("exposure", "everything", ok=None)])
    assert judge(criteria, state, [seen("exposure", "/sidekiq", ok=False)])[1].overall == "rollback"


def test_a_log_that_could_not_be_read_is_no_log_without_the_error() -> None:
    criteria = parse([{"id": "P1", "title": "New errors", "probes": ["log"], "looks": 2}])
    state, _ = judge(criteria, State(), [seen("log", "web: error it broke", ok=False)])
    unread, _ = judge(criteria, state, [seen("log", "worker"), seen("log", "web", ok=None)])
    assert judge(criteria, unread, [seen("log", "web: error it broke", ok=False)])[1].overall == "rollback"
    read, _ = judge(criteria, state, [seen("log", "worker"), seen("log", "web")])
    assert judge(criteria, read, [seen("log", "web: error it broke", ok=False)])[1].overall == "inconclusive"


def test_cache_warm_by_itself_holds_without_caches_and_not_where_none_could_be_seen() -> None:
    every = yaml.safe_load((ROOT / "roles/verdict/defaults/main.yml").read_text())["verdict_criteria"]
    # as cache_warm.yml asks it
    criteria = parse([{**item, "mode": "enforce", "attempted": ["cache"]} for item in every if item["id"] == "C2"])

    def told(*items: Observation) -> str:
        return judge(criteria, State(), items, deadline=True)[1].overall

    # an application whose profile names none
    assert told() != "rollback"
    assert told(seen("cache")) == "hold"
    assert told(seen("cache", ok=False)) == told(seen("cache", ok=None)) == "rollback"
