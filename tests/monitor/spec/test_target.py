"""Which outcome a prediction is compared with: declared, or the only one of the best fitting type, or refused."""

from typing import Any

import pytest

from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from monitor.spec.target import target_of

PREDICTION = {"classification": "category", "regression": "number", "generation": "text"}
ACCURACY = [{"metric": "accuracy"}]


def document(
    task: str, outcomes: dict[str, str], *, prediction: str = "", kpi: Any = (), **said: Any
) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "text": {"role": "input", "type": "text"},
        "said": {"role": "prediction", "type": prediction or PREDICTION[task], **said},
    }
    for name, kind in outcomes.items():
        more = {"references": "accepted"} if kind == "texts" else {}
        columns[name] = {"role": "outcome", "type": kind, **more}
    return {
        "model": "m", "task": task, "owner": "o", "purpose": "p", "columns": columns,
        "baseline": {"rows": "first 100"}, "monitors": {"kpi": list(kpi)},
    }  # fmt: skip


def spec(*given: Any, new: bool = True, **more: Any) -> ModelSpec:
    return parse_spec(document(*given, **more), new=new)


MATCHED: list[tuple[str, str, dict[str, str], str | None]] = [
    ("classification", "category", {"resolved": "boolean", "intent_true": "category"}, "intent_true"),
    ("classification", "category", {"csat": "number", "intent_true": "category"}, "intent_true"),
    ("classification", "category", {"comment": "text", "csat": "number", "intent_true": "category"}, "intent_true"),
    ("classification", "category", {"ticket": "string", "resolved": "boolean"}, "resolved"),
    ("classification", "category", {"code": "number"}, "code"),
    ("classification", "category", {"label": "string"}, "label"),
    ("classification", "category", {"comment": "text"}, None),
    ("classification", "category", {}, None),
    ("classification", "boolean", {"reason": "category", "paid": "boolean"}, "paid"),
    ("classification", "boolean", {"stars": "number", "paid": "category"}, "paid"),
    ("regression", "number", {"kept": "boolean", "note": "category", "price": "number"}, "price"),
    ("regression", "number", {"note": "category"}, None),
    ("generation", "text", {"rating": "number", "right": "texts"}, "right"),
    ("generation", "text", {"helpful": "category", "answer": "text"}, "answer"),
    ("generation", "text", {"rating": "number", "helpful": "category"}, None),
    ("generation", "text", {"remark": "text", "answer": "text"}, None),
]


@pytest.mark.parametrize(("task", "prediction", "outcomes", "wanted"), MATCHED)
def test_the_target_is_the_outcome_that_fits_the_prediction_wherever_it_stands(
    task: str, prediction: str, outcomes: dict[str, str], wanted: str | None
) -> None:
    for order in (outcomes, dict(reversed(outcomes.items()))):
        found = target_of(spec(task, order, prediction=prediction))
        assert (found and found.column) == wanted
        assert found is None or found.how == "matched"


def test_what_is_declared_counts_and_a_spec_without_it_keeps_its_digest() -> None:
    both = {"intent_true": "category", "team_true": "category"}
    declared = spec("classification", both, predicts="team_true", kpi=ACCURACY)
    assert declared.target == "team_true"
    assert spec("classification", {"csat": "number", "b": "boolean"}, predicts="csat").target == "csat"
    assert "predicts" not in str(spec("classification", {"intent_true": "category"}).document)


REFUSED: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    ("classification", {"a": "category", "b": "category"}, {}, "compared with a, b; name the one.*`predicts: a`"),
    ("classification", {"a": "boolean", "b": "boolean"}, {"kpi": ACCURACY}, "compared with a, b"),
    ("classification", {"n": "number", "s": "string"}, {}, "compared with n, s"),
    ("classification", {"note": "text"}, {"kpi": ACCURACY}, r"\(note: text\); if note tells the right answer, write"),
    ("regression", {"a": "number", "b": "number"}, {}, "compared with a, b"),
    ("regression", {"a": "category"}, {"kpi": [{"metric": "mae"}]}, r"\(a: category\).*outcome of type number or bool"),
    ("generation", {"a": "text", "b": "texts"}, {"kpi": [{"metric": "rouge_l"}]}, "compared with a, b"),
    ("generation", {"ok": "category"}, {"kpi": [{"metric": "exact_match"}]}, "if ok tells the right answer"),
    ("generation", {"stars": "number"}, {"kpi": [{"metric": "exact_match"}]}, "no outcome has a type that fits"),
    ("classification", {"a": "category"}, {"predicts": "text"}, "which has role input; outcomes: a"),
    ("classification", {"a": "category"}, {"predicts": "b"}, "names column 'b', which is not declared"),
    (
        "regression",
        {"a": "category", "b": "number"},
        {"predicts": "a"},
        "type category, with which a pred",
    ),
    ("generation", {"a": "number"}, {"predicts": "a"}, "name an outcome of type text or texts or string or category"),
]


@pytest.mark.parametrize(("task", "outcomes", "more", "message"), REFUSED)
def test_an_ambiguous_or_unfit_target_is_refused_with_the_candidates_and_the_key(
    task: str, outcomes: dict[str, str], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message) as refused:
        spec(task, outcomes, **more)
    assert refused.value.facts["problems"][0]["field"] == "columns.said.predicts"


def test_predicts_belongs_to_the_prediction() -> None:
    wrong = document("classification", {"a": "category"})
    wrong["columns"]["a"]["predicts"] = "a"
    with pytest.raises(SpecError, match=r"columns\.a\.predicts: belongs to the column with role prediction"):
        parse_spec(wrong, new=True)


@pytest.mark.parametrize(
    ("task", "outcomes", "kpi", "wanted", "others"),
    [
        ("classification", {"a": "category", "b": "category"}, ACCURACY, "a", ("b",)),
        ("classification", {"csat": "number", "a": "category", "b": "category"}, (), "a", ("b",)),
        ("classification", {"note": "text"}, ACCURACY, "note", ()),
        ("generation", {"ok": "category", "good": "category"}, [{"metric": "exact_match"}], "ok", ("good",)),
    ],
)
def test_a_stored_spec_goes_on_with_the_first_that_may_fit_and_says_so(
    task: str, outcomes: dict[str, str], kpi: Any, wanted: str, others: tuple[str, ...]
) -> None:
    found = target_of(spec(task, outcomes, kpi=kpi, new=False))
    assert found is not None
    assert (found.column, found.how, found.others) == (wanted, "assumed", others)
    assert found.note.startswith(f"assumed: predictions are compared with {wanted}")
