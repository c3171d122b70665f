# SPDX-License-Identifier: GPL-3.0-or-later
"""A place to try a release in: a PostgreSQL and a cache of its own, on a network that leads nowhere.

What runs there is the application's own images with its own settings, under the same names, so that the application
finds a database and a cache where it looks for them. Nothing that happens there reaches anyone: no job, mail or packet.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._compose import NOT_THE_PROJECT_S, YIELDS, Docker
from ._database_facts import DatabaseFacts, literal, quoted
from ._errors import CommandError, SlipwayError
from ._postgres import Database

if TYPE_CHECKING:
    from ._site import Site

# The services of a Compose model, by name.
Services = Mapping[str, Any]

LABEL = "slipway.scratch"
OLD = "old"
_PURPOSE = f"{LABEL}.for"
# The role by which a PostgreSQL is known that a killed process has used.
_USED = "slipway_used"
READY_AFTER = 120
# Nothing here has to outlive a crash, and nothing of it may get into an archive of the real one's.
_HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "archive_mode=off")
# An entrypoint as Rails writes it makes a database that is not there, and fills it: nobody is let in before the backup
# was restored. Nobody else reaches this server: whoever connects on its network then is, by whatever password.
_SHUT, _OPEN = (
    f"""
    DO $$ BEGIN
      EXECUTE format('COPY (VALUES (''local all all trust''), (''host all all {whence} trust'')) TO %L',
                     current_setting('hba_file'));
    END $$;
    SELECT pg_reload_conf() \\g /dev/null
