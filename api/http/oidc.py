"""OpenID Connect: the way to the provider and back for pages (authorization code with PKCE), and tokens of programs.

Signatures are checked with the provider's published keys, by algorithms that a setting lists; none of them has a shared
secret, and a key is used only for the algorithms of its kind. What a browser must bring back is in a sealed cookie, so
that any API process can take it.
"""

import hashlib
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from core.errors import BusyError, UnauthenticatedError
from core.settings_access import OidcSettings
from governance.access.group_rights import GroupRights
from governance.access.passwords import seal, unseal

WAY: Final = "oidc"  # purpose of the sealed cookie
WITHIN: Final = timedelta(minutes=10)  # of the way to the provider and back
KEYS_S: Final = 300.0  # the provider's keys are read again after this time
AGAIN_S: Final = 10.0  # and for an unknown key, or after a failure, at most this often
TIMEOUT_S: Final = 5.0
MAX_TOKEN: Final = 16_000  # characters
_PARTS: Final = 3  # of a JWT


class ProviderDownError(BusyError):
    code = "provider_down"


class BadTokenError(UnauthenticatedError):
    """Why a token is refused; never with its content."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the token is not valid: {reason}; get a new one from your provider")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a browser is sent, and what it brings back in a cookie."""

    url: str
    cookie: str


