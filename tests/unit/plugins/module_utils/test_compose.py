from __future__ import annotations

from typing import Any, cast

import pytest
from ansible_collections.slipway.release.plugins.module_utils import _compose
from ansible_collections.slipway.release.plugins.module_utils._compose import Docker
from ansible_collections.slipway.release.plugins.module_utils._errors import CommandError
from ansible_collections.slipway.release.plugins.module_utils._process import Completed
from ansible_collections.slipway.release.plugins.module_utils._process import Runner as Process

NEVER_BEGAN = "OCI runtime exec failed: exec failed: unable to start container process: read init-p: connection reset"


class Runner:
    """Fails as often as it is told to."""

    def __init__(self, failures: int, code: int = 126, output: str = NEVER_BEGAN) -> None:
        self.failures = failures
        self.error = CommandError(["docker", "exec"], code, output)
        self.calls = 0

    def run(self, argv: list[str], **_options: Any) -> Completed:  # noqa: ANN401 - whatever run takes
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return Completed(0, " ".join(argv), "")


def docker(runner: Runner) -> Docker:
    return Docker(cast("Process", runner))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compose, "STARTING_AGAIN", (0.0, 0.0))


def test_a_command_that_never_began_is_started_again() -> None:
    runner = Runner(failures=2)
    assert docker(runner).execute("c1", "psql").stdout == "docker exec --interactive c1 psql"
    assert runner.calls == 3


def test_that_ends_some_time() -> None:
    runner = Runner(failures=9)
    with pytest.raises(CommandError, match="OCI runtime"):
        docker(runner).execute("c1", "psql")
    assert runner.calls == 3


@pytest.mark.parametrize("code, output", [(1, "ERROR: duplicate key"), (126, "psql: permission denied")])
def test_a_command_that_began_is_never_repeated(code: int, output: str) -> None:
    runner = Runner(failures=1, code=code, output=output)
    with pytest.raises(CommandError):
        docker(runner).execute("c1", "psql")
    assert runner.calls == 1