"""
    for whence in ("127.0.0.1/32", "all")
)
# A role's own limits are for its statements, not for these.
_NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0;\n"
_SEND_AWAY = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr IS NOT NULL \\g /dev/null"


def _given(service: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in (service.get("environment") or {}).items() if value is not None}


class Scratch:
    """The throwaway services of one site. Only one process at a time has them: the one that holds the site's flock."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._runner = site.runner
        self._network = f"slipway-scratch-{site.profile.name}"
        self._label = f"{LABEL}={site.profile.name}"
        self._superuser = "postgres"
        self._purpose = ""
        self._dress = ""

    def remove(self) -> None:
        """Remove whatever is here, also what a killed process left."""
        found = self._runner.run(["docker", "ps", "--all", "--quiet", "--filter", f"label={self._label}"])
        if found.stdout.split():
            self._runner.run(["docker", "rm", "--force", "--volumes", *found.stdout.split()], timeout=120)
        networks = self._runner.run(["docker", "network", "ls", "--quiet", "--filter", f"label={self._label}"])
        if networks.stdout.split():
            self._runner.run(["docker", "network", "rm", *networks.stdout.split()])

    def begin(self, services: Services, purpose: str, web_image: str | None = None, *, cache: bool = False) -> None:
        """Start an empty PostgreSQL, a cache and the web service side by side, and wait for none: see `ready`.

        :param services: whose images and settings are taken; those of the release that runs.
        :param purpose: by which `begun` knows them again.
        :param web_image: of the web service; none is started without it.
        :param cache: whether code of the application is to run, which looks for its cache.
        """
        self.remove()
        self._runner.run(["docker", "network", "create", "--internal", "--label", self._label, self._network])
        self._purpose = purpose
        names = self._site.profile.services
        with ThreadPoolExecutor(3) as pool:
            starting: list[Future[Any]] = [pool.submit(self._start_database, names.database, services[names.database])]
            if names.cache and cache:
                starting.append(pool.submit(self._start_cache, names.cache, services[names.cache]))
            if web_image:
                starting.append(pool.submit(self.serve, services, web_image, OLD))
            for started in starting:
                started.result()

    def begun(self, purpose: str, *, web: bool, cache: bool = False) -> bool:
        """Whether all that `begin` starts for this purpose is there."""
        names = self._site.profile.services
        wanted = {self._name(name) for name in (names.database, names.cache if cache else None) if name}
        wanted |= {self.web_container(OLD)} if web else set()
        label = f"label={_PURPOSE}={purpose}"
        listed = self._runner.run(["docker", "ps", "--format", "{{.Names}}", "--filter", label])
        return wanted <= set(listed.stdout.split())

    def ready(self, services: Services) -> bool:
        """Wait for the PostgreSQL that was begun, and take it into use; returns whether nobody had done so before."""
        service = services[self._site.profile.services.database]
        self._superuser = self._database_variables(service).get("POSTGRES_USER", "postgres")
        self._await_database()
        fresh = bool(self.database.missing_roles([_USED]))
        if fresh:
            self.database.query(f"CREATE ROLE {_USED}", database="postgres")
        return fresh

    def _start_cache(self, name: str, service: Mapping[str, Any]) -> None:
        self._start(name, service, self._image(name, service), service.get("command") or [], _given(service))

    def _database_variables(self, service: Mapping[str, Any]) -> dict[str, str]:
        """What its image makes the PostgreSQL of; Compose's secrets, which POSTGRES_*_FILE name, stay away."""
        variables = {key: value for key, value in _given(service).items() if key.startswith("POSTGRES_")}
        if "POSTGRES_USER_FILE" in variables:
            variables["POSTGRES_USER"] = self._site.profile.database.user
        # the application's database is made when it is restored, like the one that it is a copy of
        return {key: value for key, value in variables.items() if key != "POSTGRES_DB" and not key.endswith("_FILE")}

    def _start_database(self, name: str, service: Mapping[str, Any]) -> None:
        variables = self._database_variables(service)
        variables.setdefault("POSTGRES_PASSWORD", secrets.token_hex(16))
        # whoever commits in the real one would wait meanwhile for what is written here
        variables["POSTGRES_INITDB_ARGS"] = f"{variables.get('POSTGRES_INITDB_ARGS', '')} --no-sync".strip()
        settings = [part for item in _HASTY for part in ("-c", item)]
        command = [*(service.get("command") or ["postgres"]), *settings]
        self._start(name, service, self._image(name, service), command, variables)

    def _start(  # noqa: PLR0913 - what a container consists of
        self,
        name: str,
        service: Mapping[str, Any],
        image: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        container: str | None = None,
    ) -> None:
        # one that cannot boot before the database is there boots again
        argv = ["docker", "run", "--detach", "--restart", "on-failure", "--network-alias", name]
        argv += ["--name", container or self._name(name), "--label", f"{_PURPOSE}={self._purpose}"]
        if name != self._site.profile.services.database:
            argv += self._secrets(service)
        self._runner.run([*argv, *self._arguments(service, image, command, environment)], env=environment)

    def _name(self, service: str) -> str:
        return f"{self._network}-{service}"

    def _image(self, name: str, service: Mapping[str, Any]) -> str:
        """What runs now is what the copy is to run on."""
        running = self._site.containers(name)
        return running[0].image if running else str(service["image"])

    def _arguments(
        self, service: Mapping[str, Any], image: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> list[str]:
        """What every `docker run` here has in common; values of variables travel in docker's own environment."""
        arguments = [*NOT_THE_PROJECT_S, *YIELDS, "--label", self._label, "--network", self._network, "--pull", "never"]
        for key in environment:
            arguments += ["--env", key]
        first, *rest = service.get("entrypoint") or [None]
        for option, value in (
            ("--entrypoint", first),
            ("--user", service.get("user")),
            ("--workdir", service.get("working_dir")),
            ("--shm-size", service.get("shm_size")),
        ):
            arguments += [option, str(value)] if value else []
        for mount in service.get("volumes", []):
            # settings come along, data does not
            if mount.get("type") == "bind" and Path(mount["source"]).is_file():
                arguments += ["--volume", f"{mount['source']}:{mount['target']}:ro"]
        return [*arguments, image, *rest, *command]

    def _secrets(self, service: Mapping[str, Any]) -> list[str]:
        """The files that Compose's secrets and configs are, where the service looks for them."""
        arguments: list[str] = []
        for kind, default in (("secrets", "/run/secrets/"), ("configs", "/")):
            for item in service.get(kind) or []:
                known = (self._site.compose.config.get(kind) or {}).get(item["source"], {})
                file, target = known.get("file"), item.get("target") or item["source"]
                if file and Path(file).is_file():
                    place = target if target.startswith("/") else f"{default}{target}"
                    arguments += ["--volume", f"{file}:{place}:ro"]
        return arguments

    def _await_database(self) -> None:
        deadline = time.monotonic() + READY_AFTER
        container = self._name(self._site.profile.services.database)
        # while it sets itself up an image's PostgreSQL listens on its socket only
        ready = [
            "sh",
            "-c",
            f'PGPASSWORD="$POSTGRES_PASSWORD" psql -h 127.0.0.1 -U {self._superuser} -d postgres -c ""',
        ]
        while True:
            try:
                Docker(self._runner).execute(container, *ready)
                break
            except CommandError as error:
                if time.monotonic() > deadline:
                    raise SlipwayError(
                        f"the throwaway PostgreSQL did not come up in {READY_AFTER} s: {error}"
                    ) from error
                time.sleep(0.1)
        self.database.query(_SHUT, database="postgres")

    @property
    def database(self) -> Database:
        """The throwaway PostgreSQL; the application's database is in it once it was restored."""
        profile = self._site.profile
        own = replace(profile, database=replace(profile.database, user=self._superuser))
        return Database(self._runner, own, self._name(profile.services.database))

    def load(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        """Restore a dump as the application's database, made like the one that it was taken of."""
        name, facts = self._site.profile.database.name, DatabaseFacts.parse(manifest["database"])
        missing = self.database.missing_roles(sorted(facts.all_roles))
        made = "".join(f"CREATE ROLE {quoted(role)} LOGIN;\n" for role in missing)
        self.database.query(made + facts.dress_roles(self._superuser), database="postgres")
        # what the application made before the door was shut
        gone = f"{_SEND_AWAY}\nDROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE);\n"
        self.database.query(gone + facts.create(name), database="postgres")
        self.database.load(directory, name)
        self._dress = facts.dress(name)
        self.database.query(self._dress + _OPEN, database="postgres")

    def copy(self, name: str) -> None:
        """Copy the application's database under another name; whoever is connected to it is sent away."""
        self._runner.end_sessions()
        own = self._site.profile.database.name
        away = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {literal(own)}"  # noqa: S608 - quoted
        copied = f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(own)}"
        self.database.query(f"{_NO_LIMITS}{away} \\g /dev/null\n{copied}", database="postgres")

    def put_back(self, name: str) -> None:
        """Let the application's database be as its copy is, which stays."""
        self._runner.end_sessions()
        own = self._site.profile.database.name
        self.database.query(
            f"{_NO_LIMITS}DROP DATABASE {quoted(own)} WITH (FORCE); "
            f"CREATE DATABASE {quoted(own)} TEMPLATE {quoted(name)}; {self._dress}",
            database="postgres",
        )

    def _variables(self, service: Mapping[str, Any]) -> dict[str, str]:
        """What the application needs to boot, and nothing else."""
        given = service.get("environment") or {}
        return {name: str(given[name]) for name in self._site.profile.boot_variables if given.get(name) is not None}

    def rails(self, services: Services, image: str, *command: str, timeout: float) -> tuple[int, str]:
        """Boot Rails once from `image` with the settings in `services`; returns its exit code and what it printed."""
        service = services[self._site.profile.services.web]
        environment = self._variables(service)
        secrets_too = [*self._secrets(service), *self._arguments(service, image, command, environment)]
        argv = ["docker", "run", "--rm", *secrets_too]
        done = self._runner.run(argv, env=environment, timeout=timeout, check=False)
        return done.returncode, done.stdout + done.stderr

    def serve(self, services: Services, image: str, name: str) -> str:
        """Start a web container from `image`; returns what it is called."""
        web = self._site.profile.services.web
        service, container = services[web], self.web_container(name)
        self._start(web, service, image, service.get("command") or [], self._variables(service), container=container)
        return container

    def web_container(self, name: str) -> str:
        """What the web container of that name is called."""
        return f"{self._name(self._site.profile.services.web)}-{name}"

    def end(self, *containers: str) -> None:
        """End web containers at once, so that nobody is connected to the database."""
        self._runner.run(["docker", "kill", *containers], check=False)

    def address(self, container: str) -> str:
        """The IP address of a container; empty while it waits to be started again."""
        template = f'{{{{(index .NetworkSettings.Networks "{self._network}").IPAddress}}}}'
        return self._runner.run(["docker", "inspect", "--format", template, container]).stdout.strip()

    def logs(self, container: str) -> str:
        """What a container printed."""
        done = self._runner.run(["docker", "logs", container], check=False)
        return done.stdout + done.stderr
