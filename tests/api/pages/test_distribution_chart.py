"""The chart of a distribution in the browser: its order, its figures and its words."""

from api.pages.models.distribution_chart import distribution_chart, distribution_rows, distribution_words
from reports.charts.records import Distribution


def test_categories_are_drawn_by_how_much_they_changed() -> None:
    drawn = Distribution("channel", "category", ("web", "phone", "chat"), (0.4, 0.4, 0.2), (0.1, 0.38, 0.52), 5000, 400)
    chart = distribution_chart(drawn)
    assert chart["layer"][0]["encoding"]["y"]["sort"] == ["chat", "web", "phone"]
    assert [row[-1] for row in distribution_rows(drawn).rows] == ["+32.00", "-30.00", "-2.00"]
    assert "the largest difference is chat: 20.0 % in the reference, 52.0 % in the window" in distribution_words(drawn)
