# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments that modules have in common. They are checked on the controller."""

from __future__ import annotations

from typing import Any

SITE_ARGUMENTS: dict[str, Any] = {
    "application": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "compose_files": {"type": "list", "elements": "str"},
            "compose_profiles": {"type": "list", "elements": "str"},
            "env_file": {"type": "str"},
            "version_variable": {"type": "str", "required": True},
            "required_variables": {"type": "list", "elements": "str"},
            "boot_variables": {"type": "list", "elements": "str"},
            "web_port": {"type": "int"},
            "repository": {"type": "dict", "required": True},
            "services": {"type": "dict", "required": True},
            "database": {"type": "dict", "required": True},
            "migrations_path": {"type": "str"},
            "base_url": {"type": "str", "required": True},
            "host_header": {"type": "str"},
            "login": {
                "type": "dict",
                "options": {
                    "path": {"type": "str", "required": True},
                    "form": {"type": "dict", "required": True, "no_log": True},
                },
            },
            "pages": {"type": "list", "elements": "dict"},
            "caches": {"type": "list", "elements": "dict"},
            "health": {"type": "dict"},
            "flows": {"type": "list", "elements": "dict"},
            "invariants": {"type": "list", "elements": "dict"},
            "figures": {"type": "list", "elements": "dict"},
            "jobs": {"type": "dict"},
            "exposure": {"type": "dict"},
            "logs": {"type": "dict"},
            "watch": {
                "type": "dict",
                "options": {
                    "hours": {"type": "float"},
                    "every": {"type": "float"},
                    "flows_every": {"type": "float"},
                    "textfile_directory": {"type": "str"},
                    "alert": {
                        "type": "dict",
                        "options": {
                            "webhook": {"type": "str", "no_log": True},
                            "ca_file": {"type": "str"},
                            "mail": {
                                "type": "dict",
                                "options": {
                                    "server": {"type": "str", "required": True},
                                    "port": {"type": "int"},
                                    "from": {"type": "str", "required": True},
                                    "to": {"type": "list", "elements": "str", "required": True},
                                    "tls": {"type": "str"},
                                    "user": {"type": "str"},
                                    "password": {"type": "str", "no_log": True},
                                },
                            },
                        },
                    },
                },
            },
            "critical_timeout": {"type": "float"},
            "state_directory": {"type": "str"},
            "backup_directory": {"type": "str"},
            "uploads": {"type": "list", "elements": "str"},
            "images": {"type": "dict"},
            "volumes": {"type": "list", "elements": "str"},
            "redis": {"type": "dict"},
            "proxy": {"type": "dict"},
            "worker_drain": {"type": "float"},
            "verify_tls": {"type": "bool"},
            "ca_file": {"type": "str"},
        },
    },
}

RETENTION_ARGUMENTS: dict[str, Any] = {
    "keep": {"type": "int", "default": 5},
    "keep_days": {"type": "float", "default": 30.0},
}

ENGINE_ARGUMENTS: dict[str, Any] = {**SITE_ARGUMENTS, "environment": {"type": "dict", "no_log": True}}

RUN_ARGUMENTS: dict[str, Any] = {**ENGINE_ARGUMENTS, "run": {"type": "dict", "required": True}}
