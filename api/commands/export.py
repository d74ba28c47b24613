"""`assay export`: the provenance of a model for other tools, written to a file or printed."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import console

app = typer.Typer(no_args_is_help=True)
Version = Annotated[str | None, typer.Option(help="version; by default the champion")]
Part = Annotated[str | None, typer.Option("--version", help="only what this version was made from")]
To = Annotated[Path | None, typer.Option("--output", "-o", help="file to write; without it, it is printed")]


def _export(model: str, form: str, to: Path | None, **params: str | None) -> None:
    given = {name: value for name, value in params.items() if value is not None}
    content = client().send("GET", f"{model_path(model)}/exports/{form}", params=given).content
    if to is None:
        sys.stdout.buffer.write(content)
        return
    to.write_bytes(content)
    console.print(f"{to}: {form} of {model}, {len(content)} bytes", markup=False, soft_wrap=True)


@app.command()
def openlineage(model: ModelName, version: Part = None, to: To = None) -> None:
    """OpenLineage run events, one a line: curation, training, evaluation, promotion, reporting."""
    _export(model, "openlineage", to, version=version)


@app.command()
def prov(
    model: ModelName, version: Part = None, to: To = None,
    notation: Annotated[bool, typer.Option("--notation", help="PROV-N, for people, instead of PROV-JSON")] = False,
) -> None:  # fmt: skip
    """W3C PROV: entities, activities and agents."""
    _export(model, "prov-n" if notation else "prov", to, version=version)


@app.command()
def croissant(
    model: ModelName, dataset: Annotated[str, typer.Argument(help="name or digest of the dataset")], to: To = None
) -> None:
    """MLCommons Croissant of one dataset, with its responsible-AI fields; no rows."""
    _export(model, "croissant", to, dataset=dataset)


@app.command()
def mlbom(model: ModelName, version: Version = None, to: To = None) -> None:
    """CycloneDX ML-BOM of a version: model card, base, data, software, licences."""
    _export(model, "mlbom", to, version=version)


@app.command("model-signature")
def model_signature(
    model: ModelName, version: Version = None, to: To = None,
    key: Annotated[Path | None, typer.Option(help="file for the public key that checks it")] = None,
) -> None:  # fmt: skip
    """OpenSSF signature of an adapter's files; check with `model_signing verify key FOLDER`."""
    if key is not None:
        _export(model, "model-signature-key", key)
    _export(model, "model-signature", to, version=version)
