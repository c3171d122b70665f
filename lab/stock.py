"""Puts an application as `rails new` makes it on a host by hand: another one than the sample."""

from __future__ import annotations

import secrets
import tarfile
from io import BytesIO

from lab import images, swarm
from lab._common import ROOT, told
from lab.host import Host

SOURCE = ROOT / "examples" / "stock"
DIRECTORY = "/opt/shop"
REPOSITORY = "/srv/git/shop.git"
INSTALLED = "1.4.2"
OWNER = swarm.OWNER
# As people know them; a host of the lab has no registry to get them from.
NAMES = {"swarm-ruby": "rails:7.2", "swarm-postgres": "postgres:17"}
WITHOUT = (
    *("asset-pipeline", "brakeman", "bundle", "ci", "dev-gems", "devcontainer", "git", "javascript"),
    *("jbuilder", "kamal", "rubocop", "test"),
)

COMPOSE = r"""
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
tar --extract --directory "$work"
docker run --rm --user "$(id -u):$(id -g)" --env HOME=/tmp --volume "$work:/work" --workdir /work rails:7.2 \
    rails new shop --database=postgresql {options} >/dev/null
git() {{ command git -C "$work/shop" -c user.name=Shop -c user.email=shop@example.test "$@"; }}
git init --quiet --initial-branch main
for version in {installed} $(ls "$work/stock/releases"); do
    from="$work/stock/releases/$version"
    [ -d "$from" ] || from="$work/stock/base"
    cp --recursive "$from/." "$work/shop"
    git add --all
    git commit --quiet --message "Release $version"
    git tag "$version"
done
command git clone --quiet --bare "$work/shop" {repository}
"""
ENVIRONMENT = """\
APP_VERSION={version}
DATABASE_URL=postgresql://clerk:{password}@db/orders
POSTGRES_PASSWORD={password}
SECRET_KEY_BASE={key}
"""
# The application's user is no superuser: it may make tables because it is a member of the database's owner.
CLERK = r"""
until docker exec shop-db-1 pg_isready --quiet --host 127.0.0.1; do sleep 0.1; done
password=$(sed -n 's/^POSTGRES_PASSWORD=//p' .env)
docker exec --interactive shop-db-1 psql --quiet -v ON_ERROR_STOP=1 --username shopkeeper orders \
  <<<"CREATE ROLE clerk LOGIN PASSWORD '$password' IN ROLE shopkeeper"
"""
UP = "docker compose -f docker-compose.yml -f docker-compose.prod.yml"


def prepare(host: Host) -> None:
    """Give a host the images of a registry, and the repository to pull from."""
    with told(f"{host.name}: runtime images loaded"):
        tags = {name: tag for tag in images.RUNTIME_TAGS for name in NAMES if tag.startswith(f"{name}:")}
        swarm.load_images(host, *tags.values())
        host.sh("\n".join(f"docker tag {tag} {NAMES[name]}; docker rmi {tag}" for name, tag in tags.items()))
    with told(f"{host.name}: an application made by rails new"):
        content = BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(SOURCE, "stock")
        host.sh(f"install -d -o {OWNER} -g {OWNER} {DIRECTORY} /srv/git")
        options = " ".join(f"--skip-{name}" for name in WITHOUT)
        script = COMPOSE.format(options=options, installed=INSTALLED, repository=REPOSITORY)
        host.sh(script, user=OWNER, stdin=content.getvalue())


def install(host: Host) -> None:
    """Install the first release as its README would say, and return when it answers."""
    password, key = secrets.token_hex(16), secrets.token_hex(32)
    with told(f"{host.name}: release {INSTALLED} installed"):
        host.sh(
            f"git clone --quiet {REPOSITORY} {DIRECTORY}\n"
            f"cd {DIRECTORY}\n"
            f"git -c advice.detachedHead=false checkout --quiet {INSTALLED}\n"
            "sudo install -d -o 1000 -g 1000 storage\n"
            "umask 077 && cat >.env\n"
            f"{UP} build --quiet\n"
            f"{UP} up --detach db\n"
            f"{CLERK}"
            f"{UP} up --detach\n"
            "for i in $(seq 240); do curl --fail --silent http://127.0.0.1/up >/dev/null && exit; sleep 0.5; done\n"
            f"{UP} logs app | tail -5 >&2; exit 1",
            user=OWNER,
            stdin=ENVIRONMENT.format(version=INSTALLED, password=password, key=key).encode(),
        )
