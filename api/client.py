"""The command line's HTTP client: one place that knows the service's URL, the key and how errors read."""

from typing import Any

import httpx2

from core.errors import AppError, InvalidError
from core.settings import ClientSettings


class ServiceError(AppError):
    """The service answered with a problem document."""

    code = "service"


class Client:
    def __init__(self, settings: ClientSettings, *, timeout_s: float = 120.0) -> None:
        headers = {"Authorization": f"Bearer {settings.key.get_secret_value()}"} if settings.key else {}
        self._http = httpx2.Client(base_url=settings.url, headers=headers, timeout=timeout_s)

    def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request.

        Raises:
            InvalidError: the service cannot be reached.
            ServiceError: it answered 4xx or 5xx; the message is the problem document's.
        """
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise InvalidError(
                f"no service answers at {self._http.base_url}: {error}; start `assay serve` or set ASSAY_CLIENT__URL",
                field="client.url", value=str(self._http.base_url),
            ) from error  # fmt: skip
        if response.is_error:
            raise ServiceError(_problem(response), status=response.status_code)
        return response

    def json(self, method: str, path: str, **options: Any) -> Any:
        return self.send(method, path, **options).json()


def _problem(response: httpx2.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        return f"{response.status_code} {response.reason_phrase}: {response.text[:300]}"
    detail = document.get("detail", response.reason_phrase)
    problems = document.get("problems") or []
    more = "".join(f"\n  {p.get('field')}: {p.get('reason')}" for p in problems if isinstance(p, dict))
    return f"{response.status_code} {document.get('code', '')}: {detail}{more}"
