"""The address that `assay serve` hands to its worker, for the links in messages."""

import pytest

from api.commands.serve import worker_environment
from api.server import reachable
from core import settings

SERVED = "http://127.0.0.1:8123"


@pytest.mark.parametrize(
    ("environ", "link"),
    [
        ({}, SERVED),
        ({"ASSAY_CLIENT__URL": "https://assay.example.com"}, "https://assay.example.com"),
        ({"ASSAY_NOTIFY__BASE_URL": "https://pages.example.com"}, "https://pages.example.com"),
    ],
)
def test_links_lead_to_where_serve_listens_unless_an_address_is_set(environ: dict[str, str], link: str) -> None:
    handed = worker_environment(settings.load(environ), SERVED)
    own = {name: value for name, value in handed.items() if name == "ASSAY_NOTIFY__BASE_URL"}
    assert settings.load({**own, **environ}).pages_url == link


def test_an_address_for_all_interfaces_is_one_that_opens() -> None:
    assert reachable("http://0.0.0.0:8123") == SERVED
    assert reachable("http://[::]:8123") == "http://[::1]:8123"
