"""What the documents name exists: files, make targets, modules, links. Decisions are numbered and say their state."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *DECISIONS, *(ROOT / "findings").glob("*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
FOLDERS = "api|bench|core|docs|findings|governance|migrations|monitor|reports|retrain|tests|.ci"
PATH = re.compile(rf"(?:{FOLDERS.replace('.', '[.]')})(?:/[\w.-]+)+/?|(?:{FOLDERS.replace('.', '[.]')})/")
FILE = re.compile(r"[a-z_0-9]+\.(?:py|typ|sh|md|toml)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
STATE = re.compile(r"Decided: (?:\d{4}-\d\d|never)\. State: ([^.]+)(?:\.|$)")


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def state(page: Path) -> str:
    """What a decision's second line says of it."""
    found = STATE.match(page.read_text().splitlines()[2])
    assert found, f"{page.name}: the second line must say `Decided: YYYY-MM. State: ...`, as decision 0001 has it"
    return found[1]


def named_paths(page: Path) -> Iterator[str]:
    """Paths between backticks, also inside a longer command.

    In a table a file without a folder lies in the folder named last in its row.
    """
    for line in prose(page).splitlines():
        folder = ""
        for name in re.findall(r"`([^`]+)`", line):
            paths = [word for word in re.split(r"[\s\"'=]+", name) if PATH.fullmatch(word) and "..." not in word]
            yield from paths
            if paths == [name]:
                folder = name if name.endswith("/") else str(Path(name).parent) + "/"
            elif line.startswith("|") and folder and FILE.fullmatch(name) and not (ROOT / name).exists():
                yield folder + name


@pytest.mark.parametrize("name", NAMES)
def test_every_file_and_folder_that_is_named_exists(name: str) -> None:
    page = ROOT / name
    if page in DECISIONS and not state(page).startswith("in force"):
        return
    named = [*named_paths(page), *re.findall(r"(?<![\w/])docs/[\w/-]+\.md", prose(page))]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_what_the_architecture_points_at_in_a_file_is_in_that_file() -> None:
    """Names in the table of answers, such as `Log.append`, are defined in one of the files named in the same row."""
    answers = (ROOT / "ARCHITECTURE.md").read_text().partition("## Answers in a minute")[2].partition("\n## ")[0]
    named = 0
    for line in answers.splitlines():
        tokens = re.findall(r"`([^`]+)`", line)
        sources = "".join((ROOT / path).read_text() for path in tokens if path.endswith(".py"))
        for name in (token for token in tokens if re.fullmatch(r"[A-Za-z_]+(?:\.[a-z_]+)?", token)):
            last = name.rpartition(".")[2]
            assert re.search(rf"^\s*(?:(?:def|class) {last}\b|{last}: )", sources, re.M), f"{name} in: {line}"
            named += 1
    assert named


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_and_module_that_is_named_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / name).read_text()
    for target in re.findall(r"(?:^|`)make ([a-z][a-z_0-9-]*)", text, re.M):
        if re.search(rf"^{target}:", makefile, re.M) is None:
            assert target.startswith("bench-"), f"{name} names make {target}"
            assert (ROOT / "bench" / f"{target.removeprefix('bench-')}.py").is_file(), f"{name} names make {target}"
    for module in re.findall(r"python -m ((?:bench|governance|tests)[\w.]+)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), f"{name} names {module}"


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name} links {link}"
        assert not anchor or anchor in anchors(target), f"{name} links {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name.partition("-")[0]) for path in DECISIONS]
    assert numbers == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name.partition("-")[0])
def test_a_decision_has_its_number_its_state_and_its_successor(page: Path) -> None:
    number = page.name.partition("-")[0]
    first, empty, second, *_ = page.read_text().splitlines()
    assert first.startswith(f"# {number}. ")
    assert not empty
    assert re.match("in force|replaced by|withdrawn|not used", state(page)), f"{page.name}: {state(page)}"
    for other in re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", second):
        answer = (page.parent / other).read_text().splitlines()[2]
        assert page.name in answer, f"{page.name} and {other} must name each other in their second lines"
