"""The spec of a model: what is in force, and an editor that says what a change would do before it is saved."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import yaml
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from api.http.applied import AppliedOut, applied, previewed
from api.http.auth import requires
from api.http.deps import Db, ReadDb, SiteDep
from api.pages.forms import Form
from api.pages.models import store as pages_store
from api.pages.models.summary import head_of
from api.pages.render import PageRoute, page
from core.errors import AppError
from governance.access.roles import PERMISSIONS, Caller, Permission
from monitor import store
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, load_spec, parse_spec
from reports import store as reports_store
from reports.facts.citations import Citations
from reports.wording.phrases import budget_words, rule_words

if TYPE_CHECKING:
    from monitor.windows.rejudged import Backtest

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Writer = Annotated[Caller, requires(Permission.MODEL_WRITE)]
REVISIONS: Final = 20
MOST_DIFF: Final = 2_000  # lines
_Dumper: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a text: on which line, which says what, and why."""

    line: int | None
    quoted: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A text that somebody edits, and what is known of it. `base`: digest of the spec that it was made from."""

    text: str
    base: str
    problems: Sequence[Problem] = ()
    diff: Sequence[str] = ()
    preview: AppliedOut | None = None
    past: "Backtest | None" = None
    stale: bool = False  # the spec was changed since
    checked: bool = False


@router.get("/models/{name}/spec")
def spec_page(
    caller: Annotated[Caller, requires(Permission.READ)], name: str, site: SiteDep, db: ReadDb, saved: str = ""
) -> HTMLResponse:
    current = current_spec(site, db, name)
    revision = store.spec_revision(db, current.model.id, current.revision)
    return _page(site, db, caller, current, Draft(text_of(revision.document), revision.digest), saved=saved == "yes")


@router.post("/models/{name}/spec/check")
def check_spec(caller: Writer, name: str, site: SiteDep, db: Db, form: Form) -> HTMLResponse:
    """Say what the text would do; nothing is stored."""
    current = current_spec(site, db, name)
    draft, _ = _checked(site, db, caller, current, form)
    return _page(site, db, caller, current, draft, status=422 if draft.problems else 200)


@router.post("/models/{name}/spec")
def save_spec(caller: Writer, name: str, site: SiteDep, db: Db, form: Form) -> Response:
    """Apply the text, as PUT does; refused where the spec has changed since the editor was opened."""
    current = current_spec(site, db, name)
    draft, spec = _checked(site, db, caller, current, form)
    if spec is None or draft.problems or draft.stale:
        return _page(site, db, caller, current, draft, status=409 if draft.stale else 422)
    found = applied(site, db, caller, spec)
    where = "/governance" if found.outcome == "waits" else "/spec?saved=yes"
    return RedirectResponse(f"/models/{name}{where}", 303)


def text_of(document: dict[str, Any]) -> str:
    """A spec as people write it: without keys that hold nothing, where it stays the same spec without them."""
    brief = _without_empty(document)
    try:
        same = parse_spec(brief).digest == parse_spec(document).digest
    except (AppError, ValueError):  # of an earlier release
        same = False
    chosen = brief if same else document
    return str(yaml.dump(chosen, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_empty(part) for name, part in value.items() if part is not None}
    return [_without_empty(part) for part in value] if isinstance(value, list) else value


def _checked(
    site: Site, db: Session, caller: Caller, current: CurrentSpec, form: dict[str, str]
) -> tuple[Draft, ModelSpec | None]:
    """The draft of a form with everything that is known of it; and its spec, where it is one."""
    revision = store.spec_revision(db, current.model.id, current.revision)
    text = form.get("text", "").replace("\r\n", "\n")
    before = text_of(revision.document)
    draft = Draft(text, form.get("base", ""), checked=True, stale=form.get("base", "") != revision.digest)
    try:
        spec = load_spec(text, None)
    except SpecError as error:
        return replace(draft, problems=_problems(text, error), diff=_diff(before, text)), None
    draft = replace(draft, diff=_diff(before, text_of(spec.document)))
    if spec.model != current.model.name:
        wrong = Problem(_line_of(text, "model:"), f"model: {spec.model}", "model",
                        f"is {spec.model!r}; a spec keeps the name of its model, {current.model.name!r}")  # fmt: skip
        return replace(draft, problems=[wrong]), None
    try:
        preview = previewed(site, db, caller, spec)
    except SpecError as error:
        return replace(draft, problems=_problems(text, error)), None
    except AppError as error:
        return replace(draft, problems=[Problem(None, "", error.code, error.message)]), None
    from monitor.windows.threshold_backtest import backtest  # loads much, for those who change a spec

    past = backtest(db, current.model.id, current.spec, spec) if preview.outcome != "unchanged" else None
    return replace(draft, preview=preview, past=past), spec


def _problems(text: str, error: SpecError) -> list[Problem]:
    """Every problem with its line, if the text has lines, and what stands there."""
    lines = text.split("\n")
    listed = error.facts.get("problems") or []
    if not listed:
        return [Problem(None, "", "", error.message)]
    found = []
    for one in listed:
        line = one.get("line") or _line_of(text, f"{str(one['field']).rpartition('.')[2]}:")
        quoted = lines[line - 1].strip()[:200] if line is not None and line <= len(lines) else ""
        found.append(Problem(line, quoted, str(one["field"]), str(one["reason"])))
    return found


def _line_of(text: str, key: str) -> int | None:
    """The only line that begins with a key; None where there are several."""
    found = [i for i, line in enumerate(text.split("\n"), 1) if line.strip().startswith(key)]
    return found[0] if len(found) == 1 else None


def _diff(before: str, after: str) -> list[str]:
    """The spec in force against a text, without the two heads."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return list(lines)[2 : 2 + MOST_DIFF]


def _page(
    site: Site, db: Session, caller: Caller, current: CurrentSpec, draft: Draft, *, status: int = 200,
    saved: bool = False,
) -> HTMLResponse:  # fmt: skip
    model, spec = current.model, current.spec
    citations = Citations(reports_store.entries(db, [f"model:{model.name}"]))
    able = " or ".join(role.value for role, rights in PERMISSIONS.items() if Permission.MODEL_WRITE in rights)
    return page(
        "models/spec.html", caller=caller, status=status, model=model, spec=spec, revision=current.revision,
        head=head_of(site, db, current), draft=draft, saved=saved, rules=rule_words(spec), budget=budget_words(spec),
        revisions=pages_store.revisions(db, model.id, REVISIONS), cite=citations.find, able=able,
        digest=store.spec_revision(db, model.id, current.revision).digest,
    )  # fmt: skip
