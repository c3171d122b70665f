# SPDX-License-Identifier: GPL-3.0-or-later
"""The application profile: what the application is, as plain data, checked as a whole before anything uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ._errors import SlipwayError
from ._reader import Reader, like, one_of

MARKER_PREFIX = "slipway-smoke-"
# What Rails and its database and cache adapters read by convention.
BOOT_VARIABLES = ("DATABASE_URL", "RAILS_ENV", "RAILS_MASTER_KEY", "REDIS_URL", "SECRET_KEY_BASE")
PRIVATE_PATHS = ("/sidekiq", "/metrics", "/rails/info/routes", "/rails/mailers", "/.env", "/.git/config")
NONE, DOCKER_DNS, NGINX_RELOAD, HAPROXY = "none", "docker_dns", "nginx_reload", "haproxy"
DRAINS = (NONE, DOCKER_DNS, NGINX_RELOAD, HAPROXY)
VERBS = ("get", "post", "put", "patch", "delete")

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SERVICE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")
_FILE = re.compile(r"[A-Za-z0-9_.@+][A-Za-z0-9_.@+/ -]*")
_DIRECTORY = re.compile(r"/[A-Za-z0-9_.@+/-]*")
_VOLUME = re.compile(r"[a-zA-Z0-9._-]+")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?(?::[0-9]{1,5})?")
_SERVER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# Characters of the shortest token of a host of repositories.
_SHORTEST_TOKEN = 20
_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_DIGEST = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|credential|api_?key", re.IGNORECASE)
_SELDOM = 3600
_FLAGS = frozenset({"", "0", "1", "true", "false", "on", "off", "yes", "no"})


class ProfileError(SlipwayError):
    """A profile that cannot be used.

    :param problems: every problem found, each one line that begins with the path of the value.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True)
class Repository:
    """Where the application's source is fetched from, as the host reaches it.

    :param changelog: the changelog's path in it.
    :param documentation: the path of the customers' documentation; `${version}` in it stands for the release.
    """

    url: str
    changelog: str = "CHANGELOG.md"
    documentation: str = "docs/customers/${version}.md"


@dataclass(frozen=True)
class Services:
    """Which Compose service plays which part."""

    web: str
    database: str
    worker: str | None = None
    cache: str | None = None
    proxy: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Name the services that the application has."""
        return tuple(
            name for name in (self.database, self.cache, self.web, self.worker, self.proxy) if name is not None
        )


@dataclass(frozen=True)
class Proxy:
    """How the proxy is told which web containers it sends requests to.

    :param drain: one of DRAINS.
    :param upstream: what the proxy calls them: nginx' upstream, HAProxy's backend.
    :param file: where that is written, inside the application's directory; for nginx_reload and haproxy.
    :param socket: HAProxy's admin socket, inside the application's directory; for haproxy.
    :param dns_ttl: seconds for which the proxy goes on with an address that it looked up; for docker_dns.
    :param maintenance_page: HTML for visitors while nothing else answers, inside the application's directory.
    """

    drain: str = NONE
    upstream: str = "web"
    file: str | None = None
    socket: str | None = None
    dns_ttl: float = 10
    maintenance_page: str | None = None

    @property
    def told(self) -> bool:
        """Whether it sends requests where it is told to, whatever else runs."""
        return self.drain in {NGINX_RELOAD, HAPROXY}


@dataclass(frozen=True)
class Database:
    """The application's database, and the role that owns it."""

    name: str
    user: str


@dataclass(frozen=True)
class Redis:
    """The numbers of the Redis databases that hold the cache and Sidekiq's queues."""

    cache_database: int = 0
    worker_database: int = 0


@dataclass(frozen=True)
class Login:
    """A form that opens a session."""

    path: str
    form: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Page:
    """A page that must load, and what it must contain."""

    path: str
    contains: str | None = None


@dataclass(frozen=True)
class Cache:
    """A Redis key that a visit to a page fills; `refresh` deletes the key first, by name."""

    page: str
    key: str
    refresh: bool = False


@dataclass(frozen=True)
class HealthStatus:
    """Where a health document says how it is, and which values are good ones."""

    pointer: str
    healthy: tuple[str | int | bool, ...]


@dataclass(frozen=True)
class HealthTime:
    """Where a health document says when it was made."""

    pointer: str


