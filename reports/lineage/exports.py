"""The exports of a model's provenance, each by its name: what makes it, its media type and file name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from core.errors import InvalidError, NotFoundError
from monitor.site import Site
from monitor.store import model as model_named
from reports.lineage.graph import Graph, graph_of
from retrain import store
from retrain.registry.champion import champion_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants exported."""

    site: Site
    db: Session
    model: str
    version: str | None  # by default the champion
    dataset: str | None

    @property
    def chosen(self) -> str:
        return self.version or champion_of(self.site, self.db, self.model).version

    def graph(self) -> Graph:
        """All of the model's, or what one version was made from."""
        whole = graph_of(self.db, model_named(self.db, self.model))
        return whole if self.version is None else whole.around(f"version:{self.version}", up=True, down=False)


@dataclass(frozen=True, slots=True)
class Export:
    name: str
    media_type: str
    suffix: str
    about: str
    make: Callable[[Asked], bytes]


def _openlineage(asked: Asked) -> bytes:
    from reports.lineage.openlineage_events import lines  # the client takes most of a second to import

    return b"".join(lines(asked.graph(), asked.site.keys.signing.name))


def _prov(asked: Asked) -> bytes:
    from reports.lineage.prov_documents import prov_json

    return prov_json(asked.graph())


def _prov_n(asked: Asked) -> bytes:
    from reports.lineage.prov_documents import prov_n

    return prov_n(asked.graph())


def _croissant(asked: Asked) -> bytes:
    from reports.lineage.croissant import croissant_of

    if asked.dataset is None:
        raise InvalidError("dataset is missing; give the name or digest of a dataset of the model", field="dataset")
    return croissant_of(asked.site, asked.db, asked.model, asked.dataset)


def _mlbom(asked: Asked) -> bytes:
    from reports.lineage.mlbom import mlbom_bytes

    return mlbom_bytes(asked.site, asked.db, asked.model, asked.chosen)


def _signature(asked: Asked) -> bytes:
    from reports.lineage.model_signature import signature_of, signing_key

    row = store.version(asked.db, model_named(asked.db, asked.model).id, asked.chosen, asked.model)
    if row.adapter is None:
        raise NotFoundError(
            f"version {row.version} of {asked.model} is its base model; it has no adapter to sign", version=row.version
        )
    folder = asked.site.artifacts.check_folder(row.adapter)
    return signature_of(folder, f"{asked.model}-{row.version}", signing_key(asked.site.settings.home_dir))


def _signature_key(asked: Asked) -> bytes:
    from reports.lineage.model_signature import public_pem, signing_key

    return public_pem(signing_key(asked.site.settings.home_dir))


EXPORTS: Final[Mapping[str, Export]] = {
    e.name: e
    for e in (
        Export("openlineage", "application/x-ndjson", "jsonl", "OpenLineage run events, one a line", _openlineage),
        Export("prov", "application/json", "prov.json", "W3C PROV-JSON", _prov),
        Export("prov-n", "text/provenance-notation; charset=utf-8", "provn", "W3C PROV-N", _prov_n),
        Export("croissant", "application/ld+json", "croissant.json", "Croissant 1.0 of one dataset", _croissant),
        Export("mlbom", "application/vnd.cyclonedx+json; version=1.6", "cdx.json", "CycloneDX ML-BOM 1.6", _mlbom),
        Export("model-signature", "application/json", "sig", "OpenSSF signature of the adapter's files", _signature),
        Export(
            "model-signature-key", "application/x-pem-file", "pub", "public key of those signatures", _signature_key
        ),
    )
}
