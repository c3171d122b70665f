from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _git
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError, SlipwayError
from ansible_collections.slipway.release.plugins.module_utils._git import Checkout
from ansible_collections.slipway.release.plugins.module_utils._process import HostRunner

pytestmark = pytest.mark.promise("D1")


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.test", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, "-C", str(directory), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    directory = tmp_path / "remote"
    directory.mkdir()
    git(directory, "init", "--quiet")
    for version, kind in (("1.0.0", "--no-sign"), ("1.1.0", "--annotate")):
        (directory / "file").write_text(version)
        git(directory, "add", "file")
        git(directory, "commit", "--quiet", "--message", version)
        git(directory, "tag", kind, "--message", version, version) if kind == "--annotate" else git(
            directory, "tag", version
        )
    return directory


@pytest.fixture
def checkout(tmp_path: Path, remote: Path) -> Checkout:
    checkout = Checkout(HostRunner(), tmp_path / "app", str(remote))
    checkout.fetch()
    checkout.check_out(git(remote, "rev-parse", "1.0.0"))
    return checkout


@pytest.mark.parametrize("ref", ["1.0.0", "1.1.0", "main"])
def test_a_ref_is_resolved_to_its_commit_not_to_a_tag_object(tmp_path: Path, remote: Path, ref: str) -> None:
    wanted = git(remote, "rev-parse", f"{ref}^{{commit}}")
    assert Checkout(HostRunner(), tmp_path / "nothing", str(remote)).remote_commit(ref) == wanted


def test_an_unknown_ref_is_none_and_an_unreadable_repository_an_error(tmp_path: Path, remote: Path) -> None:
    assert Checkout(HostRunner(), tmp_path / "nothing", str(remote)).remote_commit("9.9.9") is None
    with pytest.raises(CommandError):
        Checkout(HostRunner(), tmp_path / "nothing", str(tmp_path / "absent")).remote_commit("1.0.0")


def test_checking_out_leaves_untracked_files_alone(checkout: Checkout, remote: Path) -> None:
    (checkout.directory / ".env").write_text("SECRET=1\n")
    new = git(remote, "rev-parse", "1.1.0^{commit}")
    assert not checkout.is_at(new)
    checkout.check_out(new)
    assert checkout.is_at(new)
    assert (checkout.directory / "file").read_text() == "1.1.0"
    assert (checkout.directory / ".env").read_text() == "SECRET=1\n"


def test_a_first_fetch_begins_a_checkout_around_what_is_there(tmp_path: Path, remote: Path) -> None:
    (tmp_path / "fresh" / "storage").mkdir(parents=True)
    checkout = Checkout(HostRunner(), tmp_path / "fresh", str(remote))
    checkout.fetch()
    commit = git(remote, "rev-parse", "main")
    assert checkout.head() is None
    assert not checkout.is_at(commit)
    checkout.check_out(commit)
    assert checkout.is_at(commit)
    assert (checkout.directory / "storage").is_dir()


