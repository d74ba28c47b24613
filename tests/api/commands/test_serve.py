"""The address that `assay serve` hands to its worker, for the links in messages."""

from collections.abc import Callable

import httpx2
import pytest

from api.commands.serve import worker_environment
from api.server import reachable
from core import settings
from tests.monitor.notify.receivers import answer, http_receiver
from tests.service import Service

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
    assert settings.load(environ).served_at(SERVED).pages_url == link, "of the API, which sends the tests of channels"


def test_an_address_for_all_interfaces_is_one_that_opens() -> None:
    assert reachable("http://0.0.0.0:8123") == SERVED
    assert reachable("http://[::]:8123") == "http://[::1]:8123"


def test_a_test_of_a_channel_leads_to_the_service_that_sent_it(start_server: Callable[..., Service]) -> None:
    """It is sent by the API, not by the worker; its link led to port 8100 wherever the service listened."""
    with http_receiver(answer(200)) as there:
        service = start_server(environ={"ASSAY_CHANNELS__OPS": f"json://{there.address}"})
        asked = httpx2.post(
            f"{service.url}/api/v1/channels/ops/test",
            headers={"Authorization": f"Bearer {service.admin_key}"},
            timeout=120,
        )
    assert asked.json()["delivered"] is True
    assert f"{service.url}/channels" in there.posted[0].body.decode()
