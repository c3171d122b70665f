# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a registry, by digest: what comes is what was named, whatever a tag means by now.

The engine pulls them with the host's own certificates and login; no password passes through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._errors import CommandError, SlipwayError

if TYPE_CHECKING:
    from ._compose import Compose, Docker
    from ._process import Runner

TIMEOUT = 3600
_REVISION = '{{index .Config.Labels "org.opencontainers.image.revision"}}'


def named(images: Mapping[str, Mapping[str, str]], version: str, compose: Compose) -> dict[str, str] | None:
    """The digest of each service's image that a release comes with; None when it comes with none.

    SlipwayError where some of them would still have to be built, or belong to nobody.
    """
    if not images:
        return None
    mine = images.get(version)
    if mine is None:
        raise SlipwayError(f"application.images has no entry for {version}, only for {', '.join(sorted(images))}")
    lacking = sorted(set(compose.built()) - set(mine))
    if lacking:
        raise SlipwayError(
            f"application.images of {version} names no image for {', '.join(lacking)}, which would be built"
        )
    unknown = sorted(set(mine) - set(compose.config["services"]))
    if unknown:
        raise SlipwayError(f"application.images of {version} names {', '.join(unknown)}, which Compose does not know")
    return dict(mine)


def pull(runner: Runner, docker: Docker, images: Mapping[str, str], commit: str) -> dict[str, str]:
    """Bring images here; the id of each service's.

    :param commit: what an image that says which commit it is made of must say.
    """
    for reference in sorted(set(images.values())):
        if docker.image_ids([reference])[reference] is None:
            _pull(runner, reference)
        told = runner.run(["docker", "image", "inspect", "--format", _REVISION, reference]).stdout.strip()
        if told not in {"", "<no value>", commit}:
            raise SlipwayError(f"{reference} is made of commit {told[:12]}, and the release is {commit[:12]}")
    ids = docker.image_ids(images.values())
    return {service: ids[reference] or "" for service, reference in images.items()}


def _pull(runner: Runner, reference: str) -> None:
    try:
        runner.run(["docker", "image", "pull", "--quiet", reference], timeout=TIMEOUT)
    except CommandError as error:
        raise SlipwayError(
            f"{reference.partition('@')[0]} cannot be pulled ({error.reason[:300]}): see that root may pull it on this "
            "host, with `docker login` and the registry's certificate in /etc/docker/certs.d"
        ) from error
