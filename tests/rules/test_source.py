"""Small rules about the source text, each for a mistake that is cheap to make and dear to find."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.jobs import JOBS

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "migrations", "reports", "retrain", "monitor", "governance", "core")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "handler", "handlers", "misc"}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain; empty when it does not start at a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, dotted(node.func), node


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_nothing_is_pickled() -> None:
    """A pickle runs code when it is read; safetensors, npz, Parquet and JSON do not."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
    found = [
        place(p, n) for p in sources(*PACKAGES, "bench") for n, name in imports(p) if name.partition(".")[0] in banned
    ]
    found += [
        place(p, n)
        for p in sources(*PACKAGES, "bench")
        for n, name, call in calls(p)
        if name in {"torch.load", "torch.save", "joblib.load", "joblib.dump", "np.save", "numpy.save"}
        or (name.endswith(("np.load", "numpy.load")) and not _says(call, "allow_pickle", value=False))
    ]
    assert not found


def _says(call: ast.Call, argument: str, *, value: object) -> bool:
    return any(
        k.arg == argument and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords
    )


def _safetensors(path: Path, call: ast.Call) -> bool:
    """Said in the call, or in the options that the call spreads."""
    if _says(call, "use_safetensors", value=True):
        return True
    spread = any(k.arg is None for k in call.keywords)
    return spread and any(
        (
            isinstance(n, ast.Dict)
            and any(_is(k, "use_safetensors") and _is(v, True) for k, v in zip(n.keys, n.values, strict=True))
        )
        or (isinstance(n, ast.Call) and dotted(n.func) == "dict" and _says(n, "use_safetensors", value=True))
        for n in ast.walk(parsed(path))
    )


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def test_weights_are_loaded_from_safetensors_only() -> None:
    """`from_pretrained` falls back to a pickle when a folder holds no safetensors, unless it is told not to."""
    models = ("AutoModel", "PreTrainedModel", "ForSequenceClassification", "ForCausalLM")
    found = [
        place(p, n)
        for p in sources(*PACKAGES, "bench")
        for n, name, call in calls(p)
        if name.endswith(".from_pretrained") and any(model in name for model in models) and not _safetensors(p, call)
    ]
    assert not found


def test_the_environment_is_read_in_settings_alone() -> None:
    """Elsewhere only to hand it on to a process that we start."""
    found = []
    for path in sources(*PACKAGES):
        if path == ROOT / "core/settings.py":
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Attribute):
                continue
            name = dotted(node)
            if name in {"os.getenv", "os.environb"} or (name == "os.environ" and not _handed_on(path, node)):
                found.append(place(path, node.lineno))
    assert not found


