"""JUnit files, as runners write them and as somebody who means harm does."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import pytest
from ansible_collections.slipway.release.plugins.module_utils._evidence import EvidenceError
from ansible_collections.slipway.release.plugins.plugin_utils import _junit
from ansible_collections.slipway.release.plugins.plugin_utils._junit import Suite, read_junit
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.promise("G1")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROPERTY = f'<properties><property name="commit" value="{COMMIT}"/></properties>'
PYTEST = f"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="0" skipped="1" tests="3" time="0.1">
{PROPERTY}
<testcase classname="tests.test_a" name="test_one" time="0.01"/>
<testcase classname="tests.test_a" name="test_two"><system-out>error failure</system-out></testcase>
<testcase classname="tests.test_a" name="test_three"><skipped type="pytest.skip" message="no">no</skipped></testcase>
</testsuite></testsuites>"""
RSPEC = """<testsuite name="rspec" tests="2" skipped="0" failures="1" errors="0">
<testcase classname="spec.models" name="works"/>
<testcase classname="spec.models" name="&#10;breaks"><failure message="no"/><error/></testcase></testsuite>"""
BOMB = """<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><testsuite name="&b;"/>"""
OUTSIDE = """<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&f;"/></testsuite>"""


def test_what_runners_write_is_read() -> None:
    assert read_junit(PYTEST.encode()) == Suite(3, 1, 0, (), COMMIT)
    assert read_junit(RSPEC.encode()) == Suite(2, 0, 1, ("spec.models. breaks",), None)
    assert read_junit(PYTEST.replace("utf-8", "utf-16").encode("utf-16")).tests == 3


@pytest.mark.parametrize(
    "text",
    [
        '<testsuites><testsuite name="boot" tests="0" errors="1"/></testsuites>',
        '<testsuites failures="2"><testsuite><testcase name="a"/></testsuite></testsuites>',
        '<testsuite tests="1"><testcase name="a"/><error message="could not load"/></testsuite>',
    ],
)
def test_a_suite_that_failed_as_a_whole_is_not_passed_over(text: str) -> None:
    suite = read_junit(text.encode())
    assert suite.failures >= 1
    assert suite.failed


@pytest.mark.parametrize(
    "text, said",
    [
        (BOMB, "has a DTD"),
        (OUTSIDE, "has a DTD"),
        ("", "is no XML"),
        (PYTEST[:200], "is no XML"),
        ("<html/>", "is no JUnit"),
        (PYTEST.replace(COMMIT, "main"), "no full commit id"),
        (PYTEST.replace("</properties>", '<property name="commit" value="main"/></properties>'), "with 2 values"),
        ('<?xml version="1.0" encoding="klingon"?><testsuite/>', "is "),
    ],
)
def test_what_is_no_junit_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        read_junit(text.encode())
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_junit, "SIZE_LIMIT", 100)
    with pytest.raises(EvidenceError, match="is larger than"):
        read_junit(PYTEST.encode())


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"<testsuite {text}</testsuite>".encode()))
def test_any_bytes_end_with_a_suite_or_an_error(content: bytes) -> None:
    try:
        read_junit(content)
    except EvidenceError:
        return


NAMES = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\ufffe\uffff"))


@given(st.lists(st.tuples(NAMES, st.sampled_from(["", "<failure/>", "<error/>", "<skipped/>"])), max_size=20))
def test_cases_are_counted_and_names_of_failures_fit_a_line(cases: list[tuple[str, str]]) -> None:
    body = "".join(f"<testcase name={quoteattr(name)}>{mark}</testcase>" for name, mark in cases)
    suite = read_junit(f"<testsuites><testsuite>{body}</testsuite></testsuites>".encode())
    bad = sum(mark in {"<failure/>", "<error/>"} for _, mark in cases)
    assert (suite.tests, suite.failures) == (len(cases), bad)
    assert suite.skipped == sum(mark == "<skipped/>" for _, mark in cases)
    assert all(name.isprintable() and len(name) <= 100 for name in suite.failed)
