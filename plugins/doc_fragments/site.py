# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the engine's modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments that describe a site."""

    DOCUMENTATION = r"""
options:
  application:
    description:
      - The application profile, plain data that says what the application is.
      - Its keys and their meaning stand in docs/profile.md. Every problem in it is reported at once.
    type: dict
    required: true
  environment:
    description:
      - Keys and values that the application's env file must hold besides its version, such as secrets from a vault.
      - They are written at the switch, one key at a time; other lines of the file stay as they are.
    type: dict
requirements:
  - Python 3.9 or later, Docker Engine 25 or later with Compose v2, and git on the host
"""

    RUN = r"""
options:
  run:
    description: The run that M(slipway.release.preflight) opened; its C(token) is checked under the site's lock.
    type: dict
    required: true
"""

    RETENTION = r"""
options:
  keep:
    description: How many of the newest backups are kept, to tell why one is.
    type: int
    default: 5
  keep_days:
    description: For how many days a backup is kept, to tell why one is.
    type: float
    default: 30
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    support: full
    description: In check mode nothing is changed, and the result says what would be.
  diff_mode:
    support: none
    description: With C(--diff) the result shows the release before and after.
  idempotent:
    support: full
    description: A second run with the same arguments changes nothing.
  platform:
    support: full
    description: Where the module runs.
    platforms: posix
"""
