# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs that we run would tell or ask somebody outside by themselves, and how each is told not to.

What whoever runs us has set counts more.
"""

from __future__ import annotations

from collections.abc import Mapping

QUIET = {
    "DO_NOT_TRACK": "1",
    "DOCKER_CLI_HINTS": "false",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "TRIVY_DISABLE_TELEMETRY": "true",
    "TRIVY_SKIP_VERSION_CHECK": "true",
    "GRYPE_CHECK_FOR_APP_UPDATE": "false",
}
# a scanner where releases come by bundles uses the database that it has
OFFLINE = {
    "TRIVY_OFFLINE_SCAN": "true",
    "TRIVY_SKIP_CHECK_UPDATE": "true",
    "TRIVY_SKIP_DB_UPDATE": "true",
    "TRIVY_SKIP_JAVA_DB_UPDATE": "true",
    "GRYPE_DB_AUTO_UPDATE": "false",
}


def quiet(environment: Mapping[str, str], *, offline: bool = False) -> dict[str, str]:
    """An environment in which nothing phones home.

    :param offline: whether databases stay as they are.
    """
    return {**QUIET, **(OFFLINE if offline else {}), **environment}
