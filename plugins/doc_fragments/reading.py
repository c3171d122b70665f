# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that modules share which only look at something, on the controller."""

from __future__ import annotations


class ModuleDocFragment:
    """What holds for all of them."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Looks at the same in check mode.
  diff_mode:
    support: none
    description: Looking changes nothing.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""
