# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: one host, one Compose project, its database and its ledger, as every plan of the engine sees it."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import _dotenv
from ._compose import Compose, Container, Docker
from ._errors import SlipwayError
from ._files import write_file
from ._git import Checkout
from ._ledger import Ledger, Release
from ._postgres import Database
from ._process import HostRunner, Runner
from ._profile import secrets as profile_secrets
from ._redact import Secrets, known_secrets, texts_in

if TYPE_CHECKING:
    from ._profile import Profile

# Seconds for which a look at the containers holds, where nothing was changed here.
FRESH = 0.3
# Of an env file: whatever is no UTF-8 comes through as it is.
_ENCODING = ("utf-8", "surrogateescape")


class EnvFile:
    """The `.env` file beside the Compose files. Only single keys are changed; the rest stays as people wrote it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _found(self) -> tuple[bytes, os.stat_result | None]:
        """What it holds and whose that is, of one opening: others may put another file in its place meanwhile."""
        try:
            # a pipe would be waited for
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
                status = os.fstat(stream.fileno())
                return (stream.read(), status) if stat.S_ISREG(status.st_mode) else (b"", None)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return b"", None

    def _text(self) -> str:
        """What it holds; empty where there is no file."""
        return self._found()[0].decode(*_ENCODING)

    def values(self) -> dict[str, str]:
        """The assignments in it, as Compose reads them; empty where there is no file."""
        return _dotenv.read(self._text())

    def pieces(self) -> list[dict[str, str]]:
        """All that it says of each name: as Compose reads it, and as it stands there."""
        return [self.values(), *({name: said} for name, said in _dotenv.lines(self._text()))]

    def assign(self, changes: dict[str, str], owner: tuple[int, int]) -> None:
        """Set some keys, keeping the order of lines, the comments, and the file's owner and mode."""
        content, status = self._found()
        self._write(_dotenv.changed(content.decode(*_ENCODING), changes).encode(*_ENCODING), status, owner)

    def restore(self, content: bytes, owner: tuple[int, int]) -> None:
        """Put back what the file held, byte for byte, keeping its owner and mode."""
        self._write(content, self._found()[1], owner)

    def _write(self, content: bytes, status: os.stat_result | None, owner: tuple[int, int]) -> None:
        """Replace the file by one that belongs to whom it did; a new one is `owner`'s alone."""
        if status is None:
            write_file(self.path, content, owner=owner)
        else:
            write_file(self.path, content, mode=status.st_mode & 0o777, owner=(status.st_uid, status.st_gid))