@pytest.mark.parametrize("own", [False, True])
def test_the_checkout_s_own_way_to_reach_its_repository_is_taken_and_asks_nobody(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    ssh, told = tmp_path / "bin/ssh", tmp_path / "told"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >{told}\nexit 1\n')
    ssh.chmod(0o755)
    if own:
        git(checkout.directory, "config", "core.sshCommand", f"{ssh} -i shop_deploy")
    else:
        monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    away = Checkout(HostRunner(), checkout.directory, "ssh://git@git.example.test/shop.git")

    def heard() -> tuple[bool, ...]:
        words = told.read_text()
        told.unlink()
        return tuple(part in words for part in ("-i shop_deploy", "-o BatchMode=yes", "git.example.test"))

    with pytest.raises(CommandError):
        away.fetch()
    assert heard() == (own, True, True)
    with pytest.raises(CommandError):
        away.remote_commit("1.1.0")
    assert heard() == (own, True, True)


def test_a_tag_that_was_moved_keeps_nothing_else_out(checkout: Checkout, remote: Path) -> None:
    git(remote, "tag", "stable", "1.0.0")
    checkout.fetch()
    git(remote, "tag", "--force", "stable", "1.1.0")
    (remote / "file").write_text("1.2.0")
    git(remote, "commit", "--quiet", "--all", "--message", "1.2.0")
    git(remote, "tag", "1.2.0")
    checkout.fetch()
    assert git(checkout.directory, "rev-parse", "1.2.0") == git(remote, "rev-parse", "1.2.0")
    assert git(checkout.directory, "rev-parse", "stable") == git(remote, "rev-parse", "stable")


def test_exporting_does_not_touch_the_checkout_and_can_be_repeated(checkout: Checkout, tmp_path: Path) -> None:
    old, new = checkout.head(), checkout.remote_commit("1.1.0")
    assert old is not None
    assert new is not None
    destination = tmp_path / "source"
    checkout.export(new, destination)
    checkout.export(new, destination)
    assert (destination / "file").read_text() == "1.1.0"
    assert checkout.is_at(old)
    assert checkout.differing(old, new) == ["file"]


def test_foreign_files_are_never_overwritten_by_an_export(checkout: Checkout, tmp_path: Path) -> None:
    destination = tmp_path / "source"
    destination.mkdir()
    (destination / "precious").write_text("")
    with pytest.raises(SlipwayError, match="did not put there"):
        checkout.export(checkout.head() or "", destination)


def test_changes_by_hand_are_seen(checkout: Checkout) -> None:
    assert checkout.changes() == []
    (checkout.directory / "file").write_text("changed")
    assert checkout.changes() == ["file"]


def test_the_highest_tag_of_a_commit_names_it(checkout: Checkout, remote: Path) -> None:
    git(remote, "tag", "1.0.1", "1.0.0")
    checkout.fetch()
    assert checkout.tag_of(checkout.head() or "") == "1.0.1"


def test_a_checkout_that_was_killed_is_ended_and_what_was_changed_is_kept(
    checkout: Checkout, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_git, "LOCK_AGE", 0.0)
    (checkout.directory / ".git" / "index.lock").touch()
    (checkout.directory / "file").write_text("half of it")
    old, new = git(remote, "rev-parse", "1.0.0"), git(remote, "rev-parse", "1.1.0^{commit}")
    checkout.check_out(new)
    assert checkout.is_at(new)
    kept = git(checkout.directory, "for-each-ref", "--format=%(objectname)", "refs/slipway/kept/")
    assert git(checkout.directory, "show", f"{kept}:file") == "half of it"
    checkout.check_out(old)
    assert checkout.is_at(old)


def test_a_lock_that_is_young_is_waited_for(checkout: Checkout, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_git, "LOCK_AGE", 0.5)
    (checkout.directory / ".git" / "index.lock").touch()
    begun = time.monotonic()
    checkout.check_out(git(remote, "rev-parse", "1.1.0^{commit}"))
    assert time.monotonic() - begun > 0.3


@pytest.mark.promise("G3", "G9")
def test_files_at_a_commit_are_read_before_it_is_fetched_and_nothing_here_changes(
    tmp_path: Path, remote: Path, checkout: Checkout
) -> None:
    (remote / "docs").mkdir()
    (remote / "docs/1.2.0.md").write_text("what is new\n")
    (remote / "link").symlink_to("/etc/passwd")
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "--message", "1.2.0")
    commit = git(remote, "rev-parse", "HEAD")
    before = sorted(checkout.directory.rglob("*"))
    for asked in (checkout, Checkout(HostRunner(), tmp_path / "nothing", str(remote))):
        with asked.holding(commit) as place:
            assert asked.file_at(place, commit, "docs/1.2.0.md", 100) == "what is new\n"
            assert asked.file_at(place, commit, "link", 100) == "/etc/passwd"
            assert asked.file_at(place, commit, "docs", 100) is None
            assert asked.file_at(place, commit, "absent", 100) is None
            assert asked.names_at(place, commit, "docs") == ["1.2.0.md"]
            assert asked.names_at(place, commit, "absent") == []
            with pytest.raises(SlipwayError, match=r"docs/1\.2\.0\.md is larger than"):
                asked.file_at(place, commit, "docs/1.2.0.md", 5)
        assert not place.exists()
    assert sorted(checkout.directory.rglob("*")) == before
    assert not checkout.has_commit(commit)
    checkout.fetch()
    with checkout.holding(commit) as place:
        assert place == checkout.directory
    with pytest.raises(CommandError), checkout.holding("0" * 40):
        pass


def test_what_was_moved_differs_in_both_places_and_names_are_as_they_are(remote: Path, checkout: Checkout) -> None:
    (remote / "m\u00f6bel.conf").write_text("one")
    git(remote, "mv", "file", "moved")
    git(remote, "add", "--all")
    git(remote, "commit", "--quiet", "--message", "moved")
    git(remote, "tag", "2.0.0")
    checkout.fetch()
    assert sorted(checkout.differing("1.1.0", "2.0.0")) == ["file", "moved", "m\u00f6bel.conf"]
    assert checkout.differing("2.0.0", "2.0.0") == []


class Forbidden:
    """A runner that nothing may be run by."""

    def run(self, argv: list[str], **_options: object) -> None:
        pytest.fail(f"it was run: {argv}")


