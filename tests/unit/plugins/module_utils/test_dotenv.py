"""Expected readings are Compose's own: github.com/compose-spec/compose-go, dotenv."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.release.plugins.module_utils._dotenv import changed, entry, read
from ansible_collections.slipway.release.plugins.module_utils._errors import SlipwayError
from hypothesis import example, given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
PEM = "-----BEGIN KEY-----\nMII=\n-----END KEY-----\n"


@pytest.mark.parametrize(
    "text, value",
    [
        ("K=plain", "plain"),
        ("K = spaced  ", "spaced"),
        ("export K=1", "1"),
        ("K: yaml", "yaml"),
        ("K=a b # said", "a b"),
        ("K=a#b", "a#b"),
        ("K='a #b' # said", "a #b"),
        ("K='$A \\n'", "$A \\n"),
        ("K='it\\'s'", "it's"),
        ("K='line 1\nline 2'", "line 1\nline 2"),
        ('K="line 1\r\nline 2"', "line 1\nline 2"),
        (r'K="a\\b \"c\" \$d \n\t\x \0134"', 'a\\b "c" $d \n\t\\x \\'),
        ("A=1\nK=$A-${A}-$$A-${B_UNSET:-2}", "1-1-$A-2"),
        ('A=1\nK="$A"', "1"),
        ("K=", ""),
        ("K='open", "'open"),
        ("K=1\nK=2", "2"),
    ],
)
def test_a_value_is_what_compose_reads(text: str, value: str) -> None:
    assert read(f"# K=0\n{text}\n")["K"] == value


@pytest.mark.parametrize("value", ["", "plain", "a b", "it's 'so'", "a#b", "x=y", "p%w\\d", "https://a/?b&c", "\u00fc"])
def test_a_plain_value_is_written_as_it_is(value: str) -> None:
    assert entry("K", value) == f"K={value}"


@pytest.mark.parametrize(
    "value, line",
    [
        ("p$ss", "K='p$ss'"),
        ("a #b", "K='a #b'"),
        ("end ", "K='end '"),
        ('"quoted"', "K='\"quoted\"'"),
        ("'quoted'", "K=\"'quoted'\""),
        (PEM, 'K="-----BEGIN KEY-----\\nMII=\\n-----END KEY-----\\n"'),
        ("'$a\\", 'K="\'\\$a\\0134"'),
    ],
)
def test_another_is_written_in_quotes_and_on_one_line(value: str, line: str) -> None:
    assert entry("K", value) == line


@given(TEXTS, TEXTS)
@example("a\r\nb", "\\")
@example("\\\\'", "\\\\\n")
@example("${A}", "$$")
@example("\udcff", " ")
def test_what_is_written_is_read_and_stays_when_written_again(first: str, second: str) -> None:
    text = changed("# said\nK=old\nOTHER=1\n", {"K": first, "L": second})
    assert read(text) == {"K": first, "OTHER": "1", "L": second}
    assert changed(text, {"K": first, "L": second}) == text
    assert read(changed(text, {"K": "new"})) == {"K": "new", "OTHER": "1", "L": second}


def test_what_says_so_already_stays_as_people_wrote_it() -> None:
    text = "export A='1'  # one\nB=\"several\nlines\"\nC=x"
    assert changed(text, {"A": "1", "B": "several\nlines"}) == f"{text}\n"
    assert changed(text, {"B": "one"}) == "export A='1'  # one\nB=one\nC=x\n"


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("A\nB", "1", "is no name of a variable"),
        ("A", "a\0b", "the value of A holds a NUL"),
        ("A", "\ud800", "the value of A is no text in UTF-8"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line(key: str, value: str, said: str) -> None:
    with pytest.raises(SlipwayError, match=said) as caught:
        entry(key, value)
    assert "\n" not in str(caught.value)