class Site:
    """Everything that a plan needs, made once a process.

    :param environment: keys and values that the env file must hold besides the version; secrets, never shown.
    """

    def __init__(
        self, profile: Profile, environment: dict[str, str] | None = None, runner: Runner | None = None
    ) -> None:
        self.profile = profile
        self.environment = environment or {}
        # what else a call was told: texts that are secret, and texts that are none
        self.marked: set[str] = set()
        self.told: set[str] = set()
        self.directory = Path(profile.directory)
        self.ledger = Ledger(Path(profile.state_directory) / profile.name)
        self.runner: Runner = runner or HostRunner(lambda: self.ledger.descriptors)
        self.ledger.before_release = self.runner.end_sessions
        self.backups = Path(profile.backup_directory) if profile.backup_directory else self.ledger.root / "backups"
        self.docker = Docker(self.runner, self.look_again)
        self.checkout = Checkout(self.runner, self.directory, profile.repository.url)
        self.env_file = EnvFile(self.directory / profile.env_file)
        self.rails_boots = 0
        self._lock, self._resting = threading.Lock(), 0
        # when the containers were looked at last, and how they were; nothing since they were changed here
        self._looked: tuple[float, list[Container]] | None = None
        self._changes = 0
        # the look that somebody takes now, and how many changes there had been when it began
        self._looking: tuple[int, Future[list[Container]]] | None = None
        self._composes: dict[tuple[object, ...], Compose] = {}

    @cached_property
    def compose(self) -> Compose:
        """The project through the files that are in place now."""
        return Compose(self.runner, self._profile_of(self._in_place()), changed=self.look_again)

    def _in_place(self) -> Release | None:
        """The release whose files are in place, where the ledger knows it."""
        state = self.ledger.state()
        versions = [state.candidate and state.candidate.version, state.current]
        known = [release for version in versions if version and (release := self.ledger.release(version))]
        head = self.checkout.head() if known and self.checkout.exists else None
        return next((release for release in known if release.commit == head), None)

    def _profile_of(self, release: Release | None) -> Profile:
        """The profile, with the Compose files and profiles that a release was made of: they may have changed since."""
        if release is None or release.compose_files is None:
            return self.profile
        profiles = tuple(release.compose_profiles or ())
        return replace(self.profile, compose_files=tuple(release.compose_files), compose_profiles=profiles)

    @property
    def database(self) -> Database:
        """The application's database, in the container that runs now."""
        service = self.profile.services.database
        running = self.containers(service)
        if not running:
            raise SlipwayError(
                f"service {service} does not run: start it with 'docker compose up -d {service}' in {self.directory}"
            )
        return Database(self.runner, self.profile, running[0].id)

    def replaced_env_file(self, version: str) -> Path:
        """Where the env file lies that was in place before a release was switched to; only root may read it."""
        return self.ledger.release_directory(version) / "env.before"

    def known_secrets(self, more: Iterable[Mapping[str, str]] = ()) -> tuple[set[str], set[str]]:
        """What is secret here, as `_redact.known_secrets` tells it: the env files' values, the profile's, the call's.

        :param more: variables that are to be hidden, too.
        """
        login = self.profile.login
        variables: list[Mapping[str, str]] = [self.environment, *more, login.form if login else {}]
        variables += [{"": value} for value in (*self.marked, *profile_secrets(asdict(self.profile)))]
        for path in (self.env_file.path, *self.ledger.root.glob("releases/*/env.before")):
            # what cannot be read was printed by nobody
            with suppress(OSError):
                variables += EnvFile(path).pieces()
        # a version is none, of a release that has no record yet either
        version = self.profile.version_variable
        variables = [{name: value for name, value in item.items() if name != version} for item in variables]
        return known_secrets(variables, {*self.profile.required_variables, *self.environment}, self.plain())

    def plain(self) -> set[str]:
        """Texts that are no secret here, whatever variable has them too: the profile's, and the names of releases."""
        profile = asdict(self.profile)
        host = urlsplit(self.profile.base_url).hostname
        versions = {path.name for path in self.ledger.root.glob("releases/*")}
        return {*texts_in(profile), str(host), *versions} - profile_secrets(profile) | self.told

    def hidden(self, value: Any) -> Any:  # noqa: ANN401 - anything that JSON holds
        """What is about to leave the host, or to be written down, without what is secret here.

        It looks at the files as they are now, and asks nobody else.
        """
        return Secrets(*self.known_secrets()).hidden(value)

    def source(self, version: str) -> Path:
        """Where the source of a staged release lies."""
        return self.ledger.release_directory(version) / "source"

    def compose_of(self, release: Release) -> Compose:
        """The project through a release's own files: those in place when they are its own, else those staged for it."""
        in_place = self.checkout.exists and self.checkout.head() == release.commit
        source, env_file = None if in_place else self.source(release.version), self._env_file_of(release)
        content = env_file.read_bytes() if env_file.is_file() else b""
        # what Compose says of the same files stays the same, and asking takes a while
        key = (release.version, release.commit, source, env_file, content)
        if key not in self._composes:
            profile = self._profile_of(release)
            self._composes[key] = Compose(
                self.runner, profile, source, release.version, env_file, changed=self.look_again
            )
        return self._composes[key]

    def _env_file_of(self, release: Release) -> Path:
        """The env file that a release's containers are made with: the one in place, or the one that was replaced."""
        candidate = self.ledger.state().candidate
        if candidate is not None and candidate.before.version == release.version:
            kept = self.replaced_env_file(candidate.version)
            if candidate.reached("switching") and kept.exists():
                return kept
        return self.env_file.path

    def kept_name(self, service: str, version: str) -> str:
        """The tag under which a release's image is kept, whatever the Compose files call it."""
        return f"slipway/{self.profile.name}-{service}:{version}"

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Look at the containers once at most for all questions inside the block, unless they are changed here."""
        with self._lock:
            if not self._resting and not self._fresh():
                self._looked = None
            self._resting += 1
        try:
            yield
        finally:
            with self._lock:
                self._resting -= 1

    def _fresh(self) -> bool:
        """Whether the containers were looked at a moment ago."""
        looked = self._looked
        return looked is not None and time.monotonic() - looked[0] < FRESH

    def look_again(self) -> None:
        """Forget how the containers were: they were changed, or somebody waited for them to change."""
        with self._lock:
            self._changes += 1
            self._looked = None

    def containers(self, service: str | None = None) -> list[Container]:
        """The project's running containers, without one-off ones."""
        return [item for item in self.all_containers() if item.running and service in (None, item.service)]

    def code(self) -> list[Container]:
        """The containers of the application's own code that run, or that Docker starts again in a moment."""
        return [item for item in self.all_containers() if item.up and item.service in self.code_services]

    def all_containers(self) -> list[Container]:
        """The project's containers, running or not, without one-off ones."""
        looked = self._looked
        found = looked[1] if looked is not None and (self._resting or self._fresh()) else self._look()
        return [item for item in found if not item.oneoff]

    def _look(self) -> list[Container]:
        """Look at the containers, or wait for what somebody sees who looks at them already."""
        with self._lock:
            changes, looking = self._changes, self._looking
            mine = looking is None or looking[0] != changes
            if looking is None or mine:
                looking = self._looking = changes, Future()
        seen = looking[1]
        if mine:
            try:
                seen.set_result(self.docker.containers(self.profile.name))
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it too
                seen.set_exception(error)
            with self._lock:
                if self._looking is looking:
                    self._looking = None
                # another thread may have changed them meanwhile
                if changes == self._changes and seen.exception() is None:
                    self._looked = time.monotonic(), seen.result()
        return seen.result()

    @property
    def code_services(self) -> list[str]:
        """The services that run the application's own code."""
        services = self.profile.services
        return [services.web] + ([services.worker] if services.worker else [])

    def runs(self, release: Release, *, beside: bool = False) -> list[str]:
        """Why the running containers are not `release`'s; empty when they are.

        :param beside: web containers that were replaced may still run beside them.
        """
        up = [item for item in self.all_containers() if item.up]
        wrong = []
        for service, image in release.images.items():
            mine = [item for item in up if item.service == service]
            if beside and service == self.profile.services.web:
                mine = [item for item in mine if item.image == image]
            if not any(item.running for item in mine) and service in self.code_services:
                wrong.append(f"no container of {service} runs")
            wrong += [
                f"{item.name} runs image {item.image[7:19]}, not {image[7:19]}" for item in mine if item.image != image
            ]
        return wrong

    def rails(self, compose: Compose, *command: str, timeout: float) -> tuple[int, str]:
        """Boot Rails once in a one-off web container; returns its exit code and all that it printed."""
        self.rails_boots += 1
        done = compose.run_once(self.profile.services.web, *command, timeout=timeout)
        return done.returncode, done.stdout + done.stderr

    def log(self, version: str, name: str, text: str) -> Path:
        """Keep what a step printed, for whoever has to find out why it failed."""
        path = self.ledger.release_directory(version) / f"{name}.log"
        write_file(path, text.encode())
        return path