@dataclass(frozen=True)
class HealthServices:
    """Where a health document lists its services; `status` is the key of each one's state."""

    pointer: str
    status: str
    healthy: tuple[str | int | bool, ...]


@dataclass(frozen=True)
class HealthMinimum:
    """A figure of a health document that must not be smaller."""

    pointer: str
    at_least: float


@dataclass(frozen=True)
class Health:
    """A JSON health document, and how to read it; pointers are JSON Pointers (RFC 6901)."""

    path: str
    status: HealthStatus
    checked_at: HealthTime | None = None
    services: HealthServices | None = None
    minimums: tuple[HealthMinimum, ...] = ()


@dataclass(frozen=True)
class Broadcast:
    """What open pages must hear of a request, over Action Cable.

    :param channel: the parameters of the subscription.
    :param contains: a text in the broadcast.
    :param path: where the application mounts Action Cable.
    :param within: seconds from the answer.
    """

    channel: Mapping[str, str]
    contains: str
    path: str = "/cable"
    within: float = 5


@dataclass(frozen=True)
class Expect:
    """What an answer must be, and what must come of it."""

    status: tuple[int, ...] = (200,)
    contains: str | None = None
    broadcast: Broadcast | None = None


@dataclass(frozen=True)
class Capture:
    """A value taken out of an answer: the first group of `pattern`, in a header or, without one, in the body."""

    name: str
    pattern: re.Pattern[str]
    header: str | None = None


