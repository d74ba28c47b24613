"""Settings of how people sign in: passwords, lock-outs, and the provider that an organisation has for its people."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from core.settings_train import listed

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def mapped(value: Any) -> Any:
    """Pairs written as `a=b, c=d` in one variable."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not sep or not left.strip() or not right.strip() for left, sep, right in pairs):
        raise ValueError("write it as GROUP=VALUE, GROUP=VALUE")
    return tuple((left.strip(), right.strip()) for left, _, right in pairs)


class AccessSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    failures: int = Field(
        10,
        ge=3,
        description="failed sign-ins of one account or with one client that lock it, ASSAY_ACCESS__LOCK_MINUTES",
    )
    lock_minutes: float = Field(
        15, gt=0, le=1440, description="for so long a locked account or client signs in with no password; minutes"
    )
    second_factor: bool = Field(True, description="whoever signs in with a password needs a code of an app as well")
    password_length: int = Field(12, ge=8, le=128, description="least length of a password, characters")


class OidcSettings(BaseModel):
    """The OpenID Connect provider of an organisation; without an issuer there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    issuer: str | None = Field(
        None, description="URL of the OpenID Connect provider through which people sign in; empty means none"
    )
    name: str = Field("your organisation", description="how the sign-in page calls the provider")
    client_id: str = Field("", description="what the provider calls this installation")
    client_secret: SecretStr | None = Field(None, description="the secret for it; empty for a public client")
    base_url: str | None = Field(
        None, description="address of this service as browsers see it, for the way back from the provider; empty means "
        "ASSAY_NOTIFY__BASE_URL, or where it listens"
    )  # fmt: skip
    scopes: str = Field("openid profile email", description="what the provider is asked for")
    audience: str | None = Field(
        None, description="audience of the tokens that programs send as `Bearer`; empty: such tokens are refused"
    )
    groups_claim: str = Field("groups", description="claim of a token that lists a person's groups")
    roles: Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(mapped)] = Field(
        (),
        description="role by group, such as `ml-team=operator, audit=compliance`; the first that fits counts; empty: "
        "an admin declares each person in Assay",
    )
    models: Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(mapped)] = Field(
        (),
        description="models by group, such as `credit=loans|cards, audit=*`; empty: all models of whoever has a role",
    )
    algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(listed)] = Field(
        (),
        description="signatures of tokens that are taken, such as `RS256, PS256`; none with a shared secret can be "
        "named; empty means RS256 and ES256",
    )
    leeway_s: float = Field(30, ge=0, le=300, description="how far the provider's clock may be off, seconds")

    @property
    def taken(self) -> tuple[str, ...]:
        """Algorithms whose signatures are taken."""
        return self.algorithms or ("RS256", "ES256")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.issuer is None:
            return self
        local = self.issuer.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]"))
        if not self.issuer.startswith("https://") and not local:
            raise ValueError("issuer must begin with https:// (http only for one on this machine)")
        if not self.client_id:
            raise ValueError("client_id is empty; give what the provider calls this installation")
        if "openid" not in self.scopes.split():
            raise ValueError("scopes must contain openid")
        return self
