from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._plan_migrate import migration_reason

ABORTED = """\
== 20260301000000 AddPriority: migrating ======
-- add_column(:campaigns, :priority, :integer)
bin/rails aborted!
StandardError: An error has occurred, this and all later migrations canceled: (StandardError)

campaign 17 has no owner
/app/db/migrate/20260301000001_fill.rb:5:in `up'
Tasks: TOP => db:migrate
"""


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "printed, reason",
    [
        (ABORTED, "campaign 17 has no owner"),
        (
            "bin/rails aborted!\nActiveRecord::ConnectionNotEstablished: no route\n",
            "ActiveRecord::ConnectionNotEstablished: no route",
        ),
        (
            "bin/rails aborted!\nErrno::EACCES: Permission denied\n\nTasks: TOP => db:prepare\n(See full trace)\n",
            "Errno::EACCES: Permission denied",
        ),
        ("no route to host\n", "no route to host"),
        ("\n", "it printed nothing"),
    ],
)
def test_the_reason_is_the_line_that_a_person_would_look_for(printed: str, reason: str) -> None:
    assert migration_reason(printed) == reason
