"""What containers print when something fails, in the formats that are read."""

from __future__ import annotations

import json
from typing import Any

PLACE = "app/models/campaign.rb:41:in `eta'"
SAID = "undefined method `eta' for #<Campaign id: 17>"


def lograge(status: int = 200, **changes: Any) -> str:  # noqa: ANN401 - plain data
    given = {"method": "GET", "path": "/campaigns/17", "controller": "CampaignsController", "action": "show"}
    return json.dumps({**given, "status": status, "duration": 12.5, **changes})


# by name: the lines of one error, and the text that tells it from others
ERRORS: dict[str, tuple[list[str], str]] = {
    "rails": (
        [
            f"F, [2026-11-23T08:00:00.123456 #1] FATAL -- : [3f1c2a77-1111-4222] NoMethodError ({SAID}):",
            "F, [2026-11-23T08:00:00.123456 #1] FATAL -- : [3f1c2a77-1111-4222]   ",
            f"F, [2026-11-23T08:00:00.123456 #1] FATAL -- : [3f1c2a77-1111-4222] {PLACE}",
            "[3f1c2a77-1111-4222] app/controllers/campaigns_controller.rb:12:in `show'",
        ],
        "NoMethodError (undefined method `eta' for #<Campaign id: #>) at app/models/campaign.rb eta",
    ),
    "rails, simple": (
        [f"[3f1c2a77-1111-4222] NoMethodError ({SAID}):", "", PLACE, "\tfrom lib/x.rb:3:in `y'"],
        "NoMethodError (undefined method `eta' for #<Campaign id: #>) at app/models/campaign.rb eta",
    ),
    "rails, JSON": (
        [json.dumps({"severity": "FATAL", "message": f"  \nNoMethodError ({SAID}):\n  \n{PLACE}\n"})],
        "NoMethodError (undefined method `eta' for #<Campaign id: #>) at app/models/campaign.rb eta",
    ),
    "sidekiq": (
        [
            '2026-11-23T08:00:00.123Z pid=1 tid=2mq class=CampaignJob jid=5e1 WARN: {"context":"Job raised exception"}',
            f"2026-11-23T08:00:00.123Z pid=1 tid=2mq class=CampaignJob jid=5e1 WARN: NoMethodError: {SAID}",
            f"2026-11-23T08:00:00.123Z pid=1 tid=2mq class=CampaignJob jid=5e1 WARN: {PLACE}",
        ],
        "NoMethodError: undefined method `eta' for #<Campaign id: #> at app/models/campaign.rb eta",
    ),
    "sidekiq, JSON": (
        [
            json.dumps({"ts": "x", "pid": 1, "tid": "2mq", "lvl": "INFO", "msg": "fail", "ctx": {"jid": "5e1"}}),
            json.dumps({"ts": "x", "pid": 1, "tid": "2mq", "lvl": "WARN", "msg": f"NoMethodError: {SAID}"}),
            json.dumps({"ts": "x", "pid": 1, "tid": "2mq", "lvl": "WARN", "msg": f"{PLACE}\n{PLACE}"}),
        ],
        "NoMethodError: undefined method `eta' for #<Campaign id: #> at app/models/campaign.rb eta",
    ),
    "nginx": (
        [
            (
                "2026/11/23 08:00:00 [error] 29#29: *17 connect() failed (111: refused) while reading upstream, "
                'client: 192.0.2.7, server: swarm, request: "GET / HTTP/1.1"'
            ),
        ],
        "connect() failed (#: refused) while reading upstream",
    ),
    "colours": (["\x1b[31mERROR\x1b[0m: the \x1b[1mdisk\x1b[0m is full"], "the disk is full"),
}

# What is no error, however it looks.
NOISE: dict[str, str] = {
    "a scan": 'F, [2026-11-23T08:00:00.1 #1] FATAL -- : ActionController::RoutingError (No route matches "/wp.php"):',
    "a scan, JSON": json.dumps({"level": "FATAL", "message": "ActiveRecord::RecordNotFound (Couldn't find Agent)"}),
    "not found": lograge(404, level="ERROR", error="ActionController::RoutingError: No route matches"),
    "a host": "E, [2026-11-23T08:00:00.1 #1] ERROR -- : [ActionDispatch::HostAuthorization::DefaultResponseApp] "
    "Blocked hosts: evil.example",
    "nginx": '2026/11/23 08:00:00 [error] 29#29: *1 open() "/srv/wp.php" failed (2: No such file), client: x',
    "info": "I, [2026-11-23T08:00:00.1 #1]  INFO -- : NoMethodError was mended",
    "a warning": json.dumps({"level": "WARN", "message": "slow query"}),
}
