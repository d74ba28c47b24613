"""Redaction: what is found and what is not, from published examples; joinable, and the same done twice."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.redact import PATTERNS
from monitor.redact.base import MARKER
from monitor.redact.card import luhn
from monitor.redact.columns import every_rule, redacted, redacted_texts, redaction_key
from monitor.redact.iban import LENGTHS, mod97
from monitor.redact.presidio import PresidioMissingError
from monitor.redact.rules import BuiltInPattern, OwnPattern
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from tests.forks import ROOT
from tests.service import environment

KEY = redaction_key(b"k" * 32)

# Cards: test numbers of the networks as payment processors publish them. IBANs: examples of the SWIFT registry.
CARDS = [
    "4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "5105105105105100",
    "2223003122003222", "378282246310005", "371449635398431", "6011111111111117", "6011000990139424",
    "30569309025904", "38520000023237", "3530111333300000", "3566002020360505", "6200000000000005",
    "6304000000000000", "6759649826438453",
]  # fmt: skip
IBANS = [
    "AD1200012030200359100100", "AE070331234567890123456", "AT611904300234573201", "BE68539007547034",
    "BG80BNBG96611020345678", "CH9300762011623852957", "CZ6508000000192000145399", "DE89370400440532013000",
    "DK5000400440116243", "EE382200221020145685", "ES9121000418450200051332", "FI2112345600000785",
    "FR1420041010050500013M02606", "GB29NWBK60161331926819", "GR1601101250000000012300695", "IE29AIBK93115212345678",
    "IT60X0542811101000000123456", "LU280019400644750000", "MT84MALT011000012345MTLCAST001S", "NL91ABNA0417164300",
    "NO9386011117947", "PL61109010140000071219812874", "PT50000201231234567890154", "SE4550000000058398257466",
    "SA0380000000608010167519", "TR330006100519786457841326",
]  # fmt: skip
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
FOUND: list[tuple[str, str]] = [
    *(("card", number) for number in CARDS),
    ("card", "4111 1111 1111 1111"), ("card", "4111-1111-1111-1111"), ("card", "3782 822463 10005"),
    ("card", "٤١١١١١١١١١١١١١١١"),
    *(("iban", number) for number in IBANS),
    ("iban", "DE89 3704 0044 0532 0130 00"), ("iban", "gb29 nwbk 6016 1331 9268 19"),
    ("email", "ada@example.com"), ("email", "ada.lovelace+test@mail.example.co.uk"), ("email", "o'brien@example.org"),
    ("email", "用户@例子.广告"), ("email", "josé@exämple.de"), ("email", "a_b-c%d@sub-domain.example.museum"),
    ("phone", "+49 30 901820"), ("phone", "+44 20 7946 0958"), ("phone", "+1 (212) 555-0123"),
    ("phone", "+33 1 23 45 67 89"), ("phone", "0049 30 901820"), ("phone", "(555) 234-5678"),
    ("phone", "555-234-5678"), ("phone", "1-800-234-5678"), ("phone", "020 7946 0958"), ("phone", "0171 1234567"),
    ("phone", "030/901820-12"),
    ("secret", "AKIAIOSFODNN7EXAMPLE"), ("secret", "ghp_" + "a1B2" * 9), ("secret", "github_pat_" + "11ABCDE0Y0" * 4),
    ("secret", "sk-proj-" + "Ab1_" * 8), ("secret", "xoxb-123456789012-abcdefABCDEF"), ("secret", JWT),
    ("secret", "AIza" + "Sy" * 17 + "x"), ("secret", "sk_live_" + "4eC39Hq" * 4), ("secret", "hf_" + "aB3dE" * 7),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"),
    ("secret", "-----BEGIN PRIVATE KEY-----\nMIIEow, cut"),
    ("secret", "assay_0123456789_" + "0f" * 32),
]  # fmt: skip
LEFT = [
    "where is my card", "order 1234567890123456", "4111111111111112", "1700000000000", "1700000000000000",
    "2026-03-01T12:00:00Z", "2026-03-01 12:00", "192.168.100.200", "550e8400-e29b-41d4-a716-446655440000",
    "DE89370400440532013001", "XX89370400440532013000", "DE8937040044053201300", "GB29NWBK601613319268199",
    "@example.com", "user@localhost", "a@b", "price 1,234,567.89", "3.14159265358979", "v1.2.3-rc.4", "room 0815",
    "12345678", "1234567890", "555 1234", "+1", "+ 5 - 3", "sk-short", "AKIA", "xoxo-love", "eyJ", "100-200-300",
    "-----BEGIN CERTIFICATE-----", "ghp_short", "0.123456789", "10 000 000 000", "2024/2025", "\u202e\ufdd0 mixed",
]  # fmt: skip
AROUND = ["{}", "write to {}, please", "({})", "{}.", "«{}»", "a: {}\nb: {}", "Größe {} 東京"]


def clean(text: str | None, rules: tuple[str | OwnPattern, ...] = tuple(PATTERNS)) -> Any:
    return redacted_texts(pl.Series([text], dtype=pl.String), rules, KEY)[0]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("kind", "value"), FOUND)
def test_a_published_example_is_found_in_a_text(kind: str, value: str, around: str) -> None:
    if around == AROUND[5] and value.endswith("cut"):
        pytest.skip("a private key without its end takes the rest of the text with it")
    text = clean(around.replace("{}", value))
    assert value not in text
    kinds = {marker.partition(":")[0].removeprefix("[") for marker in MARKER.findall(text)}
    assert kinds == {kind}
    if not value.endswith("cut"):
        assert MARKER.sub("{}", text) == around


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_a_find_is_left(text: str) -> None:
    assert clean(text) == text


def test_equal_values_stay_equal_however_they_are_written() -> None:
    for one, other in [
        ("4111 1111 1111 1111", "4111111111111111"), ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("Ada@Example.com", "ada@example.com"), ("+49 30 901820", "0049 30/901820"),
    ]:  # fmt: skip
        assert clean(one) == clean(other) != one
    assert clean("ada@example.com") != clean("bob@example.com")
    other_key = redaction_key(b"x" * 32)
    assert redacted_texts(pl.Series(["ada@example.com"]), ("email",), other_key)[0] != clean("ada@example.com")


def test_two_finds_in_a_row_are_both_replaced() -> None:
    text = clean("4111111111111111 5555555555554444, 12 378282246310005 DE89370400440532013000 GB29NWBK60161331926819")
    assert [m[1:5] for m in MARKER.findall(text)] == ["card", "card", "card", "iban", "iban"]


def test_an_unknown_marker_length_or_empty_text_does_not_break_a_column() -> None:
    texts = pl.Series("t", [None, "", "[email:zz]", "[email:0123456789ab", "a@b.co [email:0123456789ab]"])
    found = redacted_texts(texts, tuple(PATTERNS), KEY)
    assert found[:4].to_list() == texts[:4].to_list()
    assert MARKER.findall(found[4])[1] == "[email:0123456789ab]"


pieces = st.sampled_from(
    [v for _, v in FOUND] + LEFT + ["[email:0123456789ab]", "[card:", "foo", "P-123456", "a@b.co@c.de", "]", " "]
) | st.text(max_size=8)
OWN = (OwnPattern(name="patient", pattern=r"P-\d{6}"), OwnPattern(name="foo", pattern=r"\bfoo|o{2}"))


@given(st.lists(st.lists(pieces, max_size=6).map("".join) | st.none(), max_size=5))
def test_what_comes_out_is_not_changed_by_a_second_pass(texts: list[str | None]) -> None:
    rules: tuple[str | OwnPattern, ...] = (*PATTERNS, *OWN)
    once = redacted_texts(pl.Series(texts, dtype=pl.String), rules, KEY)
    assert once.equals(redacted_texts(once, rules, KEY))
    assert [t is None for t in texts] == once.is_null().to_list()
    alone = [clean(t, rules) for t in texts]
    assert once.to_list() == alone


@given(st.integers(0, 10**18))
def test_one_wrong_digit_is_seen(number: int) -> None:
    digit = next(d for d in "0123456789" if luhn(f"{number}{d}"))
    assert not any(luhn(f"{number}{d}") for d in "0123456789" if d != digit)


def test_the_registry_examples_have_the_registry_lengths_and_check_digits() -> None:
    for example in IBANS:
        assert len(example) == LENGTHS[example[:2]]
        assert mod97(example) == 1


# --- in a spec --------------------------------------------------------------------------------------------------------

DOCUMENT: dict[str, Any] = {
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "category"},
        "score": {"role": "score", "type": "number"}, "who": {"role": "subject", "type": "string"},
    },
}  # fmt: skip


def spec(redact: Any) -> ModelSpec:
    return parse_spec(DOCUMENT | {"redact": redact})


def test_only_the_columns_named_are_redacted_and_in_the_ways_named() -> None:
    declared = spec({"text": ["email", {"name": "patient", "pattern": r"P-\d{6}"}]})
    frame = pl.DataFrame({"text": ["P-123456 ada@example.com 4111111111111111"], "answer": ["ada@example.com"]})
    (row,) = redacted(frame, declared.redact, KEY).to_dicts()
    assert row["answer"] == "ada@example.com"
    assert MARKER.sub("{}", row["text"]) == "{} {} 4111111111111111"
    assert row["text"].startswith("[patient:")


def test_a_pattern_of_ones_own_comes_before_those_built_in() -> None:
    declared = spec({"text": ["phone", {"name": "case", "pattern": r"\+\d{3} \d+"}]})
    assert redacted(pl.DataFrame({"text": ["+491 30901820"]}), declared.redact, KEY)["text"][0].startswith("[case:")


@pytest.mark.parametrize(
    ("redact", "words"),
    [
        ({"text": [{"name": "x", "pattern": "(?=a)b"}]}, ("redact.text", "look-around", "RE2")),
        ({"text": [{"name": "x", "pattern": "(a)\\1"}]}, ("backreference", "back-references")),
        ({"text": [{"name": "x", "pattern": "("}]}, ("unclosed group",)),
        ({"text": [{"name": "x", "pattern": "a*"}]}, ("empty string",)),
        ({"text": [{"name": "x", "pattern": "(?:a{1000}){1000}"}]}, ("size limit",)),
        ({"text": [{"name": "email", "pattern": "a"}]}, ("built-in",)),
        ({"text": [{"name": "X y", "pattern": "a"}]}, ("name",)),
        ({"text": [{"name": "x", "pattern": "a"}, {"name": "x", "pattern": "b"}]}, ("same name",)),
        ({"text": ["mail"]}, ("redact.text", "email")),
        ({"score": ["email"]}, ("redact.score", "number")),
        ({"who": ["email"]}, ("redact.who", "digest")),
        ({"colour": ["email"]}, ("colour", "not declared")),
    ],
)
def test_a_redaction_that_cannot_work_is_refused_with_the_field_and_the_fix(
    redact: Any, words: tuple[str, ...]
) -> None:
    with pytest.raises(SpecError) as refused:
        spec(redact)
    message = refused.value.message + str(refused.value.facts)
    for word in words:
        assert word in message


def test_presidio_is_refused_with_what_to_install() -> None:
    if find_spec("presidio_analyzer") is not None:
        pytest.skip("presidio is installed here")
    with pytest.raises(PresidioMissingError, match=r"pip install 'assay\[presidio\]'"):
        spec({"text": ["email", "presidio"]})


# A package like spaCy's models: untrained English, and the one name that it is given.
_MODEL = """
from pathlib import Path
import spacy
folder = Path("{folder}")
nlp = spacy.blank("en")
nlp.add_pipe("entity_ruler").add_patterns([{{"label": "PERSON", "pattern": "Ada Lovelace"}}])
nlp.to_disk(folder / "en_core_web_sm" / "model")
(folder / "en_core_web_sm" / "__init__.py").write_text(
    "from pathlib import Path\\nimport spacy\\n"
    "def load(**options):\\n    return spacy.load(Path(__file__).parent / 'model', **options)\\n"
)
about = folder / "en_core_web_sm-3.8.0.dist-info"
about.mkdir()
(about / "METADATA").write_text("Metadata-Version: 2.1\\nName: en_core_web_sm\\nVersion: 3.8.0\\n")
"""
_REDACT = """
import json, socket, sys
import polars as pl
from monitor.redact.columns import redacted
from tests.monitor.ingest.test_redact import KEY, spec

