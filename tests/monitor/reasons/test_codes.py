"""Reason codes: hand-worked decisions, what is never issued, and records that are computed again elsewhere."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidError
from monitor.reasons.codes import (
    Population,
    ReasonInputs,
    ReasonTable,
    reason_codes,
)
from monitor.reasons.record import check_record, inputs_of, reasons_record, table_changes

# Worked by hand: margin of "refused"; the approved population's mean beside it.
#   income 0.90 - -0.30 = 1.20; late 0.40 - 0.10 = 0.30, defaults 0.35 - -0.05 = 0.40, together history 0.70;
#   debt 0.05 - 0.25 = -0.20, which pushes the other way; tenure 0.30 - 0.10 = 0.20; age 0.95 - -0.05 = 1.00.
ATTRIBUTIONS = {"income": 0.90, "late": 0.40, "defaults": 0.35, "debt": 0.05, "tenure": 0.30, "age": 0.95}
MEANS = {"income": -0.30, "late": 0.10, "defaults": -0.05, "debt": 0.25, "tenure": 0.10, "age": -0.05}
TABLE = ReasonTable(
    "2026-01",
    {
        "income": "Income is too low for the amount", "history": "Payments were late or missed",
        "debt": "Debts are high", "tenure": "Too short a time with the employer",
    },
    {"history": ["late", "defaults"]},
)  # fmt: skip
INPUTS = ReasonInputs(
    decision="refused", explained="refused", adverse=True, adverse_means="'refused'", toward=1,
    attributions=ATTRIBUTIONS, residual=1e-7, tolerance=1e-3,
    population=Population("approved", 812, "sha256:00", MEANS), table=TABLE,
    protected=("age",),
)  # fmt: skip


def test_the_example_worked_by_hand() -> None:
    found = reason_codes(INPUTS)
    assert found.state == "issued"
    assert [code.code for code in found.codes] == ["income", "history", "tenure"]
    assert [code.contribution for code in found.codes] == pytest.approx([1.20, 0.70, 0.20])
    assert found.codes[1].features == ("late", "defaults")
    assert (found.codes[1].attribution, found.codes[1].reference) == pytest.approx((0.75, 0.05))


def test_a_protected_feature_is_a_finding_and_no_reason() -> None:
    found = reason_codes(INPUTS)
    assert all("age" not in code.features for code in found.codes)
    (finding,) = found.findings
    assert (finding.feature, finding.rank) == ("age", 2)
    assert finding.contribution == pytest.approx(1.0)
    assert "would be reason 2" in finding.sentence
    other_way = replace(INPUTS, attributions=ATTRIBUTIONS | {"age": -0.5})
    assert reason_codes(other_way).findings == ()


def test_several_findings_each_have_their_own_place() -> None:
    # income 1.20, age 1.00, late 0.30 and tenure 0.20 push the decision; age and tenure are protected.
    found = reason_codes(replace(INPUTS, protected=("tenure", "age", "defaults")))
    assert [(one.feature, one.rank) for one in found.findings] == [("age", 2), ("defaults", 3), ("tenure", 5)]
    assert "4 others weigh more" in found.findings[-1].sentence


def test_a_protected_feature_is_left_out_of_its_group() -> None:
    grouped = replace(INPUTS, protected=("age", "defaults"))
    history = next(code for code in reason_codes(grouped).codes if code.code == "history")
    assert history.features == ("late",)
    assert history.contribution == pytest.approx(0.30)


def test_where_a_smaller_output_is_adverse_the_signs_turn() -> None:
    turned = replace(INPUTS, toward=-1)
    assert [code.code for code in reason_codes(turned).codes] == ["debt"]
    mirrored = replace(
        INPUTS, toward=-1, attributions={k: -v for k, v in ATTRIBUTIONS.items()},
        population=Population("approved", 812, "sha256:00", {k: -v for k, v in MEANS.items()}),
    )  # fmt: skip
    assert [c.code for c in reason_codes(mirrored).codes] == [c.code for c in reason_codes(INPUTS).codes]


def test_another_reference_population_gives_other_reasons() -> None:
    # Against a population that earns as little, income is no reason any more.
    poor = replace(INPUTS, population=Population("all", 900, "sha256:01", MEANS | {"income": 0.95}))
    assert [code.code for code in reason_codes(poor).codes] == ["history", "tenure"]


def test_ties_stand_in_alphabetical_order_and_at_most_the_declared_number_is_given() -> None:
    table = ReasonTable("1", {name: name.upper() for name in ("d", "b", "a", "c", "e")})
    flat = Population("all", 5, "sha256:02", dict.fromkeys("abcde", 0.0))
    # 0.1 + 0.2 is not 0.3 in binary; both are one contribution here.
    even = {"a": 0.3, "b": 0.1 + 0.2, "c": 0.3, "d": 0.3, "e": 0.3}
    given_ = replace(INPUTS, attributions=even, population=flat, table=table, protected=())
    assert [code.code for code in reason_codes(given_).codes] == ["a", "b", "c", "d"]
    assert [code.code for code in reason_codes(replace(given_, most=2)).codes] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"adverse": False, "decision": "approved", "explained": "approved"}, "not adverse"),
        ({"explained": "approved"}, "another decision"),
        ({"residual": 0.002}, "more than the tolerance"),
        ({"residual": math.nan}, "no finite number"),
        ({"attributions": ATTRIBUTIONS | {"income": math.inf}}, "no finite number"),
        ({"attributions": {}}, "no attributions"),
        ({"attributions": ATTRIBUTIONS | {"new": 0.1}}, "no mean attribution of new"),
        ({"population": Population("approved", 0, "sha256:00", MEANS)}, "has no rows"),
        ({"table": ReasonTable("9", {"income": "Income", "history": " "}, TABLE.groups)}, "no text for history"),
    ],
)
def test_nothing_is_issued_without_a_sound_explanation(change: dict[str, object], why: str) -> None:
    found = reason_codes(replace(INPUTS, **change))  # type: ignore[arg-type]
    assert found.state == "withheld"
    assert found.codes == () == found.findings
    assert found.why is not None
    assert why in found.why
    record = json.loads(json.dumps(reasons_record(replace(INPUTS, **change)), allow_nan=False))  # type: ignore[arg-type]
    assert check_record(record) == []


def test_no_reason_is_invented() -> None:
    same = replace(INPUTS, attributions=MEANS)
    found = reason_codes(same)
    assert (found.state, found.codes) == ("none", ())
    assert found.why is not None
    # What is smaller than the explanation's own error is no reason either.
    assert reason_codes(replace(INPUTS, residual=0.25, tolerance=0.3)).codes[-1].code == "history"


def test_the_record_alone_gives_the_same_codes_again() -> None:
    record = json.loads(json.dumps(reasons_record(INPUTS)))
    assert check_record(record) == []
    assert inputs_of(record) == replace(INPUTS, protected=["age"])
    changed = json.loads(json.dumps(record))
    changed["inputs"]["attributions"]["debt"] = 3.0
    told = " ".join(check_record(changed))
    assert "inputs_digest" in told
    assert "codes" in told
    wording = json.loads(json.dumps(record))
    wording["result"]["codes"][0]["text"] = "Another wording"
    assert any(line.startswith("codes:") for line in check_record(wording))
    hidden = json.loads(json.dumps(record))
    hidden["result"]["findings"] = []
    assert any(line.startswith("findings:") for line in check_record(hidden))


@pytest.mark.parametrize("record", [{}, {"inputs": 3}, {"inputs": {"table": {}, "population": {}}}, {"inputs": None}])
def test_what_is_no_record_is_refused_by_name(record: dict[str, object]) -> None:
    with pytest.raises(InvalidError, match="no record of reasons"):
        check_record(record)


def test_what_changed_between_two_versions_of_a_table() -> None:
    after = ReasonTable(
        "2026-02",
        {"history": "Payments were missed", "income": TABLE.texts["income"], "debt": "Debts are high", "job": "No job"},
        {"history": ["late"]},
    )
    assert table_changes(TABLE, after) == [
        "history was 'Payments were late or missed', and is 'Payments were missed'",
        "tenure is no more; it was 'Too short a time with the employer'",
        "job is new: 'No job'",
        "history was defaults, late, and is late",
    ]
    assert table_changes(TABLE, replace(TABLE, version="2026-02")) == []
    assert TABLE.digest != replace(TABLE, version="2026-02").digest
    assert TABLE.digest == ReasonTable(TABLE.version, dict(reversed([*TABLE.texts.items()])), TABLE.groups).digest


values = st.floats(-100, 100, allow_nan=False)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(values, values), min_size=1), st.integers(1, 6))
def test_codes_are_the_largest_adverse_contributions_whatever_the_order(
    numbers: dict[str, tuple[float, float]], most: int
) -> None:
    table = ReasonTable("1", {name: f"reason {name}" for name in "abcdefgh"})

    def codes_of(names: list[str]) -> list[tuple[str, float]]:
        means = {name: numbers[name][1] for name in names}
        found = reason_codes(
            replace(
                INPUTS, attributions={name: numbers[name][0] for name in names}, table=table, most=most, protected=(),
                population=Population("all", 9, "sha256:03", means), residual=0.0,
            )
        )  # fmt: skip
        return [(code.code, code.contribution) for code in found.codes]

    found = codes_of(sorted(numbers))
    assert found == codes_of(sorted(numbers, reverse=True))
    gaps = {name: a - b for name, (a, b) in numbers.items()}
    assert all(value > 0 and value == pytest.approx(gaps[name]) for name, value in found)
    sizes = [value for _, value in found]
    tie = 2e-9 * max(map(abs, gaps.values()))
    assert all(a >= b - tie for a, b in pairwise(sizes))
    left = [value for name, value in gaps.items() if name not in dict(found)]
    if len(found) == most and left:
        assert max(left) <= sizes[-1] + tie
    elif left:
        assert max(left) <= tie
