"""Which backend stands behind each port, and what is checked and said about it. Part of the bootstrap, like it allowed to
know every adapter."""
from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine as Database
from sqlalchemy import text

from db import migrate, outbox
from db.exemplars import Exemplars
from db.lease import ConnectionLease
from db.outbox import Outbox
from db.session import reading
from db.trained import TrainedModels
from engine import prompts
from engine.adapters import google_client
from engine.adapters.gemini import Gemini
from engine.adapters.gemini_embeddings import GeminiEmbeddings
from engine.adapters.minilm import MiniLM
from engine.adapters.pinecone_index import PineconeIndex
from engine.domain import Department, Neighbour, Ticket
from engine.entrance import IdentityProvider
from engine.guarded import CountedIndex, GuardedEmbedder, GuardedIndex, GuardedLanguageModel, Services
from engine.health import Check
from engine.lease import Lease, NoLease
from engine.ports import DecisionLog, Embedder, ExemplarIndex, LanguageModel, Prompt
from engine.privacy import masked
from engine.reembed import BATCH
from engine.reindex import CheckedIndex, Reindexer
from engine.resilience import Limits
from engine.settings import Settings
from engine.state import RoutingState

# What an operator reads beside a service that is away.
CONSEQUENCES = {
    "database": "New tickets are kept on this machine and routed when it is back; pages show no figures.",
    "cache": "Repeated tickets are routed anew, which takes longer; sign-in and limits go on.",
    "index": "The copy in Postgres answers; nothing is lost.",
    "embedder": "Only the words of a ticket decide, not its meaning: more tickets are left to people.",
    "language_model": "Doubtful tickets are left to people instead of being asked about.",
    "model": "Every ticket goes to triage until something was learned.",
}
LANGUAGE_MODEL = Limits(attempts=3, first_wait=0.2, longest_wait=2.0, seconds=60.0, at_once=8)
# A search in Postgres takes milliseconds: a slower one elsewhere is worse than none.
REMOTE_INDEX = Limits(attempts=2, first_wait=0.05, longest_wait=0.2, seconds=1.5, at_once=16)
REMOTE_EMBEDDER = Limits(attempts=2, first_wait=0.1, longest_wait=0.5, seconds=2.5, at_once=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedders:
    """`current` answers tickets; `wanted` is the one that the settings name, where its vectors are still being made."""

    current: Embedder
    wanted: Embedder
    probe: Callable[[], str]


def leases(database: Database, embedder: Embedder, index: Index) -> Callable[[], Lease]:
    """What makes a ticket's lease: a connection where everything on its way is on this machine, else nothing to wait with."""
    local = isinstance(embedder, MiniLM) and index.remote is None
    return (lambda: ConnectionLease(database)) if local else NoLease


def local_embedder(settings: Settings) -> MiniLM:
    """The embedder that needs nothing but this machine. Raises ConfigurationError when its files are not what they should be."""
    return MiniLM(model_path=settings.embedder_model_path, tokenizer_path=settings.embedder_tokenizer_path)


def embedders(settings: Settings, database: Database, services: Services) -> Embedders:
    """The embedder in use: the settings' one once a model was trained on its vectors, else the local one.

    The newest few exemplars may lack their vector and get it in the background: labels that come in all the time must not
    put the change off for ever.
    """
    local = local_embedder(settings)
    probe = lambda: f"{local.name}, {local.embed(['ping']).shape[1]} dimensions"  # noqa: E731
    if settings.google_api_key is None or not settings.gemini_embedding_model:
        return Embedders(current=local, wanted=local, probe=probe)
    remote = GeminiEmbeddings(
        api_key=settings.google_api_key.get_secret_value(), model=settings.gemini_embedding_model, mask=masked,
        endpoint=settings.google_api_endpoint,
    )
    guarded = GuardedEmbedder(remote, services.service("embedder", limits=REMOTE_EMBEDDER))
    vectors = Exemplars(database, embedder=remote.name, dimensions=remote.dimensions)
    complete = TrainedModels(database).live_number(embedder=remote.name) is not None and len(vectors.missing(limit=BATCH)) < BATCH
    return Embedders(current=guarded if complete else local, wanted=guarded, probe=remote.ping)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Where neighbours come from. `copy` answers when `first` does not; without a remote index there is only `first`."""

    first: ExemplarIndex
    copy: ExemplarIndex | None = None
    remote: PineconeIndex | None = None
    reindexer: Reindexer | None = None
    notes: Outbox | None = None


def index(
    settings: Settings, database: Database, exemplars: Exemplars, embedder: Embedder, *, services: Services, log: DecisionLog,
    live: Callable[[], Collection[str]],
) -> Index:
    """Pinecone with Postgres behind it, or Postgres alone. `live` gives the departments that neighbours may have."""
    if settings.pinecone_api_key is None:
        outbox.close_all(database)
        return Index(first=CountedIndex(exemplars, services.breaker("index", failures=sys.maxsize)))
    remote = PineconeIndex(
        api_key=settings.pinecone_api_key.get_secret_value(), index=settings.pinecone_index, environment=settings.pinecone_env,
        dimensions=embedder.dimensions, embedder=embedder.name, host=settings.pinecone_host, departments=live,
    )
    notes = Outbox(database, embedder=embedder.name)
    if notes.open(f"{settings.pinecone_host or 'pinecone'}/{settings.pinecone_index}/{remote.namespace}"):
        notes.note_all()
    guarded = GuardedIndex(CheckedIndex(remote, active=exemplars.active), services.service("index", limits=REMOTE_INDEX))
    reindexer = Reindexer(notes=notes, index=remote, log=log)
    return Index(first=guarded, copy=exemplars, remote=remote, reindexer=reindexer, notes=notes)


def language_model(settings: Settings, services: Services) -> tuple[LanguageModel, Gemini] | tuple[None, None]:
    """Gemini behind its guard and as it is, or nothing."""
    if settings.google_api_key is None:
        return None, None
    gemini = Gemini(
        api_key=settings.google_api_key.get_secret_value(), model=settings.gemini_model, prompt=_prompt,
        reason=prompts.reason, endpoint=settings.google_api_endpoint, input_price=settings.gemini_input_price, output_price=settings.gemini_output_price,
    )
    # The import takes seconds that no ticket should wait for.
    threading.Thread(target=google_client.load, name="gemini-import", daemon=True).start()
    limits = Limits(
        attempts=LANGUAGE_MODEL.attempts, first_wait=LANGUAGE_MODEL.first_wait, longest_wait=LANGUAGE_MODEL.longest_wait,
        seconds=LANGUAGE_MODEL.seconds, at_once=settings.gemini_at_once,
    )
    service = services.service("language_model", limits=limits)
    return GuardedLanguageModel(gemini, service, deadline=services.deadline), gemini


def _prompt(ticket: Ticket, departments: Sequence[Department], neighbours: Sequence[Neighbour]) -> Prompt:
    return prompts.build(ticket, departments=departments, neighbours=neighbours, mask=masked)


def database_version(database: Database) -> str:
    """What answers, and which schema it holds. Raises ServiceUnavailable."""
    with reading(database) as connection:
        version = connection.execute(text("select split_part(version(), ' ', 2)")).scalar_one()
        return f"PostgreSQL {version}, schema {migrate.current(database)}"


def model_version(state: RoutingState) -> str:
    """Which model decides, or that none does."""
    if state.model is None:
        return "nothing learned yet: the triage department takes every ticket"
    return f"model {state.model.number}, {len(state.departments)} departments"


def checks(
    settings: Settings, *, database: Callable[[], str], cache: Callable[[], str], model: Callable[[], str], index: Index,  # noqa: A002
    embedders: Embedders, gemini: Gemini | None, notes: Callable[[], str],
) -> Sequence[Check]:
    """One check for each service, in the order of the System page."""
    def check(service: str, configured: bool, probe: Callable[[], str], *, needed: bool = False) -> Check:
        mode = "configured" if configured else "embedded"
        return Check(service, mode, probe, needed=needed, consequence=CONSEQUENCES.get(service, ""))

    found = [
        check("database", settings.postgres_url is not None, database, needed=True),
        check("cache", settings.redis_address is not None, cache),
        check("embedder", settings.gemini_embedding_model is not None, embedders.probe, needed=not settings.gemini_embedding_model),
        check("model", False, model, needed=True),
    ]
    if index.remote is not None:
        found.append(check("index", True, index.remote.ping))
    if gemini is not None:
        found.append(check("language_model", True, gemini.ping))
    found.append(check("spool", False, notes))
    return found


def identity_provider(settings: Settings) -> IdentityProvider | None:
    """The configured OpenID Connect provider; nothing is asked of it before somebody signs in."""
    if settings.oidc_issuer is None or settings.oidc_client_secret is None or settings.public_url is None:
        return None
    from engine.adapters.oidc import OpenIdProvider

    return OpenIdProvider(
        issuer=settings.oidc_issuer, client_id=settings.oidc_client_id or "", client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect=f"{settings.public_url.rstrip('/')}/auth/oidc/callback",
    )
