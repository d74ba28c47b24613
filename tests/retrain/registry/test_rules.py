"""The stricter of the rules at the start and at the promotion counts; approvals count people."""

from typing import Any

import pytest

from governance.access.owners import person
from governance.access.signers import Signer
from monitor.spec.model import ModelSpec
from retrain.gates.base import GateResult
from retrain.registry.rules import Approval, Rules, RuleSet, count, missing_gates, worse
from tests.retrain import world


def ruled(spec: ModelSpec, revision: int = 1) -> RuleSet:
    found = RuleSet.of(revision, spec)
    assert found is not None
    return found


def spec(**retrain: Any) -> ModelSpec:
    return world.spec("/models/base", **retrain)


def rules(start: dict[str, Any], now: dict[str, Any]) -> Rules:
    return Rules(ruled(spec(**start)), ruled(spec(**now), 2))


@pytest.mark.parametrize(
    ("start", "now", "approvals", "gates"),
    [
        ({"approval": "none", "gates": ["integrity"]}, {"approval": "two", "gates": ["integrity", "fairness"]},
         2, ("integrity", "fairness")),  # tightened
        ({"approval": "two", "gates": ["integrity", "fairness"]}, {"approval": "none", "gates": ["integrity"]},
         2, ("integrity", "fairness")),  # loosened
        ({"approval": "one", "gates": ["fairness"]}, {"approval": "two", "gates": ["integrity"]},
         2, ("fairness", "integrity")),  # one up, one away
        ({"approval": "one"}, {"approval": "one", "cooldown": "1h", "min_outcomes": 10}, 1, None),
    ],
)  # fmt: skip
def test_the_stricter_of_start_and_promotion_counts(
    start: dict[str, Any], now: dict[str, Any], approvals: int, gates: tuple[str, ...] | None
) -> None:
    found = rules(start, now)
    assert found.approvals == approvals
    assert found.gates == (gates or ruled(spec()).policy.gates)
    assert found.blocked() == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"envelope": {"max_gpu_hours": 0.1, "max_regression": 0.5}},
        {"envelope": {"max_gpu_hours": 0.1, "max_forgetting": 0.0}},
        {"envelope": {"max_gpu_hours": 0.1, "kpi_floor": {"f1_macro": 0.9}}},
        {"envelope": {"max_gpu_hours": 0.1, "fairness": {"equalized_odds_difference": 0.1}}},
        {"envelope": {"max_gpu_hours": 0.1, "base_models": ["/models/base", "/models/other"]}},
        {"envelope": {"max_gpu_hours": 9}},
        {"gates": ["integrity"]},
    ],
)
def test_each_change_of_what_gates_are_judged_by_asks_for_another_judgement(changed: dict[str, Any]) -> None:
    same, other = rules({}, {}), rules({}, changed)
    assert len(same.sets) == 1
    assert len(other.sets) == 2
    assert other.terms != same.terms
    back = rules(changed, {})
    assert [s.terms() for s in back.sets] == [s.terms() for s in other.sets[::-1]]


@pytest.mark.parametrize("changed", [{"approval": "two"}, {"cooldown": "1h"}, {"when": ["drift"]}])
def test_what_no_gate_rests_on_asks_for_none(changed: dict[str, Any]) -> None:
    assert rules({}, changed).terms == rules({}, {}).terms


def test_a_policy_that_was_taken_out_blocks(tmp_path: Any) -> None:
    start = ruled(spec())
    bare = ModelSpec.model_validate({k: v for k, v in spec().document.items() if k != "retrain"})
    assert RuleSet.of(2, bare) is None
    found = Rules(start, None)
    assert "no retrain section" in found.blocked()[0]
    assert found.approvals == 0
    assert found.document()["now"] is None


def test_another_target_or_input_than_the_run_learned_from_blocks() -> None:
    document = spec().document
    columns = dict(document["columns"])
    columns["intent_right"] = columns.pop("intent_true")
    blocked = Rules(ruled(spec()), ruled(ModelSpec.model_validate({**document, "columns": columns}), 3)).blocked()
    assert "intent_right, intent_true" in blocked[0]
    assert "revision 1 to 3" in blocked[0]
    more = {**document["columns"], "channel": {"role": "input", "type": "category"}}
    assert (
        "channel" in Rules(ruled(spec()), ruled(ModelSpec.model_validate({**document, "columns": more}))).blocked()[0]
    )


def test_a_column_that_the_run_did_not_learn_from_blocks_nothing() -> None:
    document = spec().document
    more = {
        **document["columns"], "latency_ms": {"role": "measure", "type": "number", "unit": "ms"},
        "resolved": {"role": "outcome", "type": "boolean"},
    }  # fmt: skip
    assert Rules(ruled(spec()), ruled(ModelSpec.model_validate({**document, "columns": more}))).blocked() == ()


