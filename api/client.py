"""HTTP client of the command line: it holds the service's URL and key, and turns problem documents into errors."""

from typing import TYPE_CHECKING, Any, Self

from core.errors import AppError, InvalidError
from core.settings import ClientSettings

if TYPE_CHECKING:
    import httpx2  # every command imports this module, few send anything


class ServiceError(AppError):
    """The service answered with a problem document, or not at all."""

    code = "service"


class Client:
    def __init__(self, settings: ClientSettings, *, timeout_s: float = 120.0) -> None:
        import httpx2

        key = settings.key.get_secret_value() if settings.key else None
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidError("client.key contains a character that no key has; copy it again", field="client.key")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._http = httpx2.Client(base_url=settings.url, headers=headers, timeout=timeout_s)
        except httpx2.InvalidURL as error:
            raise InvalidError(
                f"client.url {settings.url!r} is not a URL: {error}; write it like http://127.0.0.1:8100",
                field="client.url", value=settings.url,
            ) from error  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> "httpx2.Response":
        """Send one request.

        Raises:
            ServiceError: the service does not answer, or answers 4xx or 5xx with the message of its problem document.
        """
        import httpx2

        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise ServiceError(
                f"no service answers at {self._http.base_url}: {error}; start `assay serve` or set ASSAY_CLIENT__URL",
                field="client.url", value=str(self._http.base_url),
            ) from error  # fmt: skip
        if response.is_error:
            raise _refusal(response)
        return response

    def json(self, method: str, path: str, **options: Any) -> Any:
        return self.send(method, path, **options).json()


def _refusal(response: "httpx2.Response") -> ServiceError:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = f"{response.status_code} {response.reason_phrase}: {response.text[:300]}"
        return ServiceError(message, status=response.status_code)
    detail = document.get("detail", response.reason_phrase)
    pause = response.headers.get("retry-after", "")
    return ServiceError(
        f"{response.status_code} {document.get('code', '')}: {detail}", status=response.status_code,
        problems=document.get("problems") or [], retry_after_s=int(pause) if pause.isdecimal() else None,
    )  # fmt: skip
