#!/usr/bin/env bash
# mlcroissant 1.1.1: a Parquet file under its registered media type is described, and its rows cannot be read.
#
# IANA registers application/vnd.apache.parquet for Parquet (2024). A Croissant file whose file object has that
# `encodingFormat` loads without an error about it; iterating a record set of it fails, because the reader knows
# `application/x-parquet` alone. Expected: the registered name works, or loading says that it does not. Seen on 2026-11-28
# with Python 3.11. It matters to whoever publishes a dataset and checks that it loads: the fault shows at its users.
# Output:
#     application/x-parquet: loaded, 2 rows
#     application/vnd.apache.parquet: loaded, GenerationError when iterated
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'mlcroissant==1.1.1' pyarrow pandas
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' 2> "$folder/log"
import hashlib
import json
from pathlib import Path

import mlcroissant as mlc
import pandas as pd
from mlcroissant import GenerationError

pd.DataFrame({"text": ["a", "b"]}).to_parquet("rows.parquet")
sha = hashlib.sha256(Path("rows.parquet").read_bytes()).hexdigest()
cr = "http://mlcommons.org/croissant/"
context = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": cr,
    "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo", "recordSet": "cr:recordSet", "field": "cr:field",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "source": "cr:source", "extract": "cr:extract",
    "column": "cr:column", "fileObject": "cr:fileObject",
}


def tried(kind: str) -> str:
    source = {"fileObject": {"@id": "rows"}, "extract": {"column": "text"}}
    field = {"@type": "cr:Field", "@id": "r/text", "name": "text", "dataType": "sc:Text", "source": source}
    file = {"@type": "cr:FileObject", "@id": "rows", "name": "rows", "contentUrl": "rows.parquet", "sha256": sha}
    document = {
        "@context": context, "@type": "sc:Dataset", "name": "d", "description": "d", "conformsTo": f"{cr}1.0",
        "url": "https://example.com", "license": "MIT", "datePublished": "2026-01-01", "version": "1.0.0",
        "creator": {"@type": "Person", "name": "n"}, "citeAs": "n",
        "distribution": [{**file, "encodingFormat": kind}],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "r", "name": "r", "field": [field]}],
    }
    Path("croissant.json").write_text(json.dumps(document))
    dataset = mlc.Dataset(jsonld="croissant.json")
    try:
        return f"loaded, {len(list(dataset.records('r')))} rows"
    except GenerationError:
        return "loaded, GenerationError when iterated"


old, registered = tried("application/x-parquet"), tried("application/vnd.apache.parquet")
print(f"application/x-parquet: {old}\napplication/vnd.apache.parquet: {registered}")
assert (old, registered) == ("loaded, 2 rows", "loaded, GenerationError when iterated"), "the behaviour has changed"
print("as stated")
PYTHON
