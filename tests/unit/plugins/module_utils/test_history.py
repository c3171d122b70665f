"""What the report of a release is made of comes out of the ledger, all of it and of a bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._history import gather
from ansible_collections.slipway.release.plugins.module_utils._ledger import Before, Candidate, Release, Watch
from ansible_collections.slipway.release.plugins.module_utils._prune import Policy

from .ledger_story import DAY, EVENING, Story, load_time, months

pytestmark = pytest.mark.promise("W1")

POLICY = Policy(5, 30)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return months(tmp_path_factory.mktemp("months"))


def of(story: Story, version: str | None) -> dict[str, Any]:
    return gather(story.site, version, POLICY)


def test_a_release_that_proved_itself(story: Story) -> None:
    found = of(story, None)
    assert (found["version"], found["replaced"], found["gone"], found["phase"]) == ("1.1.0", "1.0.0", None, None)
    assert found["migrations"] == ["2026110080000"]
    assert [run["verb"] for run in found["runs"]] == ["deploy"]
    assert {item["plan"] for item in found["journal"]} == {"stage", "backup", "rehearse", "migrate", "switch"}
    assert found["certificate"]["road"] == "down"
    assert found["plan"][0].startswith("target: 1.0.0")
    assert [item["event"] for item in found["alerts"]] == ["blind"]
    watch = found["watch"]
    assert (watch["outcome"], watch["looks"], watch["breach"], watch["short"]) == ("proven", 1440, None, None)
    assert watch["kinds"]["worker"] == {"seen": 1440, "bad": 2, "worst": "sidekiq: no process beats", "ill": None}


def test_a_release_that_was_taken_back(story: Story) -> None:
    found = of(story, "1.2.0")
    assert found["gone"].startswith("taken back: R2 Critical functionality broken: create a test campaign")
    assert found["watch"] is None
    assert found["current"] == "1.1.0"
    assert [(item["reason"], item["proof"]) for item in found["backups"]] == [
        ("before 1.2.0 is taken back", "size and SHA-256 of each file"),
        ("before 1.2.0", "restored into a PostgreSQL of its own and compared"),
    ]


def test_one_that_was_there_before(story: Story) -> None:
    found = of(story, "1.0.0")
    assert (found["adopted"], found["replaced"], found["watch"], found["runs"]) == (True, None, None, [])


def test_the_looks_of_a_day_become_a_few_points_that_hide_nothing(story: Story) -> None:
    points = of(story, None)["watch"]["points"]
    assert len(points) == 240
    assert sum(item["looks"] for item in points) == 1440
    slowest = max(load_time("/campaigns", number) for number in range(1440))
    assert max(item["pages"]["/campaigns"] for item in points) == slowest
    bad = [item for item in points if item["verdict"] != "hold"]
    assert [item["bad"] for item in bad] == [["sidekiq: no process beats"]]


def test_the_looks_of_the_release_before_are_not_its_own(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0")
    story.watch("1.1.0", looks=10)
    story.now += DAY
    story.deploy("1.2.0")
    begun = story.now
    story.watch("1.2.0", looks=7, outcome=None)
    with story.ledger.locked():
        story.ledger.update(watch=Watch("1.2.0", begun, begun + DAY))
    assert of(story, "1.1.0")["watch"]["looks"] == 10
    watch = of(story, "1.2.0")["watch"]
    assert (watch["looks"], watch["outcome"], watch["ended"]) == (7, None, None)
    assert watch["until"] == story.ledger.moment(begun + DAY)


def test_websocket_errors_of_the_looks_are_counted(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.deploy("1.1.0")
    story.watch("1.1.0", looks=5, kinds=("log",))
    path = story.ledger.root / "watch" / "looks.jsonl"
    looks = [json.loads(line) for line in path.read_text().splitlines()]
    looks[2]["sockets"] = [{"subject": "web: error WebSocket error occurred", "detail": "1 times, new"}]
    path.write_text("".join(f"{json.dumps(look)}\n" for look in looks))
    watch = of(story, "1.1.0")["watch"]
    assert watch["sockets"] == {"looks": 1, "last": "web: error WebSocket error occurred: 1 times, new"}
    assert watch["kinds"]["log"]["seen"] == 5


def test_one_that_is_half_done_says_how_far_it_came(tmp_path: Path) -> None:
    story = Story(tmp_path)
    with story.ledger.locked():
        story.ledger.save_release(Release("1.1.0", "a" * 40, {}, {}, ["20260105090000", "2026110080000"]))
        story.ledger.update(candidate=Candidate("1.1.0", "migrating", Before("1.0.0", ["20260105090000"], None)))
    found = of(story, "1.1.0")
    assert (found["phase"], found["migrations"]) == ("migrating", ["2026110080000"])


def test_no_secret_is_in_it(story: Story) -> None:
    with story.ledger.locked():
        story.ledger.save_baseline("1.1.0", {"exposure": {"canary": "canary-4711"}})
    (story.ledger.release_directory("1.1.0") / "env.before").write_text("POSTGRES_PASSWORD=canary-4711")
    found = of(story, None)
    assert "canary" not in json.dumps(found)
    # the webhook's address is a secret; that there is one is none
    assert found["told"] == ["the file watch/alerts.jsonl on the host", "a webhook", "mail to ops@example.test"]


def test_a_busy_and_chatty_site_gives_a_bounded_page(tmp_path: Path) -> None:
    story = Story(tmp_path, "x" * 5000)
    for number in range(12):
        story.now = EVENING + number * DAY
        story.deploy("1.1.0", broken="y" * 5000)
    story.now += DAY
    story.deploy("1.1.0")
    for number in range(400):
        story.alert("1.1.0", "breach", f"{number}" + "z" * 5000, "w" * 5000)
        story.step("1.1.0", "switch", "again" + "v" * 5000, 0)
    story.watch("1.1.0", looks=3000)
    found = of(story, None)
    assert len(found["runs"]) == 6
    assert len(found["watch"]["points"]) <= 240
    assert len(found["alerts"]) == 60
    assert len(found["journal"]) == 400
    assert len(json.dumps(found)) < 1_500_000


@pytest.mark.parametrize("version", ["9.9.9", "../1.1.0"])
def test_what_was_never_here_is_refused_in_one_line(story: Story, version: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        of(story, version)
    assert "\n" not in str(caught.value)
    assert version in str(caught.value)


def test_an_empty_site_has_nothing_to_report(tmp_path: Path) -> None:
    story = Story(tmp_path)
    with story.ledger.locked():
        story.ledger.update(current=None)
    with pytest.raises(SlipwayError, match="nothing to report"):
        of(story, None)
