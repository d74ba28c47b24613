"""Declarations of provenance and SPDX licence expressions: what is refused, and with which words."""

from typing import Any

import pytest

from governance.provenance.declaration import Declaration, DeclarationError
from governance.provenance.licences import LicenceError, allows, normalised

GIVEN: dict[str, Any] = {
    "source": "https://example.com/intents", "licence": "CC-BY-4.0",
    "collected": {"from": "2025-01-01", "to": "2025-03-31"}, "consent": "contract", "collector": "Example Ltd",
    "processing": [], "known_biases": ["none known"], "synthetic_share": 0.25,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"licence": "Apache"}, "licence", "names 'Apache', which is no licence of the SPDX list"),
        ({"licence": "NOASSERTION"}, "licence", "says that no licence is stated"),
        ({"licence": "MIT AND"}, "licence", "cannot be read"),
        ({"consent": "yes"}, "consent", "give the basis on which it may be processed: consent, contract"),
        ({"collected": {"from": "2025-02-01", "to": "2025-01-01"}}, "collected", "swap from and to"),
        ({"synthetic_share": 1.5}, "synthetic_share", "give the share of it that was made rather than observed"),
        ({"synthetic_share": True}, "synthetic_share", "is true; give the share"),
        ({"known_biases": []}, "known_biases", "[none known] is an answer"),
        ({"license": "MIT"}, "license", "is no such field; the fields are source, licence"),
        ({"collector": None}, "collector", "name the organisation or team"),
    ],
)
def test_a_wrong_declaration_names_field_value_and_fix(changes: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(DeclarationError) as error:
        Declaration.of(GIVEN | changes)
    assert error.value.facts["field"] == field
    assert said in error.value.message


def test_human_and_synthetic_share_make_one() -> None:
    assert Declaration.of(GIVEN).human_share == 0.75


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("apache-2.0 or mit", "Apache-2.0 OR MIT"), ("GPL-2.0+", "GPL-2.0-or-later"), ("GPL-2.0", "GPL-2.0-only"),
        ("LicenseRef-MIT-TC", "LicenseRef-MIT-TC"),  # which the library alone takes for MIT
        ("DocumentRef-a:LicenseRef-b AND MIT", "DocumentRef-a:LicenseRef-b AND MIT"),
        ("gpl-2.0-only with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
    ],
)  # fmt: skip
def test_a_licence_is_spelled_as_the_list_has_it(written: str, read: str) -> None:
    assert normalised(written) == read


@pytest.mark.parametrize("text", ["", " ", "NONE", "()", "MIT AND", "Classpath-exception-2.0", "MIT WITH MIT", "a b"])
def test_what_is_no_licence_is_refused(text: str) -> None:
    with pytest.raises(LicenceError, match="write an SPDX licence expression"):
        normalised(text)


@pytest.mark.parametrize(
    ("allowed", "licence", "may"),
    [
        (["MIT"], "MIT OR GPL-3.0-only", True), (["MIT"], "MIT AND GPL-3.0-only", False),
        (["MIT", "GPL-3.0-only"], "MIT AND GPL-3.0-only", True), (["GPL-2.0-only"], "GPL-2.0-or-later", True),
        (["GPL-2.0-or-later"], "GPL-2.0-only", False), (["MIT AND Apache-2.0"], "MIT", False),
        (["MIT AND Apache-2.0"], "Apache-2.0 AND MIT", True), (["MIT OR Apache-2.0"], "Apache-2.0", True),
        (["GPL-2.0-only"], "GPL-2.0-only WITH Classpath-exception-2.0", True),
        (["GPL-2.0-only WITH Classpath-exception-2.0"], "GPL-2.0-only", False),
        (["MIT"], "LicenseRef-MIT-TC", False), (["LicenseRef-x"], "LicenseRef-y", False),
        (["MIT"], "(MIT OR Apache-2.0) AND (MIT OR GPL-3.0-only)", True),
    ],
)  # fmt: skip
def test_a_licence_is_allowed_where_one_of_its_alternatives_is(allowed: list[str], licence: str, may: bool) -> None:
    assert allows(allowed, licence) is may
