"""`assay verifier`: the offline verifier as one file, for a machine without Assay."""

import ast
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Final

import typer

ENTRY: Final = "governance.verify.__main__"
OURS: Final = ("core", "governance", "rfc8785")
_HEAD: Final = '''#!/usr/bin/env python3
"""Verify an audit bundle of Assay on any machine:

    python verify_assay.py BUNDLE --key KEY [--against EARLIER] [--last-seen FILE]

It needs Python 3.11 or newer and the package `cryptography`, opens no connection, and writes nothing but the file that
--last-seen names. Exit codes: 0 it verifies, 1 it does not, 5 consistent but the signer is unknown (no --key).

Made by `assay verifier`. Below is the source of each module of the verifier, unchanged; the last lines run it.
Included: rfc8785 {rfc8785} (Apache License 2.0, Trail of Bits and Andrew Rundgren).
"""

import importlib.abc
import importlib.util
import sys

PACKAGES = {packages!r}
MODULES = {{}}
'''
_TAIL: Final = '''

class _Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules above, before any that may be installed."""

    def find_spec(self, name, path=None, target=None):
        if name not in MODULES:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name in PACKAGES)

    def exec_module(self, module):
        name = module.__spec__.name
        exec(compile(MODULES[name], f"{__file__}:{name}", "exec"), module.__dict__)


if __name__ == "__main__":
    sys.meta_path.insert(0, _Sources())
    from governance.verify.__main__ import main

    sys.exit(main())
'''


def verifier() -> None:
    """Print the offline verifier as one Python file: `assay verifier > verify_assay.py`."""
    typer.echo(single_file(), nl=False)


def single_file() -> str:
    """The text of the file: the verifier's modules and all of ours that they import, by the order of their names."""
    found: dict[str, Path] = {}
    _add(ENTRY, found)
    packages = tuple(sorted(name for name, path in found.items() if path.name == "__init__.py"))
    parts = [_HEAD.format(rfc8785=importlib.metadata.version("rfc8785"), packages=packages)]
    for name, path in sorted(found.items()):
        source = path.read_text("utf-8")
        quoted = repr(source) if "'''" in source or source.endswith("\\") else f"r'''{source}'''"
        parts.append(f"\nMODULES[{name!r}] = {quoted}\n")
    return "".join(parts) + _TAIL


def _add(name: str, found: dict[str, Path]) -> None:
    """Add a module, the packages it lies in, and what they import."""
    if name in found or name.split(".", maxsplit=1)[0] not in OURS:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return  # a name in a module
    found[name] = path = Path(spec.origin)
    if "." in name:
        _add(name.rpartition(".")[0], found)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _add(alias.name, found)
        elif isinstance(node, ast.ImportFrom):
            of = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
            _add(of, found)
            for alias in node.names:
                if found.get(of, Path()).name == "__init__.py":
                    _add(f"{of}.{alias.name}", found)