@dataclass(frozen=True)
class Step:
    """One request of a flow. `${name}` in path, form and `contains` stands for a captured value or the marker."""

    verb: str
    path: str
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    expect: Expect = Expect()
    captures: tuple[Capture, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the request may change something."""
        return self.verb != "get"


@dataclass(frozen=True)
class Cleanup:
    """Removes what a flow made: `each` finds records in the answer to `get`, `delete` is the path of one of them."""

    get: str
    each: re.Pattern[str]
    delete: str


@dataclass(frozen=True)
class Flow:
    """Something that users do, as requests one after another."""

    name: str
    steps: tuple[Step, ...]
    cleanup: tuple[Cleanup, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the flow may change something."""
        return any(step.writes for step in self.steps)


@dataclass(frozen=True)
class Invariant:
    """Something that always holds of the data: a SELECT that gives the rows which break it."""

    name: str
    sql: str


@dataclass(frozen=True)
class Figure:
    """A number that a release must not bring down: a SELECT that gives it.

    :param at_least: the share of what it was before the release that must be left.
    """

    name: str
    sql: str
    at_least: float


@dataclass(frozen=True)
class JobPolicy:
    """What may become of jobs.

    :param longest_wait: seconds that a job may wait in its queue; as long as it likes when None.
    :param sidekiq: whether the workers are Sidekiq's; of others nothing is known but that SIGTERM ends them.
    """

    longest_wait: float | None = None
    sidekiq: bool = True


@dataclass(frozen=True)
class Exposure:
    """What nobody may see who has not logged in."""

    private_paths: tuple[str, ...] = PRIVATE_PATHS


@dataclass(frozen=True)
class Logs:
    """What counts as an error in a log, besides what does in every application's.

    :param errors: what is one, whatever its level.
    :param ignore: what is none, which goes before.
    """

    errors: tuple[re.Pattern[str], ...] = ()
    ignore: tuple[re.Pattern[str], ...] = ()


@dataclass(frozen=True)
class Mail:
    """A mail server that takes alerts.

    :param tls: `starttls`, `always` (from the first byte), or `never`.
    """

    server: str
    sender: str
    to: tuple[str, ...]
    port: int = 25
    tls: str = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Alert:
    """Who hears of a breach, besides the file on the host.

    :param webhook: an URL that takes JSON; it may hold a token.
    :param ca_file: certificates to trust instead of the system's.
    """

    webhook: str | None = field(default=None, repr=False)
    mail: Mail | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class Watch:
    """How the host looks after a release that came in.

    :param hours: for how long; 0 for not at all.
    :param every: seconds from one look to the next.
    :param flows_every: seconds between two runs of the flows, which write; 0 for never.
    :param textfile_directory: where Prometheus' node exporter reads metrics.
    """

    hours: float = 24
    every: float = 60
    flows_every: float = 3600
    textfile_directory: str | None = None
    alert: Alert = Alert()


@dataclass(frozen=True)
class Profile:
    """The application profile.

    :param critical_timeout: seconds that a request may take before it counts as failed.
    :param boot_variables: variables of the web service without which Rails does not boot; a rehearsal gives no other.
    :param web_port: where the web service listens inside its container.
    :param worker_drain: seconds that a worker which took no more jobs is given to finish those it has.
    :param state_directory: where the ledgers of the host's applications lie.
    :param backup_directory: where backups go; beside the ledger when None.
    :param uploads: directories with files of users, inside `directory`; backups hold them.
    :param volumes: keys of the Compose files' volumes; backups hold them.
    :param images: by release, the digest of each service's image in a registry; what is listed is not built.
    :param verify_tls: whether the certificate of an https base_url must be valid for the host header.
    :param ca_file: certificates to trust instead of the system's.
    """

    name: str
    directory: str
    version_variable: str
    repository: Repository
    services: Services
    database: Database
    base_url: str
    compose_files: tuple[str, ...] = ("compose.yml",)
    compose_profiles: tuple[str, ...] = ()
    env_file: str = ".env"
    required_variables: tuple[str, ...] = ()
    boot_variables: tuple[str, ...] = BOOT_VARIABLES
    web_port: int = 3000
    migrations_path: str = "db/migrate"
    host_header: str | None = None
    verify_tls: bool = True
    ca_file: str | None = None
    redis: Redis = Redis()
    proxy: Proxy = Proxy()
    worker_drain: float = 25
    login: Login | None = None
    pages: tuple[Page, ...] = ()
    caches: tuple[Cache, ...] = ()
    health: Health | None = None
    flows: tuple[Flow, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    figures: tuple[Figure, ...] = ()
    jobs: JobPolicy = JobPolicy()
    exposure: Exposure = Exposure()
    logs: Logs = Logs()
    watch: Watch = Watch()
    critical_timeout: float = 15
    state_directory: str = "/var/lib/slipway"
    backup_directory: str | None = None
    uploads: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def sidekiq_in(self) -> str | None:
        """The service whose Redis holds Sidekiq's records; None where no worker is Sidekiq."""
        return self.services.cache if self.services.worker and self.jobs.sidekiq else None

    @classmethod
    def parse(cls, mapping: object) -> Profile:
        """Check `mapping` (the variable `application`) and build the profile; ProfileError lists every problem."""
        problems: list[str] = []
        reader = Reader("application", mapping, problems)
        profile = _profile(reader)
        if problems or profile is None:
            raise ProfileError(problems)
        return profile


def secrets(mapping: object) -> frozenset[str]:
    """Find the values of a profile, usable or not, that must never be shown.

    These are all values of the login form, flags aside, any value under a name such as "password" or "api_token", and
    the URL that takes alerts.
    """
    found: set[str] = set()
    if isinstance(mapping, Mapping):
        login = mapping.get("login")
        form = login.get("form") if isinstance(login, Mapping) else None
        if isinstance(form, Mapping):
            found.update(str(value) for value in form.values())
        _collect_secrets(mapping, found)
        watch = mapping.get("watch")
        alert = watch.get("alert") if isinstance(watch, Mapping) else None
        if isinstance(alert, Mapping) and isinstance(alert.get("webhook"), str):
            found.add(alert["webhook"])
    return frozenset(value for value in found if value.lower() not in _FLAGS)


def _collect_secrets(value: object, found: set[str]) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(item, (str, int)) and _SECRET_NAME.search(str(name)):
                found.add(str(item))
            _collect_secrets(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect_secrets(item, found)


_project = like(
    _PROJECT, "must be a Compose project name: lower-case letters, digits, - and _, a letter or digit first"
)
_service = like(_SERVICE, "must be the name of a Compose service: letters, digits, '.', - and _")
_volume = like(_VOLUME, "must be the key of a Compose volume: letters, digits, '.', - and _")
_variable = like(_VARIABLE, "must be the name of a variable: letters, digits and _, no digit first")
_identifier = like(
    _IDENTIFIER, "must be a database identifier: at most 63 letters, digits, _, $ and -, a letter or _ first"
)
address = like(_ADDRESS, "must be an address such as anna@example.com")
_host = like(_HOST, "must be a host name, with a port if need be")
_server = like(_SERVER, "must be a host name; its port stands beside it")
_header = like(_HEADER, "must be the name of a header")


def _absolute(value: str) -> str | None:
    if not value.startswith("/"):
        return f"must be an absolute path, not {value!r}"
    if not _DIRECTORY.fullmatch(value) or ".." in value.split("/"):
        return "must be a path of letters, digits and . _ - + @ without '..'"
    return "must not be the root directory" if not value.strip("/") else None


def _relative(value: str) -> str | None:
    if value.startswith("/"):
        return f"must be relative to application.directory, not {value!r}"
    if not _FILE.fullmatch(value) or ".." in value.split("/"):
        return "must be a path of letters, digits and . _ - + @ inside application.directory, without '..'"
    return None


def _repository_url(value: str) -> str | None:
    if value.startswith("-") or " " in value:
        return "must be a Git URL or an absolute path"
    # Git runs a command of its own choosing for transports such as ext::
    if "::" in value:
        return "must not name a Git transport helper"
    try:
        parts = urlsplit(value if "://" in value else "")
    except ValueError:
        return "must be a Git URL or an absolute path"
    # the name of a user is no secret; other than over SSH a token may stand in its place
    token = "ssh" not in parts.scheme and len(parts.username or "") >= _SHORTEST_TOKEN
    if parts.password is not None or token:
        return "must not contain a password or token: use a credential helper or an SSH key"
    return None


def _base_url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in {"http", "https"} or not host:
        return "must begin with http:// or https:// and name a host"
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or " " in value:
        return "must be a scheme, a host and perhaps a port, nothing more"
    return None


def _path(value: str) -> str | None:
    if not value.startswith("/"):
        return "must begin with /"
    return "must not begin with //" if value.startswith("//") else None


def _pointer(value: str) -> str | None:
    return None if value.startswith("/") else "must be a JSON Pointer, which begins with /"


def _key(value: str) -> str | None:
    if any(letter in value for letter in "*?["):
        return "must be one key by name, not a pattern"
    return None


def _profile(reader: Reader) -> Profile | None:
    services = reader.inside("services", _services, required=True)
    name = reader.text("name", _project, required=True)
    directory = reader.text("directory", _absolute, required=True)
    version_variable = reader.text("version_variable", _variable, required=True)
    repository = reader.inside("repository", _repository, required=True)
    database = reader.inside("database", _database, required=True)
    base_url = reader.text("base_url", _base_url, required=True)
    optional: dict[str, Any] = {
        "compose_files": reader.texts("compose_files", _relative, Profile.compose_files),
        "compose_profiles": reader.texts("compose_profiles", _service),
        "env_file": reader.text("env_file", _relative, default=Profile.env_file),
        "required_variables": reader.texts("required_variables", _variable),
        "boot_variables": reader.texts("boot_variables", _variable, Profile.boot_variables),
        "web_port": reader.whole("web_port", Profile.web_port, least=1, most=65535),
        "migrations_path": reader.text("migrations_path", _relative, default=Profile.migrations_path),
        "host_header": reader.text("host_header", _host),
        "verify_tls": reader.flag("verify_tls", default=Profile.verify_tls),
        "ca_file": reader.text("ca_file", _absolute),
        "redis": reader.inside("redis", _redis) or Profile.redis,
        "proxy": reader.inside("proxy", _proxy) or Profile.proxy,
        "worker_drain": reader.number("worker_drain", Profile.worker_drain, least=0, most=3600),
        "login": reader.inside("login", _login),
        "pages": reader.items("pages", _page),
        "caches": reader.items("caches", _cache),
        "health": reader.inside("health", _health),
        "flows": reader.items("flows", _flow),
        "invariants": reader.items("invariants", _invariant),
        "figures": reader.items("figures", _figure),
        "jobs": reader.inside("jobs", _jobs) or Profile.jobs,
        "exposure": reader.inside("exposure", _exposure) or Profile.exposure,
        "logs": reader.inside("logs", _logs) or Profile.logs,
        "watch": reader.inside("watch", _watch) or Profile.watch,
        "critical_timeout": reader.number("critical_timeout", Profile.critical_timeout, least=0.1, most=600),
        "state_directory": reader.text("state_directory", _absolute, default=Profile.state_directory),
        "backup_directory": reader.text("backup_directory", _absolute),
        "uploads": reader.texts("uploads", _relative),
        "volumes": reader.texts("volumes", _volume),
        "images": _images(reader),
    }
    reader.refuse_unknown()
    if not optional["compose_files"]:
        reader.problem("compose_files", "must not be empty")
    if optional["caches"] and services is not None and services.cache is None:
        reader.problem("services.cache", "is required, since application.caches names keys in it")
    if optional["proxy"].drain != NONE and services is not None and services.proxy is None:
        reader.problem(
            "services.proxy", "is required, since application.proxy says how it learns where to send requests"
        )
    for key in ("flows", "figures"):
        names = [item.name for item in optional[key]]
        for repeated in sorted({item for item in names if names.count(item) > 1}):
            reader.problem(key, f"names {repeated!r} twice")
    if None in (services, name, directory, version_variable, repository, database, base_url):
        return None
    return Profile(
        name=name or "",
        directory=(directory or "").rstrip("/"),
        version_variable=version_variable or "",
        repository=repository or Repository(""),
        services=services or Services("", ""),
        database=database or Database("", ""),
        base_url=(base_url or "").rstrip("/"),
        **optional,
    )


def _images(reader: Reader) -> dict[str, dict[str, str]]:
    value = reader.raw("images")
    releases = value if isinstance(value, Mapping) else {}
    if value is not None and not isinstance(value, Mapping):
        reader.problem("images", "must be a mapping of releases, each with the image of each service")
    found: dict[str, dict[str, str]] = {}
    for version, services in releases.items():
        found[str(version)] = {}
        if not isinstance(services, Mapping):
            reader.problem(f"images.{version}", "must be a mapping of services to images")
            continue
        for service, image in services.items():
            if isinstance(image, str) and _DIGEST.fullmatch(image):
                found[str(version)][str(service)] = image
            else:
                reader.problem(f"images.{version}.{service}", "must name an image by digest: registry/name@sha256:...")
    return found


def _repository(reader: Reader) -> Repository | None:
    url = reader.text("url", _repository_url, required=True)
    changelog = reader.text("changelog", _relative, default=Repository.changelog)
    documentation = reader.text("documentation", _relative, default=Repository.documentation)
    return None if url is None else Repository(url, changelog or "", documentation or "")


def _services(reader: Reader) -> Services | None:
    web = reader.text("web", _service, required=True)
    database = reader.text("database", _service, required=True)
    others = {key: reader.text(key, _service) for key in ("worker", "cache", "proxy")}
    given = [name for name in (web, database, *others.values()) if name is not None]
    for name in sorted({item for item in given if given.count(item) > 1}):
        reader.problem("", f"{name!r} plays two parts: each part is a service of its own")
    return None if web is None or database is None else Services(web, database, **others)


def _database(reader: Reader) -> Database | None:
    name = reader.text("name", _identifier, required=True)
    user = reader.text("user", _identifier, required=True)
    return None if name is None or user is None else Database(name, user)


def _redis(reader: Reader) -> Redis:
    cache = reader.whole("cache_database", Redis.cache_database, least=0, most=1023)
    worker = reader.whole("worker_database", Redis.worker_database, least=0, most=1023)
    return Redis(cache or 0, worker or 0)


def _proxy(reader: Reader) -> Proxy:
    drain = reader.text("drain", _drain, required=True) or NONE
    told, runtime = drain in {NGINX_RELOAD, HAPROXY}, drain == HAPROXY
    proxy = Proxy(
        drain,
        reader.text("upstream", _service, default=Proxy.upstream) or Proxy.upstream,
        reader.text("file", _relative, required=told),
        reader.text("socket", _relative, required=runtime),
        reader.number("dns_ttl", Proxy.dns_ttl, least=0, most=3600) or 0,
        reader.text("maintenance_page", _relative),
    )
    for key, given, wanted in (("file", proxy.file, told), ("socket", proxy.socket, runtime)):
        if given is not None and not wanted:
            reader.problem(key, f"has no meaning where drain is {drain}")
    return proxy


def _drain(value: str) -> str | None:
    return None if value in DRAINS else f"must be one of {', '.join(DRAINS)}"


def _login(reader: Reader) -> Login | None:
    path = reader.text("path", _path, required=True)
    form = reader.form("form", required=True)
    return None if path is None else Login(path, form)


def _page(reader: Reader) -> Page | None:
    path = reader.text("path", _path, required=True)
    contains = reader.text("contains")
    return None if path is None else Page(path, contains)


def _cache(reader: Reader) -> Cache | None:
    page = reader.text("page", _path, required=True)
    key = reader.text("key", _key, required=True)
    refresh = reader.flag("refresh", default=Cache.refresh)
    return None if page is None or key is None else Cache(page, key, refresh)


def _invariant(reader: Reader) -> Invariant | None:
    name = reader.text("name", required=True)
    sql = reader.text("sql", _select, required=True)
    return None if name is None or sql is None else Invariant(name, sql)


def _figure(reader: Reader) -> Figure | None:
    name = reader.text("name", required=True)
    sql = reader.text("sql", _one_number, required=True)
    at_least = reader.number("at_least", None, least=0, most=1)
    return None if name is None or sql is None or at_least is None else Figure(name, sql, at_least)


def _jobs(reader: Reader) -> JobPolicy:
    longest = reader.number("longest_wait", None, least=1) if reader.has("longest_wait") else None
    return JobPolicy(longest, reader.flag("sidekiq", default=JobPolicy.sidekiq))


def _exposure(reader: Reader) -> Exposure:
    return Exposure(reader.texts("private_paths", _path, Exposure.private_paths))


def _logs(reader: Reader) -> Logs:
    errors, ignore = (reader.texts(key, _expression) for key in ("errors", "ignore"))
    return Logs(*(tuple(re.compile(text) for text in texts if not _expression(text)) for texts in (errors, ignore)))


def _expression(value: str) -> str | None:
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return None


def _watch(reader: Reader) -> Watch:
    hours = reader.number("hours", Watch.hours, least=0, most=24 * 14)
    every = reader.number("every", Watch.every, least=10, most=3600)
    flows_every = reader.number("flows_every", Watch.flows_every, least=0, most=24 * 3600)
    if flows_every and flows_every < _SELDOM:
        reader.problem("flows_every", f"must be 0, or at least {_SELDOM}: each run makes and removes records")
    directory = reader.text("textfile_directory", _absolute)
    alert = reader.inside("alert", _alert) or Watch.alert
    return Watch(hours or 0, every or Watch.every, flows_every or 0, directory, alert)


def _alert(reader: Reader) -> Alert:
    webhook, ca_file = reader.text("webhook", webhook_url), reader.text("ca_file", _absolute)
    return Alert(webhook, reader.inside("mail", read_mail), ca_file)


def webhook_url(value: str) -> str | None:
    """What is wrong with an URL that takes messages."""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    good = parts.scheme in {"http", "https"} and host and " " not in value
    # it may hold a token, so that it is not repeated here
    return None if good else "must begin with http:// or https:// and name a host"


def read_mail(reader: Reader) -> Mail | None:
    """Read a mail server, and to whom it is to deliver."""
    server, sender = reader.text("server", _server, required=True), reader.text("from", address, required=True)
    to, port = reader.texts("to", address), reader.whole("port", Mail.port, least=1, most=65535)
    tls = reader.text("tls", one_of(("starttls", "always", "never")), default=Mail.tls)
    user, password = reader.text("user"), reader.text("password")
    if not to:
        reader.problem("to", "must name at least one address")
    if (user is None) != (password is None):
        reader.problem("user", "needs a password, and a password a user")
    if user is not None and tls == "never":
        reader.problem("tls", "must not be never where a password is sent")
    if server is None or sender is None:
        return None
    return Mail(server, sender, to, port or Mail.port, tls or Mail.tls, user, password)


def _select(value: str) -> str | None:
    return _statement(value, "the rows which break the invariant")


def _one_number(value: str) -> str | None:
    return _statement(value, "one number")


def _statement(value: str, gives: str) -> str | None:
    if not re.match(r"\s*(select|with)\b", value, re.IGNORECASE):
        return f"must be a SELECT that gives {gives}"
    return None if ";" not in value.rstrip().rstrip(";") else "must be one statement"


def _health(reader: Reader) -> Health | None:
    path = reader.text("path", _path, required=True)
    status = reader.inside("status", _health_status, required=True)
    checked_at = reader.inside("checked_at", _health_time)
    services = reader.inside("services", _health_services)
    minimums = reader.items("minimums", _health_minimum)
    return None if path is None or status is None else Health(path, status, checked_at, services, minimums)


def _health_status(reader: Reader) -> HealthStatus | None:
    pointer = reader.text("pointer", _pointer, required=True)
    healthy = _healthy(reader)
    return None if pointer is None else HealthStatus(pointer, healthy)


def _health_time(reader: Reader) -> HealthTime | None:
    pointer = reader.text("pointer", _pointer, required=True)
    return None if pointer is None else HealthTime(pointer)


def _health_services(reader: Reader) -> HealthServices | None:
    pointer = reader.text("pointer", _pointer, required=True)
    status = reader.text("status", default="status")
    healthy = _healthy(reader)
    return None if pointer is None or status is None else HealthServices(pointer, status, healthy)


def _health_minimum(reader: Reader) -> HealthMinimum | None:
    pointer = reader.text("pointer", _pointer, required=True)
    at_least = reader.number("at_least", None, least=0)
    return None if pointer is None or at_least is None else HealthMinimum(pointer, at_least)


def _healthy(reader: Reader) -> tuple[str | int | bool, ...]:
    value = reader.raw("healthy", required=True)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(item, (str, int)) for item in value):
        reader.problem("healthy", "must be a list of the values that mean healthy")
        return ()
    return tuple(value)


def _flow(reader: Reader) -> Flow | None:
    name = reader.text("name", required=True)
    known = {"marker"}
    steps = reader.items("steps", lambda inner: _step(inner, known), required=True)
    cleanup = reader.items("cleanup", _cleanup)
    return None if name is None else Flow(name, steps, cleanup)


def _step(reader: Reader, known: set[str]) -> Step | None:
    verbs = [verb for verb in VERBS if reader.has(verb)]
    if len(verbs) != 1:
        reader.problem("", f"must have exactly one of {', '.join(VERBS)}")
    verb = verbs[0] if verbs else "get"
    path = reader.text(verb, _path) if verbs else None
    form = reader.form("form")
    expect = reader.inside("expect", _expect) or Step.expect
    captures = reader.named("capture", _capture)
    sent = [
        (verb, path or ""),
        ("expect.contains", expect.contains or ""),
        *((f"form.{key}", form[key]) for key in form),
    ]
    heard = expect.broadcast
    if heard is not None:
        sent += [(f"expect.broadcast.channel.{key}", text) for key, text in heard.channel.items()]
    _check_references(reader, sent, known)
    known.update(capture.name for capture in captures)
    if heard is not None:
        _check_references(reader, [("expect.broadcast.contains", heard.contains)], known)
    return None if path is None else Step(verb, path, form, expect, captures)


def _check_references(reader: Reader, texts: Iterable[tuple[str, str]], known: set[str]) -> None:
    for key, text in texts:
        for name in _REFERENCE.findall(text):
            if name not in known:
                reader.problem(key, f"${{{name}}} is not known here: captured before are {', '.join(sorted(known))}")


def _broadcast(reader: Reader) -> Broadcast | None:
    channel = reader.form("channel", required=True)
    contains = reader.text("contains", required=True)
    path = reader.text("path", _path, default=Broadcast.path)
    within = reader.number("within", Broadcast.within, least=0.1, most=60)
    if channel and "channel" not in channel:
        reader.problem("channel", "must have channel, the name of the channel's class")
    if contains is None:
        return None
    return Broadcast(channel, contains, path or Broadcast.path, within or Broadcast.within)


def _expect(reader: Reader) -> Expect:
    value = reader.raw("status")
    statuses = list(Expect.status) if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    valid = [item for item in statuses if isinstance(item, int) and item in range(100, 600)]
    if not statuses or len(valid) != len(statuses):
        reader.problem("status", "must be an HTTP status or a list of them")
    return Expect(tuple(valid), reader.text("contains"), reader.inside("broadcast", _broadcast))


def _capture(name: str, reader: Reader) -> Capture | None:
    if not _VARIABLE.fullmatch(name) or name == "marker":
        reader.problem("", "must be a name of letters, digits and _, other than marker")
    pattern = reader.pattern("pattern")
    header = reader.text("header", _header)
    return None if pattern is None else Capture(name, pattern, header)


def _cleanup(reader: Reader) -> Cleanup | None:
    get = reader.text("get", _path, required=True)
    each = reader.pattern("each")
    delete = reader.text("delete", _path, required=True)
    if each is not None and delete is not None:
        groups = {str(number) for number in range(1, each.groups + 1)}
        names = set(_REFERENCE.findall(delete))
        for name in sorted(names - groups):
            reader.problem("delete", f"${{{name}}} is no group of each")
        if not names & groups:
            reader.problem("delete", "must contain ${1}, the first group of each")
    if get is None or each is None or delete is None:
        return None
    return Cleanup(get, each, delete)
