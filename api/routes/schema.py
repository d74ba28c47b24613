"""The JSON Schema of a spec. The route is public: an editor sends no key, and the schema says nothing of this site."""

from typing import Any

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1/schema", tags=["models"])


@router.get("/spec", response_model=None)
def spec() -> dict[str, Any]:
    """The JSON Schema of a spec."""
    from api.spec_reference.json_schema import spec_schema

    return spec_schema()
