"""A model that is asked over HTTP: rows as JSON, scores as JSON. Its answers are checked before they are believed.

POST ENDPOINT   {"columns": ["age", "purpose"], "rows": [{"age": 35.0, "purpose": "car"}, ...]}
200             {"scores": [[0.2, 0.8], ...]}   one list for each row, in the order of `explain.outputs`; or a number
"""

import json
import math
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
import polars as pl

from core.arrays import Floats
from core.bounded_http import UnreachableError, request
from core.errors import InvalidError
from retrain.evals.served.base import (
    MARGIN,
    OUTCOME,
    PROBABILITY,
    Declared,
    Served,
    are_shares,
    classes_of,
    features_of,
    outputs_of,
    sigmoid,
)

ROWS: Final = 500  # of one request
MAX_ANSWER: Final = 4 << 20  # bytes
ALL: Final = 10.0  # requests of one explanation may together take so many times the limit of one


class EndpointError(InvalidError):
    """The endpoint did not answer, or with what is no answer."""

    code = "endpoint"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url` may hold a user and a password, or a token alone as the password: they are sent, and never shown.
    `rows`: how many are explained, each of which may take ALL times the limit of one request."""

    name: str
    url: str
    timeout_s: float
    rows: int = 1

    @property
    def whole_s(self) -> float:
        return ALL * self.timeout_s * max(1, self.rows)

    def ask(self, frame: pl.DataFrame, until: float) -> list[Any]:
        """The scores of up to ROWS rows, as JSON gave them.

        Raises:
            EndpointError: names what came in place of an answer.
        """
        address, headers = _address(self.url)
        body = json.dumps({"columns": frame.columns, "rows": frame.to_dicts()}, allow_nan=False).encode()
        left = min(self.timeout_s, until - time.monotonic())
        if left <= 0:
            raise self._error(
                f"its answers took more than {self.whole_s:g} s in all; give explain.budget less, or "
                "explain.timeout more"
            )
        sent = headers | {
            "Host": urlsplit(address).netloc, "Content-Type": "application/json", "Accept": "application/json",
            "Content-Length": str(len(body)), "User-Agent": "Assay", "Connection": "close",
        }  # fmt: skip
        try:
            answer = request("POST", address, sent, body, limit_s=left, max_bytes=MAX_ANSWER + 1)
        except UnreachableError as error:
            raise self._error(str(error)) from error
        if 300 <= answer.status < 400:
            raise self._error(f"answered {answer.status}, a redirect, which is not followed; set its address")
        if not 200 <= answer.status < 300:
            raise self._error(f"answered {answer.status}, and 200 is expected")
        if len(answer.body) > MAX_ANSWER:
            raise self._error(f"answered more than {MAX_ANSWER >> 20} MiB for {frame.height} rows")
        return self._scores(answer.body, frame.height)

    def _scores(self, body: bytes, rows: int) -> list[Any]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise self._error("its answer is no JSON, or broke off") from None
        scores = found.get("scores") if isinstance(found, dict) else None
        if not isinstance(scores, list):
            raise self._error('its answer has no list "scores"; answer {"scores": [[0.2, 0.8], ...]}')
        if len(scores) != rows:
            raise self._error(f"its list \"scores\" has length {len(scores)}, and the request has {rows} in \"rows\"; "
                              "answer one list or number for each, in order")  # fmt: skip
        return scores

    def _error(self, what: str) -> EndpointError:
        return EndpointError(f"endpoint {self.name}: {what}", field="explain.endpoint", value=self.name)


def read_endpoint(endpoint: Endpoint, declared: Declared, sample: pl.DataFrame) -> Served:
    """The endpoint as a model; how many scores a row has, and whether they are probabilities, is asked of it
    once, with `sample`."""
    columns = features_of(declared, None, len(declared.features or declared.inputs))
    until = time.monotonic() + endpoint.whole_s
    width: list[int] = []

    def raw(frame: pl.DataFrame) -> Floats:
        parts = [endpoint.ask(part, until) for part in frame.iter_slices(ROWS)]
        rows = [one if isinstance(one, list) else [one] for part in parts for one in part]
        for row in rows:
            width[:] = width or [len(row)]
            if len(row) != width[0]:
                raise endpoint._error(f"answered {len(row)} scores for one row and {width[0]} for another")
            if bad := [
                one for one in row if isinstance(one, bool) or not isinstance(one, int | float) or not _is_finite(one)
            ]:
                raise endpoint._error(f"answered {str(bad[0])[:40]!r} as a score; scores are finite numbers")
        return np.array(rows, dtype=np.float64).reshape(frame.height, -1)

    first = raw(sample.select([c.name for c in columns]))
    count = first.shape[1]
    if not count:
        raise endpoint._error("answered no score for a row")
    if not declared.classes:
        if count > 1:
            raise endpoint._error(f"answered {count} scores for a row, and the task is a regression; answer one number")
        return Served(columns, (), outputs_of((), 1), OUTCOME, lambda frame: frame, raw, lambda _, found: found)
    classes = classes_of(declared, None, max(2, count))
    shares = are_shares(first)

    def scores(_: Any, found: Floats) -> Floats:
        if found.shape[1] > 1:
            return found
        return np.concatenate([1 - found, found], axis=1) if shares else sigmoid(found)

    unit = PROBABILITY if shares else MARGIN
    return Served(columns, classes, outputs_of(classes, count), unit, lambda frame: frame, raw, scores)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # JSON has whole numbers of any length
        return False


def _address(url: str) -> tuple[str, dict[str, str]]:
    """The address without what is secret in it, and the header that carries that."""
    import base64

    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    if "@" not in parts.netloc:
        return address, {}
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user or not password:
        return address, {"Authorization": f"Bearer {password or user}"}
    return address, {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