def nowhere(*_):
    raise AssertionError("no network is to be used")

socket.socket.connect = socket.getaddrinfo = nowhere
declared = spec({"text": ["email", "presidio"]})
texts = json.load(sys.stdin)
print(json.dumps(redacted(pl.DataFrame({"text": texts}), declared.redact, KEY)["text"].to_list()))
"""


def test_presidio_finds_names_and_forms_without_the_network(tmp_path: Path) -> None:
    if find_spec("presidio_analyzer") is None:
        pytest.skip("the extra `presidio` is not installed; `pip install 'assay[presidio]'`")
    (tmp_path / "en_core_web_sm").mkdir()
    environ = environment() | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    texts = [
        "Ada Lovelace wrote from 10.20.30.40, again Ada Lovelace", "my number is 4111 1111 1111 1111", "hello there",
        "", "Ada Lovelace <ada@example.com>",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-c", _MODEL.format(folder=tmp_path)], env=environ, check=True, timeout=200)
    done = subprocess.run(
        [sys.executable, "-c", _REDACT], env=environ, input=json.dumps(texts), capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    kinds = [[marker.partition(":")[0].strip("[") for marker in MARKER.findall(text)] for text in found]
    assert kinds == [["person", "ip_address", "person"], ["credit_card"], [], [], ["person", "email"]]
    assert [MARKER.sub("{}", text) for text in found[:3]] == [
        "{} wrote from {}, again {}", "my number is {}", "hello there",
    ]  # fmt: skip
    assert MARKER.findall(found[0])[0] == MARKER.findall(found[0])[2] == MARKER.findall(found[4])[0]


def test_the_spec_names_every_pattern_of_the_catalogue() -> None:
    assert set(get_args(BuiltInPattern)) == {*PATTERNS, "presidio"}
    assert set(every_rule({"text": ("email", *OWN)})) == {*PATTERNS, *OWN}
