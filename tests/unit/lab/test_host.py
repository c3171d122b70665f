from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import host, swarm
from lab._common import LabError
from lab.host import Host


def test_the_address_follows_from_the_name() -> None:
    assert [Host(name).address for name in ("site1", "site2", "site99")] == ["10.89.0.11", "10.89.0.12", "10.89.0.109"]


@pytest.mark.parametrize("name", ["site0", "site100", "web", "site1; reboot", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="site1 to site99"):
        Host(name)


def test_secrets_are_for_their_owner_alone_and_never_twice_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "BUILD", tmp_path)
    first, second = host.make_secrets(Host("site1")), host.make_secrets(Host("site1"))
    path = Host("site1").secrets_file
    assert not set(first.values()) & set(second.values())
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text())["vault_operator_password"] == second["operator_password"]


def test_known_hosts_keeps_the_other_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "KNOWN_HOSTS", tmp_path / "known_hosts")
    host.KNOWN_HOSTS.write_text("10.89.0.11 ssh-ed25519 A\n10.89.0.110 ssh-ed25519 B\n")
    assert host.known_hosts_without(Host("site1")) == ["10.89.0.110 ssh-ed25519 B"]


def test_the_environment_names_the_release_and_every_secret() -> None:
    text = swarm.environment("1.0.0", dict.fromkeys(host.SECRETS, "x"))
    assert [line.partition("=")[0] for line in text.splitlines()] == [
        "APP_VERSION",
        "APPLICATION_HOST",
        "POSTGRES_PASSWORD",
        "SECRET_KEY_BASE",
        "OPERATOR_PASSWORD",
    ]
