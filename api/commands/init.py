"""`assay init` and `assay schema`: begin a spec, and let an editor check it."""

from api.commands.output import emit_json


def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from api.spec_reference.json_schema import spec_schema

    emit_json(spec_schema())