class Provider:
    """The provider of an installation; its metadata and keys are kept for a time. Used by several threads."""

    def __init__(self, settings: OidcSettings, key: bytes) -> None:
        assert settings.issuer is not None
        self.settings, self.issuer = settings, settings.issuer
        self.rights = GroupRights.read(dict(settings.roles), dict(settings.models))
        self._key, self._lock = key, threading.Lock()
        self._metadata: Mapping[str, Any] | None = None
        self._keys: Any = None
        self._read_at = self._tried_at = float("-inf")

    def begin(self, back: str, target: str, now: datetime) -> Way:
        """Where to send a browser that wants to sign in.

        Args:
            back: address of this service to which the provider sends the browser.
            target: path of the page to show afterwards.

        Raises:
            ProviderDownError.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": back,
            "scope": self.settings.scopes, "state": state, "nonce": nonce, "code_challenge": challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        end = self._endpoint("authorization_endpoint")
        kept = {
            "state": state, "nonce": nonce, "verifier": verifier, "target": target, "back": back,
            "until": (now + WITHIN).isoformat(),
        }  # fmt: skip
        return Way(f"{end}{'&' if '?' in end else '?'}{urlencode(asked)}", seal(self._key, WAY, kept))

    def finish(self, cookie: str, query: Mapping[str, str], now: datetime) -> tuple[dict[str, Any], str]:
        """The claims of the person who comes back, and the path of the page to show.

        Raises:
            BadTokenError: the browser did not begin here, took too long, or the answer or the token is not right.
            ProviderDownError.
        """
        kept: dict[str, str] | None = unseal(self._key, WAY, cookie)
        if kept is None or now >= datetime.fromisoformat(kept["until"]):
            raise BadTokenError("this browser did not begin to sign in here, or took longer than 10 minutes")
        if not secrets.compare_digest(kept["state"].encode(), query.get("state", "").encode()):
            raise BadTokenError("the state is another one than was sent")
        if "iss" in query and query["iss"] != self.issuer:
            raise BadTokenError("the answer comes from another provider")
        if "error" in query or not query.get("code"):
            raise BadTokenError(f"the provider answered {query.get('error', 'without a code')[:60]!r}")
        sent = {
            "grant_type": "authorization_code", "code": query["code"], "redirect_uri": kept["back"],
            "client_id": self.settings.client_id, "code_verifier": kept["verifier"],
        }  # fmt: skip
        answer = self._post(self._endpoint("token_endpoint"), sent)
        claims = self.claims(str(answer.get("id_token", "")), self.settings.client_id, now)
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), kept["nonce"].encode()):
            raise BadTokenError("its nonce is another one than was sent")
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self.settings.client_id:
            raise BadTokenError("it was made for another party")
        return claims, kept["target"]

    def claims(self, token: str, audience: str, now: datetime) -> dict[str, Any]:
        """The claims of a token, verified.

        Raises:
            BadTokenError: its form, algorithm, signature, issuer, audience or time is not right.
            ProviderDownError: the provider's keys cannot be read.
        """
        from joserfc import jws, jwt
        from joserfc.errors import JoseError

        if len(token) > MAX_TOKEN or token.count(".") != _PARTS - 1 or not token.isascii():
            raise BadTokenError("it is no signed JWT")
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError) as error:
            raise BadTokenError("it is no signed JWT") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.settings.taken:
            raise BadTokenError(
                f"its algorithm is {str(algorithm)[:20]!r}, and {', '.join(self.settings.taken)} are taken"
            )
        keys = self._keys_with(kid, str(algorithm))
        try:
            found = jwt.decode(token, keys, algorithms=list(self.settings.taken)).claims
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise BadTokenError("its signature is not one of the provider's") from error
        self._check(found, audience, now)
        return dict(found)

    def groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The groups that a token names; the claim may be nested (`realm_access.roles`) or one text."""
        found: Any = claims.get(self.settings.groups_claim)
        if found is None:
            found = claims
            for part in self.settings.groups_claim.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(found, str):
            found = found.split()
        return frozenset(str(group) for group in found) if isinstance(found, list) else frozenset()

    def _check(self, claims: Mapping[str, Any], audience: str, now: datetime) -> None:
        leeway, at = self.settings.leeway_s, now.timestamp()
        if claims.get("iss") != self.issuer:
            raise BadTokenError("it was issued by another provider")
        audiences = claims.get("aud")
        audiences = audiences if isinstance(audiences, list) else [audiences]
        if audience not in audiences:
            raise BadTokenError("it was made for another audience")
        if not isinstance(claims.get("sub"), str) or not claims["sub"] or len(claims["sub"]) > 255:
            raise BadTokenError("it names nobody")
        times: dict[str, float] = {n: claims[n] for n in ("exp", "nbf", "iat") if claims.get(n) is not None}
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in times.values()):
            raise BadTokenError("one of its times is no number")
        if "exp" not in times or not at < times["exp"] + leeway:
            raise BadTokenError("it has expired")
        if any(not times[name] <= at + leeway for name in ("nbf", "iat") if name in times):
            raise BadTokenError("it is not valid yet; compare the clocks of both machines")

    def _keys_with(self, kid: Any, algorithm: str) -> Any:
        """The provider's keys for a token, read again if the token names one that is not known.

        Only keys of the algorithm's own kind, and none that is meant for something else.
        """
        from joserfc.jwk import KeySet

        kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

        def usable(keys: Any) -> list[Any]:
            return [
                key
                for key in keys.keys
                if key.key_type == kinds[algorithm[:2]]
                and (kid is None or key.kid == kid)
                and key.get("use") in (None, "sig")
                and key.get("alg") in (None, algorithm)
            ]

        keys = self._read_keys(renew=False)
        found = usable(keys) or usable(self._read_keys(renew=True))
        if not found:
            raise BadTokenError("its key is not one of the provider's")
        return KeySet(found)

    def _read_keys(self, *, renew: bool) -> Any:
        from joserfc.jwk import KeySet

        with self._lock:
            now = time.monotonic()
            fresh = self._keys is not None and now - self._read_at < KEYS_S
            if self._keys is not None and ((fresh and not renew) or now - self._tried_at < AGAIN_S):
                return self._keys
            self._tried_at = now
            try:
                document = self._get(self._endpoint("jwks_uri"))
                listed = [k for k in document["keys"] if isinstance(k, dict) and k.get("kty") in ("RSA", "EC", "OKP")]
                self._keys, self._read_at = KeySet.import_key_set({"keys": listed}), now
            except ProviderDownError:
                if self._keys is None:
                    raise
            except (KeyError, TypeError, ValueError) as error:
                raise ProviderDownError("the provider's keys cannot be read", retry_after_s=10) from error
            return self._keys

    def _endpoint(self, name: str) -> str:
        if self._metadata is None:
            found = self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise ProviderDownError(
                    f"setting oidc.issuer is {self.issuer!r}, and the provider there calls itself "
                    f"{str(found.get('issuer'))[:200]!r}; make them the same",
                    retry_after_s=10,
                )
            self._metadata = found
        end = self._metadata.get(name)
        if not isinstance(end, str) or not end.startswith(("https://", "http://")):
            raise ProviderDownError(f"the provider names no {name}", retry_after_s=10)
        return end

    def _get(self, url: str) -> dict[str, Any]:
        return self._ask("GET", url)

    def _post(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        secret = self.settings.client_secret
        auth = None if secret is None else (self.settings.client_id, secret.get_secret_value())
        return self._ask("POST", url, data=dict(form), auth=auth)

    def _ask(self, method: str, url: str, **sent: Any) -> dict[str, Any]:
        import httpx2

        try:
            with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as http:
                answer = http.request(method, url, headers={"Accept": "application/json"}, **sent)
            document = answer.json() if answer.status_code < 500 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise ProviderDownError(
                f"the sign-in provider does not answer ({type(error).__name__}); try again, or sign in with a password "
                "or a key", retry_after_s=10,
            ) from error  # fmt: skip
        if not isinstance(document, dict) or (answer.status_code >= 400 and method == "GET"):
            raise ProviderDownError(
                f"the sign-in provider answered {answer.status_code}; try again, or sign in with a password or a key",
                retry_after_s=10,
            )
        if answer.status_code >= 400:
            raise BadTokenError(f"the provider refused the code ({str(document.get('error', 'no reason'))[:60]})")
        return document


def provider_of(settings: OidcSettings, key: bytes) -> Provider | None:
    """
    Raises:
        InvalidError: a role or a model of the settings is none.
    """
    return None if settings.issuer is None else Provider(settings, key)