def refused(directory: Path) -> str:
    """Why git is not run in a directory."""
    made = Checkout(cast("Any", Forbidden()), directory, "/srv/git/shop.git")
    with pytest.raises(SlipwayError) as caught:
        made.check()
    with pytest.raises(SlipwayError) as again:
        made.changes()
    assert str(again.value) == str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def accepted(directory: Path) -> tuple[int, int]:
    """As whom git is run in a directory where it may be."""
    made = Checkout(HostRunner(), directory, "/srv/git/shop.git")
    made.check()
    return made.owner


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who alone may give files away")


def link_of_somebody(path: Path, target: Path | str) -> None:
    path.symlink_to(target)
    if os.geteuid() == 0:
        os.lchown(path, 1000, 1000)


def test_a_link_that_somebody_made_is_no_checkout(checkout: Checkout, tmp_path: Path) -> None:
    link_of_somebody(tmp_path / "link", checkout.directory)
    assert "link is a link that is not root's: name what it leads to" in refused(tmp_path / "link")
    (tmp_path / "link").unlink()
    link_of_somebody(tmp_path / "link", "absent")
    assert "is a link" in refused(tmp_path / "link")


@AS_ROOT
def test_a_link_that_root_made_leads_to_a_checkout(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(checkout.directory)
    os.chown(checkout.directory, 1000, 1000)
    os.chown(checkout.directory / ".git", 1000, 1000)
    assert accepted(tmp_path / "link") == (1000, 1000)


@AS_ROOT
@pytest.mark.parametrize("part", ["", ".git", ".git/config", ".git/hooks"])
def test_root_does_not_do_what_somebody_else_s_git_says(checkout: Checkout, part: str) -> None:
    (checkout.directory / ".git/hooks").mkdir(exist_ok=True)
    os.chown(checkout.directory / part, 1000, 1000)
    said = refused(checkout.directory)
    assert "as whom git would do what" in said
    assert f"chown {checkout.directory} and chown -R {checkout.directory}/.git to one of them" in said


@AS_ROOT
@pytest.mark.parametrize("part", ["", ".git", ".git/config", ".git/hooks"])
@pytest.mark.parametrize("right", [0o020, 0o002])
def test_root_does_not_do_what_others_may_write(checkout: Checkout, part: str, right: int) -> None:
    (checkout.directory / ".git/hooks").mkdir(exist_ok=True)
    place = checkout.directory / part
    os.chown(place, 0, 1000)
    place.chmod(place.stat().st_mode | right)
    assert f"{place} is root's and others may write there" in refused(checkout.directory)


@AS_ROOT
def test_root_s_own_group_may_write(checkout: Checkout) -> None:
    checkout.directory.chmod(0o775)
    assert accepted(checkout.directory) == (0, 0)


@AS_ROOT
@pytest.mark.parametrize("leads", ["link", "file"])
def test_root_does_not_follow_a_git_directory_elsewhere(checkout: Checkout, tmp_path: Path, leads: str) -> None:
    git_directory = checkout.directory / ".git"
    git_directory.rename(tmp_path / "elsewhere")
    if leads == "link":
        git_directory.symlink_to(tmp_path / "elsewhere")
    else:
        git_directory.write_text(f"gitdir: {tmp_path}/elsewhere\n")
    assert f"{git_directory} is root's and leads elsewhere" in refused(checkout.directory)


@AS_ROOT
def test_in_somebody_s_own_checkout_root_may_have_left_a_file(checkout: Checkout) -> None:
    for part in ("", ".git"):
        os.chown(checkout.directory / part, 1000, 1000)
    checkout.directory.chmod(0o2775)
    assert accepted(checkout.directory) == (1000, 1000)


@AS_ROOT
def test_hooks_that_root_keeps_elsewhere_are_root_s(checkout: Checkout, tmp_path: Path) -> None:
    hooks = checkout.directory / ".git/hooks"
    shutil.rmtree(hooks, ignore_errors=True)
    (tmp_path / "hooks").mkdir()
    hooks.symlink_to(tmp_path / "hooks")
    assert accepted(checkout.directory) == (0, 0)
    (tmp_path / "hooks").chmod(0o777)
    assert "others may write there" in refused(checkout.directory)


@AS_ROOT
def test_on_the_way_back_git_is_run_all_the_same(checkout: Checkout) -> None:
    os.chown(checkout.directory / ".git", 1000, 1000)
    assert checkout.changes() == []


def test_a_worktree_of_one_user_s_is_a_checkout(checkout: Checkout, tmp_path: Path) -> None:
    git(checkout.directory, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "1.1.0")
    tree = Checkout(HostRunner(), tmp_path / "tree", "/srv/git/shop.git")
    if os.geteuid() == 0:
        os.chown(tree.directory, 1000, 1000)
        os.chown(tree.directory / ".git", 1000, 1000)
    tree.check()
    assert tree.owner[0] == (os.geteuid() or 1000)
