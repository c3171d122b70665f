"""The changelog that a release brings."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._changelog import (
    SIZE_LIMIT,
    ChangelogError,
    customer_notes,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("G3", "G4")

CHANGELOG = """# Changelog

Prose that is nobody's item.

## [Unreleased]

### Added

- What is not out yet.

## [1.2.0] - 2026-11-20

Everything is quicker.

### Added

- Campaigns have a priority from 1 to 3,
  shown in the list.

  It can be changed.
- **Action required:** allow port 8443.
* Another mark
  - and one below it

### Breaking

- /api/v1 is gone.

### Fixed

- A crash.
<!-- - nobody sees this
## [9.9.9] - 2026-01-01 -->

### Internal

- Ruby 3.4.

```
## [1.1.0] - 2026-01-01
- not an entry
```

## [1.1.0] - 2026-03-02 [YANKED]

### Added

- A mistake.

## v1.0.1 - 2026-02-01

### Security

- **Breaking**: sessions end.

## [1.0.0](https://example.test/1.0.0) - 2026-01-05

- The first.

## [0.9.0]

- No date.

## [0.8.0] - 2026-13-45

- No such day.

## [0.7.0] - 2025-01-01

### Added

## [0.6.0] - 2025-01-01

[0.6.0]: https://example.test/0.6.0
"""


def test_an_entry_is_read_with_its_headings_and_items() -> None:
    notes = parse(CHANGELOG, "1.2.0")
    assert (notes.version, notes.date) == ("1.2.0", "2026-11-20")
    assert notes.sections == {
        "Changed": ("Everything is quicker.",),
        "Added": (
            "Campaigns have a priority from 1 to 3, shown in the list. It can be changed.",
            "**Action required:** allow port 8443.",
            "Another mark",
            "and one below it",
        ),
        "Breaking": ("/api/v1 is gone.",),
        "Fixed": ("A crash.",),
        "Internal": ("Ruby 3.4.", "## [1.1.0] - 2026-01-01 - not an entry"),
    }


def test_without_a_version_it_is_the_newest_release() -> None:
    assert parse(CHANGELOG) == parse(CHANGELOG, "v1.2.0")
    assert parse(CHANGELOG.replace("\n", "\r\n")) == parse(CHANGELOG)


def test_customers_are_told_what_concerns_them() -> None:
    told = customer_notes(parse(CHANGELOG, "1.2.0"))
    assert told.action_required == ("allow port 8443.",)
    assert told.breaking == ("/api/v1 is gone.",)
    assert told.fixed == ("A crash.",)
    assert told.new[0] == "Everything is quicker."
    assert len(told.new) == 4
    assert not any("Ruby" in item for item in told.new)
    labelled = customer_notes(parse(CHANGELOG, "1.0.1"))
    assert (labelled.breaking, labelled.fixed) == (("sessions end.",), ())


def test_a_section_of_its_own_says_what_customers_have_to_do() -> None:
    told = customer_notes(parse("## [1.0.0] - 2026-01-05\n### Action required\n- Restart.\n### Internal\n- No.\n"))
    assert (told.action_required, told.new, told.empty) == (("Restart.",), (), False)
    assert customer_notes(parse("## [1.0.0] - 2026-01-05\n### Internal\n- No.\n")).empty


@pytest.mark.parametrize(
    "version, said",
    [
        ("3.0.0", "has no entry for 3.0.0: write '## [3.0.0] - 2026-11-20' and below it what is new"),
        ("9.9.9", "has no entry for 9.9.9"),
        ("1.1.0", "1.1.0 is withdrawn"),
        ("0.9.0", "entry for 0.9.0 has no date"),
        ("0.8.0", "entry for 0.8.0 has no date"),
        ("0.7.0", "entry for 0.7.0 is empty"),
        ("0.6.0", "entry for 0.6.0 is empty"),
    ],
)
def test_what_is_missing_is_said_in_one_line(version: str, said: str) -> None:
    with pytest.raises(ChangelogError) as caught:
        parse(CHANGELOG, version)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_too_large_is_none() -> None:
    with pytest.raises(ChangelogError, match="larger than 1 MB"):
        parse("#" * (SIZE_LIMIT + 1))


MARKUP = [
    "## [1.0.0] - 2026-01-05",
    "## ",
    "# x",
    "### Added",
    "###",
    "- item",
    "- ",
    "  more",
    "",
    "```",
    "~~~",
    "text",
]
HOSTILE = ["<!--", "-->", "[1.0.0]: x", "**Breaking:**", "\x1b[31mred\x00", "\u2028"]
PIECES = st.sampled_from([*MARKUP, *HOSTILE])


@given(st.lists(PIECES | st.text(max_size=30), max_size=30))
def test_any_text_ends_with_clean_notes_or_one_line(lines: list[str]) -> None:
    try:
        notes = parse("\n".join(lines), "1.0.0")
    except ChangelogError:
        return
    told = customer_notes(notes)
    for item in [*(item for items in notes.sections.values() for item in items), *told.new, *told.breaking]:
        assert item.isprintable()
        assert item == " ".join(item.split()) != ""
    assert all(notes.sections.values())


@given(
    st.dictionaries(
        st.sampled_from(["Added", "Fixed", "Removed"]),
        st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=1),
    )
)
def test_what_was_written_is_read(sections: dict[str, list[str]]) -> None:
    body = "".join(f"\n### {name}\n\n" + "".join(f"- {item}\n" for item in items) for name, items in sections.items())
    text = (
        f"# Changelog\n\n## [2.0.0] - 2026-01-01\n- later\n\n## [1.0.0] - 2026-01-05\n{body}\n## [0.1.0] - 2025-01-01\n"
    )
    if sections:
        assert parse(text, "1.0.0").sections == {name: tuple(items) for name, items in sections.items()}


@pytest.mark.promise("A3")
@pytest.mark.parametrize("heading", ["Known issues", "Known Issues", "KNOWN ISSUES"])
def test_what_is_known_not_to_work_is_told_and_is_no_note_by_itself(heading: str) -> None:
    told = customer_notes(parse(f"## [1.0.0] - 2026-11-20\n### {heading}\n- Exports are `slow`.\n"))
    assert told.known_issues == ("Exports are `slow`.",)
    assert told.empty