def _handed_on(path: Path, environ: ast.AST) -> bool:
    """True for `{**os.environ, ...}`, `dict(os.environ)`, `isolated(os.environ)`, `.copy()`, a loop, or a write."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Dict) and any(
            k is None and v is environ for k, v in zip(node.keys, node.values, strict=True)
        ):
            return True
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and environ in (node.left, node.right):
            return True
        if isinstance(node, ast.Call) and dotted(node.func) in ("dict", "isolated") and environ in node.args:
            return True
        if isinstance(node, ast.Attribute) and node.value is environ:
            return node.attr in {"copy", "items", "setdefault", "update", "pop"}
        if isinstance(node, ast.Subscript) and node.value is environ:
            return not isinstance(node.ctx, ast.Load)
    return False


def test_jobs_are_named_in_one_table_alone() -> None:
    """A name written elsewhere is an import that the contract cannot see, and a misspelling that no check finds."""
    found = [
        place(p, node.lineno)
        for p in sources(*PACKAGES)
        if p != ROOT / "core/jobs.py"
        for node in ast.walk(parsed(p))
        if isinstance(node, ast.Constant) and node.value in JOBS
    ]
    assert not found


def test_the_worker_runs_exactly_the_jobs_of_the_table() -> None:
    from api.processes import worker

    assert set(worker.JOBS) == set(JOBS)


def test_settings_are_never_a_module_level_object() -> None:
    found = []
    for path in sources(*PACKAGES):
        for statement in parsed(path).body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            made = [dotted(n.func) for n in ast.walk(statement.value) if isinstance(n, ast.Call)]
            if any(name.split(".")[-1] == "Settings" or name in {"settings.load", "load_settings"} for name in made):
                found.append(place(path, statement.lineno))
    assert not found


def test_only_the_command_line_prints() -> None:
    speakers = {ROOT / "api/cli.py", *sources("api/commands", "api/demo")}
    found = [place(p, n) for p in sources(*PACKAGES) if p not in speakers for n, name, _ in calls(p) if name == "print"]
    assert not found


def test_no_except_is_bare_and_none_is_silent() -> None:
    found = []
    for path in sources(*PACKAGES, "tests", "bench"):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or dotted(node.type) in {"Exception", "BaseException"}
            if node.type is None or (broad and all(isinstance(s, ast.Pass | ast.Continue) for s in node.body)):
                found.append(place(path, node.lineno))
    assert not found


def test_the_time_is_asked_of_the_clock() -> None:
    banned = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "time.time"}
    found = [
        place(p, n)
        for p in sources(*PACKAGES)
        for n, name, _ in calls(p)
        if name in banned and p != ROOT / "core/clock.py"
    ]
    assert not found


def test_random_numbers_come_from_a_seeded_generator() -> None:
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}
    found = []
    for path in sources(*PACKAGES):
        from_library = any(name == "random" for _, name in imports(path))
        for line, name, call in calls(path):
            parts = name.split(".")
            if len(parts) == 3 and parts[:2] in (["np", "random"], ["numpy", "random"]):
                unseeded = parts[2] == "default_rng" and not (call.args or call.keywords)
                if parts[2] not in allowed or unseeded:
                    found.append(place(path, line))
            elif len(parts) == 2 and parts[0] == "random" and parts[1] != "Random" and from_library:
                found.append(place(path, line))
    assert not found


def test_our_own_code_is_never_mocked() -> None:
    found = [
        place(p, n) for p in sources("tests") for n, name in imports(p) if name.startswith(("unittest.mock", "mock"))
    ]
    ours = tuple(f"{package}." for package in PACKAGES)
    for path in sources("tests"):
        named = {name.rpartition(".")[2] for _, name in imports(path) if name.startswith(ours) or name in PACKAGES}
        for line, name, call in calls(path):
            if not name.endswith("monkeypatch.setattr") or not call.args:
                continue
            target = call.args[0]
            text = target.value if isinstance(target, ast.Constant) else dotted(target)
            if isinstance(text, str) and (text.startswith(ours) or text.partition(".")[0] in {*PACKAGES, *named}):
                found.append(place(path, line))
    assert not found


def test_tests_do_not_sleep_for_long() -> None:
    found = [
        place(p, n)
        for p in sources("tests")
        for n, name, call in calls(p)
        if name == "time.sleep"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, int | float)
        and call.args[0].value > 0.5
    ]
    assert not found


def test_no_file_has_a_name_that_says_nothing() -> None:
    found = [str(p.relative_to(ROOT)) for p in sources(*PACKAGES) if {p.stem, p.parent.name} & FORBIDDEN_NAMES]
    assert not found


def test_the_project_names_no_path_of_the_machine_it_was_written_on() -> None:
    texts = [p for p in ROOT.rglob("*") if p.suffix in {".py", ".md", ".toml", ".yaml", ".typ", ".html", ".txt"}]
    kept = [p for p in texts if not {".venv", ".git", "build", "dist", "node_modules"} & set(p.relative_to(ROOT).parts)]
    words = ("/wo" + "rk/", "/op" + "t/", "/ro" + "ot/")
    found = [str(p.relative_to(ROOT)) for p in kept if any(word in p.read_text(errors="replace") for word in words)]
    assert not found


def test_what_the_benches_import_of_ours_exists() -> None:
    """mypy does not read them, and nobody runs them all: a name that moves must move there too."""
    ours = (*PACKAGES, "bench", "tests")
    found = []
    for path in sources("bench"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in ours:
                folder = ROOT / node.module.replace(".", "/")
                source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
                names = names_of(source) if source.is_file() else set()
                inside = {p.stem for p in folder.glob("*")} if folder.is_dir() else set()
                found += [place(path, node.lineno) for a in node.names if a.name not in names | inside]
    assert not found


def names_of(path: Path) -> set[str]:
    """Every name that a module defines or imports."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_every_package_says_in_a_sentence_what_it_holds() -> None:
    packages = [path for path in sources(*PACKAGES) if path.name == "__init__.py" and path.parent.name != "versions"]
    assert len(packages) > 40
    silent = [str(path.parent.relative_to(ROOT)) for path in packages if not ast.get_docstring(parsed(path))]
    assert not silent
