"""What a backup is restored into: begun beforehand, known again, and never used twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils._database_facts import DatabaseFacts
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._scratch import OLD, Scratch
from ansible_collections.slipway.release.plugins.module_utils._site import Site

pytestmark = pytest.mark.promise("G5")

SERVICES: dict[str, dict[str, Any]] = {
    "web": {"image": "swarm:1.0.0", "environment": {"SECRET_KEY_BASE": "canary", "SMTP_HOST": "mail"}},
    "postgres": {"image": "postgres:17", "environment": {"POSTGRES_USER": "owner", "POSTGRES_PASSWORD": "canary"}},
    "redis": {"image": "redis:8"},
}


class Engine:
    """Docker, as far as it is asked here, and the PostgreSQL in it."""

    def __init__(self) -> None:
        self.running: dict[str, list[str]] = {}
        self.given: dict[str, dict[str, str]] = {}
        self.shares: dict[str, int] = {}
        self.started: dict[str, list[str]] = {}
        self.roles: list[str] = []
        self.asked: list[str] = []
        self.broken = ""

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **_options: object) -> Completed:
        if argv[1] == "run":
            name = argv[argv.index("--name") + 1]
            if self.broken and name.endswith(self.broken):
                raise CommandError(list(argv), 125, "no space left on device")
            assert "canary" not in " ".join(argv)
            self.running[name] = [argv[place + 1] for place, word in enumerate(argv) if word == "--label"]
            self.given[name] = dict(env or {})
            self.started[name] = list(argv)
            self.shares[name] = int(argv[argv.index("--cpu-shares") + 1])
            if name.endswith("postgres"):
                self.roles = []
        if argv[1] == "rm":
            self.running = {}
        label = argv[-1].removeprefix("label=")
        found = [name for name, labels in self.running.items() if label in labels]
        return Completed(0, "\n".join(found) if argv[1] == "ps" else "", "")

    def psql(self, _argv: Sequence[str], sql: str, _timeout: float) -> str:
        self.asked.append(sql)
        if "pg_roles" in sql:
            return "".join(f"{role}\n" for role in self.roles)
        if sql.startswith("CREATE ROLE"):
            self.roles.append(sql.rsplit(maxsplit=1)[-1])
        return ""


def scratch(engine: Engine) -> Scratch:
    services = SimpleNamespace(web="web", database="postgres", cache="redis")
    database = SimpleNamespace(name="orders", user="orders_owner")
    profile: Any = SimpleNamespace(
        name="swarm", services=services, boot_variables=["SECRET_KEY_BASE"], database=database
    )
    return Scratch(cast("Site", SimpleNamespace(runner=engine, profile=profile, containers=lambda _service: [])))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    database = SimpleNamespace(
        missing_roles=lambda roles: sorted(set(roles) - set(made.roles)),
        query=lambda sql, **_where: made.psql([], sql, 1),
        load=lambda _directory, name: made.psql([], f"load {name}", 1),
    )
    # the real one makes a copy of a whole profile
    monkeypatch.setattr(Scratch, "database", database)
    return made


def test_another_process_finds_what_was_begun_for_its_backup_and_for_no_other(engine: Engine) -> None:
    scratch(engine).begin(SERVICES, "b1", "swarm:1.0.0", cache=True)
    assert scratch(engine).begun("b1", web=True, cache=True)
    assert not scratch(engine).begun("b2", web=True, cache=True)


def test_what_was_begun_to_read_a_backup_back_does_not_do_for_a_trial_of_the_application(engine: Engine) -> None:
    scratch(engine).begin(SERVICES, "b1")
    assert scratch(engine).begun("b1", web=False)
    assert not scratch(engine).begun("b1", web=True)
    assert not scratch(engine).begun("b1", web=False, cache=True)


def test_what_could_not_all_be_begun_says_so_and_is_not_taken_for_begun(engine: Engine) -> None:
    engine.broken = "redis"
    with pytest.raises(CommandError, match="no space left"):
        scratch(engine).begin(SERVICES, "b1", "swarm:1.0.0", cache=True)
    assert not scratch(engine).begun("b1", web=True, cache=True)


def test_its_postgresql_archives_nothing_whatever_the_real_one_does(engine: Engine) -> None:
    command = ["postgres", "-c", "archive_mode=on", "-c", "archive_command=wal-g wal-push %p"]
    scratch(engine).begin({**SERVICES, "postgres": {**SERVICES["postgres"], "command": command}}, "b1")
    argv = engine.started["slipway-scratch-swarm-postgres"]
    # of a setting that comes twice the last counts
    settings = dict(argv[place + 1].split("=", 1) for place, word in enumerate(argv) if word == "-c")
    assert settings["archive_mode"] == "off"
    # with which PostgreSQL refuses to archive, or to summarize its log
    assert "wal_level" not in settings


def test_what_compose_hands_to_the_application_as_files_is_there_too(engine: Engine, tmp_path: Path) -> None:
    key, config = tmp_path / "master.key", tmp_path / "app.yml"
    key.write_text("k")
    config.write_text("a: 1")
    made = scratch(engine)
    model = {"secrets": {"key": {"file": str(key)}, "gone": {"file": "/none"}, "typed": {"environment": "KEY"}}}
    cast("Any", made)._site.compose = SimpleNamespace(config={**model, "configs": {"app": {"file": str(config)}}})
    named = [{"source": "key"}, {"source": "gone"}, {"source": "typed"}]
    web = {**SERVICES["web"], "secrets": named, "configs": [{"source": "app", "target": "/etc/app.yml"}]}
    postgres = {**SERVICES["postgres"], "secrets": [{"source": "key", "target": "other"}]}
    made.begin({**SERVICES, "web": web, "postgres": postgres}, "b1", "swarm:1.0.0")
    argv = engine.started["slipway-scratch-swarm-web-old"]
    mounts = [argv[place + 1] for place, word in enumerate(argv) if word == "--volume"]
    assert mounts == [f"{key}:/run/secrets/key:ro", f"{config}:/etc/app.yml:ro"]
    # the throwaway one has a password of its own
    assert "--volume" not in engine.started["slipway-scratch-swarm-postgres"]


def test_visitors_come_first(engine: Engine) -> None:
    scratch(engine).begin(SERVICES, "b1", "swarm:1.0.0", cache=True)
    assert len(engine.shares) == 3
    # Docker's default is 1024
    assert max(engine.shares.values()) < 512


def test_it_is_used_once(engine: Engine) -> None:
    scratch(engine).begin(SERVICES, "b1")
    assert scratch(engine).ready(SERVICES)
    assert not scratch(engine).ready(SERVICES)
    scratch(engine).begin(SERVICES, "b1")
    assert scratch(engine).ready(SERVICES)


def test_the_web_service_gets_what_it_needs_to_boot_and_nothing_else(engine: Engine) -> None:
    made = scratch(engine)
    made.begin(SERVICES, "b1", "swarm:1.0.0")
    assert engine.given[made.web_container(OLD)] == {"SECRET_KEY_BASE": "canary"}


def test_a_secret_s_file_is_not_looked_for_and_a_password_of_its_own_does(engine: Engine) -> None:
    variables = {"POSTGRES_PASSWORD_FILE": "/run/secrets/password", "POSTGRES_USER_FILE": "/run/secrets/user"}
    services = {**SERVICES, "postgres": {"image": "postgres:17", "environment": variables}}
    made = scratch(engine)
    made.begin(services, "b1")
    (given,) = engine.given.values()
    assert set(given) == {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"}
    assert given["POSTGRES_USER"] == "orders_owner"
    assert len(given["POSTGRES_PASSWORD"]) == 32
    made.ready(services)
    assert made._superuser == "orders_owner"


@pytest.mark.parametrize("own, expected", [({}, "--no-sync"), ({"POSTGRES_INITDB_ARGS": "-k"}, "-k --no-sync")])
def test_what_is_thrown_away_is_not_made_durable(engine: Engine, own: dict[str, str], expected: str) -> None:
    made = scratch(engine)
    made.begin({**SERVICES, "postgres": {"image": "postgres:17", "environment": own}}, "b1")
    (there,) = engine.given.values()
    assert there["POSTGRES_INITDB_ARGS"] == expected
    (started,) = engine.started.values()
    assert "fsync=off" in started


def test_nobody_is_let_in_before_the_backup_is_there_and_what_somebody_made_goes(engine: Engine) -> None:
    made = scratch(engine)
    made.begin(SERVICES, "b1", "swarm:1.0.0")
    made.ready(SERVICES)
    facts: dict[str, Any] = dict.fromkeys(DatabaseFacts.__dataclass_fields__, "")
    facts |= {"owner": "owner", "connection_limit": -1, "settings": [], "grants": None}
    made.load(Path("/backup"), {"database": facts})
    told = "\n".join(engine.asked)
    shut, dropped = told.index("host all all 127.0.0.1/32 trust"), told.index('DROP DATABASE IF EXISTS "orders"')
    sent_away, created = told.index("pg_terminate_backend"), told.index('CREATE DATABASE "orders"')
    loaded, opened = told.index("load orders"), told.index("host all all all trust")
    assert shut < sent_away < dropped < created < loaded < opened