def result(verdict: Any, reason: str = "why") -> GateResult:
    return GateResult("fairness", verdict, reason, {"n": 1})


@pytest.mark.parametrize(
    ("start", "now", "found"),
    [("pass", "pass", "pass"), ("pass", "unknown", "unknown"), ("pass", "fail", "fail"), ("fail", "pass", "fail"),
     ("unknown", "fail", "fail"), ("fail", "unknown", "fail"), ("unknown", "pass", "unknown")],
)  # fmt: skip
def test_the_worse_verdict_of_two_sets_of_rules_counts(start: str, now: str, found: str) -> None:
    judged = worse([(1, result(start, "at the start")), (4, result(now, "now"))])
    assert judged.verdict == found
    assert judged.evidence["by_revision"]["4"] == {"verdict": now, "reason": "now"}
    assert judged.evidence["n"] == 1
    assert start != now or judged.reason.startswith("now")  # of equally bad ones, the rules in force
    assert worse([(1, result(start))]).evidence == {"n": 1}


def test_a_gate_that_was_added_and_not_evaluated_is_missing() -> None:
    found = rules({"gates": ["integrity"]}, {"gates": ["integrity", "fairness"]})
    assert missing_gates(found, {"integrity": ("pass", "")}) == ("gate fairness was not evaluated",)
    assert missing_gates(found, {"integrity": ("pass", ""), "fairness": ("unknown", "no groups")}) == (
        "gate fairness: unknown, no groups",
    )
    assert missing_gates(found, {"integrity": ("pass", ""), "fairness": ("pass", "")}) == ()


def by(actor: str, *owners: str, terms: str | None = "t", revoked: bool = False, key: str | None = None) -> Approval:
    return Approval(Signer(actor, key or f"k-{actor}", owners, revoked), terms, 1)


ANN = Signer("ann-key", "k-ann", ("Ann Lee",))


@pytest.mark.parametrize(
    ("approvals", "people"),
    [
        ((by("a", "Bob"), by("b", "Carl")), 2),
        ((by("a", "Bob"), by("b", "bob")), 1),  # two keys of one person
        ((by("a", "Bob"), by("b", " BOB ")), 1),
        ((by("a", "José"), by("b", "Jose\u0301")), 1),
        ((by("a", "Bob"), by("b", "Ann Lee")), 1),  # the starter, with another key
        ((by("a", "Bob"), by("b", "ａｎｎ　ｌｅｅ")), 1),
        ((by("a", "Bob"), by("ann-key", "Someone else")), 1),  # the starter's key under another owner
        ((by("a", "Bob"), by("a", "Carl")), 1),  # one key that names two owners
        ((by("a", "Bob", "Carl"), by("b", "Carl")), 1),  # an owner declared later
        ((by("a", "Bob"), by("b", "Carl"), by("c", "Bob", "Carl")), 1),  # a third that makes two of them one
        ((by("a", "Bob"), by("b")), 1),  # no owner
        ((by("a", "Bob"), by("b", "Carl", revoked=True)), 1),
        ((by("a", "Bob"), by("b", "Carl", terms="older")), 1),
        ((by("a", "Bob"), by("b", "Carl", terms=None)), 1),
        ((by("a", "Bob", terms="older"), by("a", "Bob")), 1),  # approved again
        ((), 0),
    ],
)
def test_approvals_count_people_and_never_the_one_who_started(approvals: tuple[Approval, ...], people: int) -> None:
    found = count(approvals, ANN, "t")
    assert len(found.by) == people
    assert all(why for _, why in found.void)


def test_where_the_policy_started_a_run_nobody_is_left_out() -> None:
    assert len(count([by("a", "Ann Lee"), by("b", "Bob")], None, "t").by) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ann Lee", "ann  lee"), ("Ann Lee", "ANN\u00a0LEE"), ("O’Brien", "O'BRIEN"), ("Straße", "STRASSE"),
     ("İlker", "ilker"), ("ﬁona", "Fiona"), ("ann\u200blee", "Ann Lee"), ("Anne–Marie", "anne-marie"),
     ("ann@example.com", " Ann@Example.COM ")],
)  # fmt: skip
def test_spellings_of_one_person_are_one(one: str, other: str) -> None:
    assert person(one) == person(other)


def test_different_people_stay_different() -> None:
    names = ["Ann Lee", "Ann Li", "Anna Lee", "ann@example.com", "ann@example.org", "Анна", "李安", "राम", "रमा"]
    assert len({person(n) for n in names}) == len(names)
