"""Reports as scanners write them, reduced to what has a meaning here and made by hand from their public schemas."""

from __future__ import annotations

import json
from typing import Any

MADE = "2026-11-22T06:12:31.123456789Z"
IMAGE = "sha256:" + "a" * 64


def trivy(*vulnerabilities: tuple[str, str, str], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - plain data
    """`trivy image --format json`, schema 2; vulnerabilities as (id, package, severity)."""
    found = [
        {
            "VulnerabilityID": identity,
            "PkgID": f"{package}@3.0.1",
            "PkgName": package,
            "InstalledVersion": "3.0.1",
            "FixedVersion": "3.0.2",
            "Status": "fixed",
            "Severity": severity,
            "PrimaryURL": f"https://avd.example/nvd/{identity.lower()}",
        }
        for identity, package, severity in vulnerabilities
    ]
    return {
        "SchemaVersion": 2,
        "Trivy": {"Version": "0.70.0", "VulnerabilityDB": {"Version": 2, "UpdatedAt": MADE}},
        "CreatedAt": "2026-11-23T07:00:00.5+01:00",
        "ArtifactName": "swarm:1.1.0",
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "13"}, "ImageID": IMAGE, "RepoTags": ["swarm:1.1.0"]},
        "Results": [
            {"Target": "swarm:1.1.0 (debian 13)", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": found},
            {"Target": "Ruby", "Class": "lang-pkgs", "Type": "gemspec"},
            {"Target": "config", "Class": "config", "Vulnerabilities": None},
        ],
        **changes,
    }


GRYPE: dict[str, Any] = {
    "matches": [
        {
            "vulnerability": {
                "id": "GHSA-aaaa-bbbb-cccc",
                "dataSource": "https://github.example/advisories/GHSA-aaaa-bbbb-cccc",
                "namespace": "github:language:ruby",
                "severity": "Critical",
                "fix": {"versions": ["2.2.8.1", "2.2.9"], "state": "fixed"},
            },
            "relatedVulnerabilities": [{"id": "CVE-2026-0002"}],
            "matchDetails": [],
            "artifact": {"name": "rack", "version": "2.2.8", "type": "gem", "locations": [{"path": "/app"}]},
        },
        {
            "vulnerability": {"id": "CVE-2020-0001", "severity": "Negligible", "fix": {"versions": [], "state": ""}},
            "artifact": {"name": "bash", "version": "5.2-1", "type": "deb"},
        },
    ],
    "source": {"type": "image", "target": {"userInput": "swarm:1.1.0", "imageID": IMAGE, "tags": ["swarm:1.1.0"]}},
    "distro": {"name": "debian", "version": "13"},
    "descriptor": {
        "name": "grype",
        "version": "0.110.0",
        "timestamp": "2026-11-23T08:00:00Z",
        "db": {"status": {"schemaVersion": "v6.1.2", "built": "2026-11-22T05:00:00Z", "valid": True}},
    },
}

BUNDLER_AUDIT: dict[str, Any] = {
    "version": "0.9.2",
    "created_at": "2026-11-23 08:00:00 +0100",
    "results": [
        {
            "type": "unpatched_gem",
            "gem": {"name": "rails-html-sanitizer", "version": "1.4.2"},
            "advisory": {
                "path": "/db/gems/rails-html-sanitizer/CVE-2022-32209.yml",
                "id": "CVE-2022-32209",
                "title": "Possible XSS",
                "cvss_v3": 6.1,
                "cve": "2022-32209",
                "ghsa": "pg8v-g4xq-hww9",
                "patched_versions": [">= 1.4.3"],
                "criticality": "medium",
            },
        },
        {
            "type": "unpatched_gem",
            "gem": {"name": "old", "version": "1"},
            "advisory": {"id": "OSVDB-1", "cve": None, "ghsa": None, "patched_versions": [], "criticality": None},
        },
        {"type": "insecure_source", "source": "http://gems.example/"},
    ],
}

SARIF_TRIVY: dict[str, Any] = {
    "version": "2.1.0",
    "$schema": "https://json.schemastore.example/sarif-2.1.0.json",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "Trivy",
                    "fullName": "Trivy Vulnerability Scanner",
                    "rules": [
                        {
                            "id": "CVE-2026-0003",
                            "name": "OsPackageVulnerability",
                            "defaultConfiguration": {"level": "error"},
                            "help": {"text": "Vulnerability CVE-2026-0003\nSeverity: CRITICAL\nPackage: libssl3"},
                            "properties": {"security-severity": "9.8", "tags": ["vulnerability", "CRITICAL"]},
                        }
                    ],
                }
            },
            "results": [
                {
                    "ruleId": "CVE-2026-0003",
                    "ruleIndex": 0,
                    "level": "error",
                    "message": {
                        "text": "Package: libssl3\nInstalled Version: 3.0.1\nVulnerability CVE-2026-0003\n"
                        "Severity: HIGH\nFixed Version: 3.0.2\nLink: [CVE-2026-0003](https://avd.example)"
                    },
                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": "swarm"}}}],
                }
            ],
            "columnKind": "utf16CodeUnits",
            "properties": {"imageName": "swarm:1.1.0", "imageID": IMAGE, "repoTags": ["swarm:1.1.0"]},
        }
    ],
}

SARIF_GRYPE: dict[str, Any] = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "grype",
                    "rules": [
                        {
                            "id": "CVE-2026-0004-rack",
                            "help": {
                                "text": "Vulnerability CVE-2026-0004\nSeverity: critical\nPackage: rack\n"
                                "Version: 2.2.8\nFix Version: 2.2.9\nType: gem\nLocation: /app"
                            },
                            "properties": {"security-severity": "9.8"},
                        }
                    ],
                }
            },
            "invocations": [{"executionSuccessful": True, "endTimeUtc": "2026-11-22T10:00:00Z"}],
            "results": [
                {"ruleId": "CVE-2026-0004-rack", "message": {"text": "The path /app reports rack at version 2.2.8"}},
                {"ruleId": "CVE-2026-0004-rack", "message": {"text": "x"}, "suppressions": [{"kind": "external"}]},
                {"ruleId": "CVE-2026-0004-rack", "message": {"text": "x"}, "kind": "pass"},
            ],
        }
    ],
}

SARIF_CODE: dict[str, Any] = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "Brakeman", "rules": [{"id": "BRAKE0000", "name": "SQLInjection"}]}},
            "versionControlProvenance": [{"repositoryUri": "https://git.example/swarm", "revisionId": "c" * 40}],
            "results": [
                {
                    "ruleId": "BRAKE0000",
                    "level": "error",
                    "message": {"text": "Possible SQL injection."},
                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": "app/models/agent.rb"}}}],
                }
            ],
        }
    ],
}


def written(document: object) -> bytes:
    """A report as bytes."""
    return json.dumps(document).encode()
