from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.slipway.release.plugins.module_utils._profile import Profile
from ansible_collections.slipway.release.plugins.module_utils._site import EnvFile, Site

APPLICATION = {
    "name": "swarm",
    "directory": "/opt/swarm",
    "version_variable": "APP_VERSION",
    "repository": {"url": "/srv/git/swarm.git"},
    "services": {"web": "web", "database": "postgres"},
    "database": {"name": "swarm_production", "user": "swarm_owner"},
    "base_url": "http://127.0.0.1",
}
OWNER = (os.getuid(), os.getgid())
TEXT = "# secrets\nPOSTGRES_PASSWORD='a b'\n\nexport APP_VERSION=1.0.0\nEMPTY=\n"


def test_values_are_read_without_quotes_and_comments(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert EnvFile(path).values() == {}
    path.write_text(TEXT)
    assert EnvFile(path).values() == {"POSTGRES_PASSWORD": "a b", "APP_VERSION": "1.0.0", "EMPTY": ""}


def test_single_keys_change_and_the_rest_stays_as_people_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(TEXT)
    path.chmod(0o640)
    EnvFile(path).assign({"APP_VERSION": "1.1.0", "NEW": "x"}, OWNER)
    assert path.read_text() == TEXT.replace("export APP_VERSION=1.0.0", "APP_VERSION=1.1.0") + "NEW=x\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    EnvFile(path).assign({"SECRET": "x"}, OWNER)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_session_that_stays_does_not_keep_the_site_busy_after_the_lock_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # answers as psql does: an \\echo is echoed
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexec sed -nu 's/^.echo //p'\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    site = Site(Profile.parse({**APPLICATION, "state_directory": str(tmp_path / "state")}))
    with site.ledger.locked():
        assert site.runner.psql(["docker", "exec"], "SELECT 1", 10) == ""
        assert site.ledger.busy()
    assert not site.ledger.busy()
    with site.ledger.locked(wait=0):
        pass
