"""A host in whose place a test answers, in the form that Docker and redis-cli give their output."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed

DATABASES = 16
NOW = 1_795_421_000.0


def container(service: str, number: int = 1, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 plain data
    """One element of `docker inspect`, reduced to what has a meaning here."""
    health = changes.get("health", "healthy")
    state = {"Status": changes.get("state", "running"), "ExitCode": changes.get("exit_code", 0)}
    return {
        "Id": f"{service}{number}",
        "Name": f"/swarm-{service}-{number}",
        "Image": f"sha256:{service}",
        "Path": "docker-entrypoint.sh",
        "Args": changes.get("args", ["redis-server"]),
        "RestartCount": changes.get("restarts", 0),
        "State": {**state, **({} if health is None else {"Health": {"Status": health, "FailingStreak": 0}})},
        "Config": {
            "Hostname": f"{service}host{number}",
            "Env": changes.get("env", ["PATH=/usr/bin"]),
            "Labels": {
                "com.docker.compose.project": "swarm",
                "com.docker.compose.service": service,
                "com.docker.compose.oneoff": changes.get("oneoff", "False"),
                "com.docker.compose.config-hash": f"made-of-{service}",
            },
        },
    }


class Host:
    """Stands in for the runner of commands."""

    def __init__(self) -> None:
        self.containers = [
            container("proxy"),
            container("web", 1),
            container("web", 2),
            container("worker", health=None),
            container("postgres"),
            container("redis"),
        ]
        self.services: dict[str, Any] = {
            "proxy": {},
            "web": {"deploy": {"replicas": 2}},
            "worker": {},
            "postgres": {},
            "redis": {},
        }
        self.keys: dict[str, int] = {"agents/metrics": 299_000, "system_health": 58_500}
        self.processes: dict[str, dict[str, str]] = {"workerhost1:1:6af1": {"beat": f"{NOW - 4}", "quiet": "false"}}
        # what Redis says of Sidekiq's jobs; None for an error, as of a script that is refused
        self.jobs: dict[str, Any] | None = {
            "now": str(int(NOW)),
            "processed": "900",
            "failed": "7",
            "retries": 2,
            "dead": 1,
            "retried": {},
            "died": {},
            "queues": [["default", 0, 0]],
        }
        self.days: dict[str, tuple[str, str]] = {}
        self.password: str | None = None
        self.refusal: SlipwayError | None = None
        self.commands: list[list[str]] = []
        self.inputs: list[str] = []
        # what the database answers to a statement, where it is not 0
        self.answers: dict[str, int] = {}
        self.log = ""
        # the same, of more than one figure
        self.tells: Callable[[str], str | None] = lambda _sql: None
        self.on_redis: Callable[[str], None] = lambda _text: None

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        owner: int | None = None,
        timeout: float = 60,
    ) -> Completed:
        del env, cwd, owner, timeout
        self.commands.append(list(argv))
        if self.refusal is not None:
            raise self.refusal
        told = {
            "ps": "".join(f"{item['Id']}\n" for item in self.containers),
            "inspect": json.dumps(self.containers),
            "logs": self.log,
        }
        if argv[0] == "docker" and argv[1] in told:
            return Completed(0, told[argv[1]], "")
        if argv[:2] == ["docker", "compose"] and "--hash" in argv:
            return Completed(0, "".join(f"{name} made-of-{name}\n" for name in self.services), "")
        if argv[:2] == ["docker", "compose"] and "config" in argv:
            return Completed(0, json.dumps({"name": "swarm", "services": self.services}), "")
        if argv[:2] == ["docker", "exec"] and argv[-1] == "redis-cli":
            return Completed(0, self.redis(text or ""), "")
        if check:
            raise CommandError(list(argv), 1, "unknown command")
        return Completed(1, "", "unknown command")

    def stream(self, argv: Sequence[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """No container ever printed anything."""
        del errors
        self.commands.append(list(argv))
        return subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def psql(self, argv: Sequence[str], sql: str, timeout: float) -> str:
        del timeout
        self.commands.append(list(argv))
        if self.refusal is not None:
            raise self.refusal
        told = self.tells(sql)
        return f"{self.answers.get(sql, 0)}\n" if told is None else told

    def end_sessions(self, argv: Sequence[str] | None = None) -> None:
        """None stays."""

    def redis(self, text: str) -> str:
        self.inputs.append(text)
        self.on_redis(text)
        commands = [[_unquoted(word) for word in re.findall(r'"([^"]*)"', line)] for line in text.splitlines()]
        trusted = self.password is None
        lines = []
        for command in commands:
            if command[0] == "AUTH":
                trusted = trusted or command[-1] == self.password
                lines.append("OK" if trusted else "WRONGPASS invalid username-password pair or user is disabled.\n")
            elif not trusted:
                lines.append("NOAUTH Authentication required.\n")
            elif command[0] == "SELECT":
                lines.append("OK" if int(command[1]) < DATABASES else "ERR DB index is out of range\n")
            else:
                lines.append(self.evaluated(command[1], command[3:]))
        return "\n".join(lines) + "\n"

    def evaluated(self, script: str, keys: list[str]) -> str:
        if "DEL" in script:
            return json.dumps({"deleted": sum(self.keys.pop(key, None) is not None for key in keys)})
        if "PTTL" in script:
            return json.dumps({"ttls": [self.keys.get(key, -2) for key in keys]})
        if "stat:failed:" in script:
            return json.dumps({"days": [self.days.get(day, ("0", "0")) for day in keys]})
        if "stat:failed" in script:
            return "ERR refused" if self.jobs is None else json.dumps(self.jobs)
        found = [[name, item.get("beat", ""), item.get("quiet", "")] for name, item in self.processes.items()]
        return json.dumps({"now": str(int(NOW)), "processes": found or {}})


def _unquoted(word: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match.group(1), 16)), word)
