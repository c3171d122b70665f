#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a release as a bundle. The code is in the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Write a release as a signed bundle
version_added: 0.1.0
description:
  - Gathers all that a site without a network needs of a release and writes it as one signed file in parts, on the
    controller. Its Docker engine must have the images; built or pulled, they are saved as they are.
  - The same content gives the same bytes.
  - Runs on the controller and connects to nothing but its engine, and to PyPI where O(pythons) are named and no
    O(wheels).
author: Slipway contributors (@slipway)
options:
  application:
    description: The application profile; docs/profile.md explains its keys.
    type: dict
    required: true
  environment:
    description: The values that its Compose files ask for.
    type: dict
    default: {}
  version:
    description: The release, a tag of the application's repository.
    type: str
    required: true
  source:
    description: A git checkout of the application.
    type: path
    required: true
  library:
    description: The git checkout of Slipway; what is committed there goes in.
    type: path
    required: true
  files:
    description: What else goes in, such as wheels, helpers and documents.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: A file or a directory.
        type: path
        required: true
      dest:
        description: Where it goes in the bundle.
        type: str
        required: true
  path:
    description: The file of the sums, C(NAME.sums), in a directory that is there. The parts go beside it.
    type: path
    required: true
  key:
    description: The private key that signs, or the public one of a key that an agent has.
    type: path
    required: true
  signers:
    description: The file of allowed signers. The bundle is verified with it, as a site does, before this succeeds.
    type: path
    required: true
  pythons:
    description:
      - The versions of Python that a first controller may be made with at the site, such as C(3.13). What such a
        controller needs of PyPI then goes in, as C(requirements-run.lock) of the library pins it, and the program that
        makes it. Nothing of it when the list is empty.
    type: list
    elements: str
    default: []
  wheels:
    description: A directory that has those packages as wheels. Without it pip asks the index that it knows.
    type: path
  evidence:
    description: Holds a directory for each release, named by its version; this release's goes in, where it is there.
    type: path
  part_size:
    description: The most bytes of a part.
    type: int
    default: 4000000000
  level:
    description: How hard zstd tries, from 1 to 22.
    type: int
    default: 22
  base:
    description: The sums of the bundle of a release that the site has. Only what differs is written then.
    type: path
attributes:
  check_mode:
    support: full
    description: In check mode the closure is gathered, and nothing is written.
  diff_mode:
    support: none
    description: A bundle is a new file.
  platform:
    support: full
    description: Where it runs.
    platforms: posix
"""

EXAMPLES = r"""
- name: Write the bundle
  slipway.release.bundle:
    application: "{{ application }}"
    version: 1.1.0
    source: /srv/checkouts/swarm
    library: "{{ playbook_dir | dirname }}"
    pythons: ["3.13"]
    evidence: evidence
    files:
      - {src: /srv/helpers, dest: helpers}
    path: /srv/bundles/swarm-1.1.0.sums
    key: ~/.ssh/slipway-bundle
    signers: /srv/bundles/allowed_signers
"""

RETURN = r"""
commands:
  description: The two commands that verify the bundle on any host.
  returned: when it was written
  type: list
  elements: str
size:
  description: The bytes of all parts.
  returned: when it was written
  type: int
images:
  description: The id of each service's image.
  returned: success
  type: dict
msg:
  description: What is wrong; one line.
  returned: failure
  type: str
"""

_PLACE: dict[str, object] = {"type": "path", "required": True}
ARGUMENTS: dict[str, dict[str, object]] = {
    "application": {"type": "dict", "required": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "version": {"type": "str", "required": True},
    "source": _PLACE,
    "library": _PLACE,
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"src": _PLACE, "dest": {"type": "str", "required": True}},
    },
    "path": _PLACE,
    "key": {**_PLACE, "no_log": False},
    "signers": _PLACE,
    "pythons": {"type": "list", "elements": "str", "default": []},
    "wheels": {"type": "path"},
    "evidence": {"type": "path"},
    "part_size": {"type": "int", "default": 4_000_000_000},
    "level": {"type": "int", "default": 22},
    "base": {"type": "path"},
}
