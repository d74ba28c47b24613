"""Numbers in sentences: three significant digits, never six in a row, and a word for each size."""

import re

import pytest

from core.figures import count, cut, figure, points
from monitor import sizes


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (487_312.4, "487,000"), (1_234_567.0, "1.23 million"), (999_999.0, "1 million"), (12.345, "12.3"),
        (0.0195, "0.0195"), (-1234.0, "-1,230"), (0.0, "0"), (1.2e-7, "1.2e-07"), (1e20, "1e+20"), (None, "unknown"),
        (float("nan"), "unknown"), (2.5e12, "2.5 trillion"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits_that_count(value: float | None, said: str) -> None:
    assert figure(value) == said
    assert not re.search(r"(?<![.\d])\d{4}", said)


def test_rows_are_exact_up_to_five_digits_and_years_stay_years() -> None:
    assert (count(45_678), count(456_789)) == ("45,678", "457,000")
    assert (cut(2024.0), cut(487.312), cut(12_345.6)) == ("2,024", "487", "12,300")
    assert (points(-0.0931), points(0.01), points(0.0004), points(0.00005)) == (
        "9.3 points", "1 point", "under 0.1 points", "under 0.1 points",
    )  # fmt: skip


def test_sizes_have_the_lines_that_the_documentation_names() -> None:
    assert [sizes.of_std(d) for d in (0.1, -0.3, 0.6, 0.9)] == ["very small", "small", "moderate", "large"]
    assert [sizes.of_shares(0.5, s) for s in (0.53, 0.65, 0.8, 1.0)] == ["very small", "small", "moderate", "large"]
    assert [sizes.of_points(p) for p in (0.01, -0.05, 0.2)] == ["small", "moderate", "large"]
    assert [sizes.of_ratio(r) for r in (0.9, 1.5, 0.0)] == ["small", "moderate", "large"]
    assert [sizes.of_factor(f) for f in (1.5, 0.3, 0.0)] == ["small", "moderate", "large"]
    assert [sizes.of_psi(p) for p in (0.05, 0.2, 0.3)] == ["small", "moderate", "large"]
    assert [sizes.of_ks(d) for d in (0.01, 0.1, 0.25, 1.0)] == ["very small", "small", "moderate", "large"]
    assert [sizes.of_relative(10, v) for v in (10.2, 11, 20)] == ["small", "moderate", "large"]
    assert sizes.of_relative(0, 1) == "large"
