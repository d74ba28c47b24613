"""Forms of pages: their fields, and what every form asks for."""

from datetime import date, timedelta
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends

from api.http.deps import body_of
from core.errors import InvalidError
from core.text import unfit
from monitor.spec.duration import duration


def _fields(
    body: Annotated[bytes, Depends(body_of("application/x-www-form-urlencoded", limit_mb=1))],
) -> dict[str, str]:
    try:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise InvalidError("the form has more than 100 fields", field="form") from error
    for name, text in fields.items():
        if reason := unfit(text):
            raise InvalidError(f"{name[:100]!r} {reason}", field=name[:100])
    return fields


Form = Annotated[dict[str, str], Depends(_fields)]


def reason_of(form: dict[str, str], field: str = "reason") -> str:
    """What a person wrote: of a `reason` why, of another field what it asks for; never empty, never cut."""
    reason = form.get(field, "").strip()
    if not reason:
        wanted = "why" if field == "reason" else "what it is and where it can be read"
        raise InvalidError(f"the {field} is empty; say in a few words {wanted}", field=field, value="")
    if len(reason) > 2000:
        raise InvalidError(f"the {field} has {len(reason)} characters; write at most 2000", field=field)
    return reason


def day_of(form: dict[str, str], field: str) -> date:
    try:
        return date.fromisoformat(form.get(field, ""))
    except ValueError as error:
        raise InvalidError(
            f"{field} is {form.get(field, '')!r}; write a day such as 2026-01-31", field=field
        ) from error


def time_of(form: dict[str, str]) -> timedelta:
    try:
        return duration(form.get("for", ""))
    except ValueError as error:
        raise InvalidError(f"for: {error}", field="for", value=form.get("for", "")) from None
