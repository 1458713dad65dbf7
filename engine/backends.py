"""Which backend stands behind each port, and what is checked and said about it. Part of the bootstrap, like it allowed to
know every adapter; the database comes from there as `Tables`."""
from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engine import prompts
from engine.adapters import google_client
from engine.adapters.gemini import Gemini
from engine.adapters.gemini_embeddings import GeminiEmbeddings
from engine.adapters.minilm import MiniLM
from engine.adapters.pinecone_index import PineconeIndex
from engine.background import Background
from engine.breaker import Breaker
from engine.domain import Department, Exemplar, Neighbour, Ticket
from engine.entrance import IdentityProvider
from engine.guarded import CountedIndex, GuardedEmbedder, GuardedIndex, GuardedLanguageModel, Services
from engine.health import NOT_CONFIGURED, Check, Report
from engine.lease import Lease, NoLease
from engine.ports import DecisionLog, Embedder, ExemplarIndex, ExemplarStore, LanguageModel, ModelStore, Prompt
from engine.privacy import masked
from engine.reembed import BATCH
from engine.reindex import CheckedIndex, Notes, Reindexer
from engine.resilience import Limits
from engine.settings import Settings
from engine.state import RoutingState

# What an operator reads beside a service that is away.
CONSEQUENCES = {
    "replica": "Charts come from the primary database, which has more to do; no figure is missing.",
    "database": "New tickets are kept on this machine, where its disk has room, and routed when it is back; pages show no figures.",
    "cache": "Repeated tickets are routed anew, which takes longer; request limits are not counted, those of sign-in are.",
    "index": "The copy in Postgres answers; nothing is lost.",
    "embedder": "Only the words of a ticket decide, not its meaning: more tickets are left to people.",
    "language_model": "Doubtful tickets are left to people instead of being asked about.",
    "worker": "Labels count at once, but nothing is fitted anew; missing vectors and changes for the remote index wait. Start `python -m engine worker`.",
    "spool": "While the database is away, tickets are not accepted on this machine.",
    "model": "Every ticket goes to triage until something was learned.",
}
EMBEDDED_INDEX = "No similar tickets are found: only the learned router decides."
NO_LANGUAGE_MODEL = "Doubtful tickets are left to people: GOOGLE_API_KEY is not set."
LANGUAGE_MODEL = Limits(attempts=3, first_wait=0.2, longest_wait=2.0, seconds=60.0, at_once=8, silence=5.0)
# A search in Postgres takes milliseconds: a slower one elsewhere is worse than none.
REMOTE_INDEX = Limits(attempts=2, first_wait=0.05, longest_wait=0.2, seconds=1.5, at_once=16)
REMOTE_EMBEDDER = Limits(attempts=2, first_wait=0.1, longest_wait=0.5, seconds=2.5, at_once=8)


class Exemplars(ExemplarStore, ExemplarIndex, Protocol):
    """The exemplars in Postgres, which are written, searched, and looked up for another index."""

    def active(self, ids: Sequence[int]) -> dict[int, Exemplar]: ...


class Tables(Protocol):
    """What backends need of the database; `db.storage.Storage` is one. Whatever asks the database raises ServiceUnavailable."""

    models: ModelStore

    def exemplars(self, embedder: Embedder) -> Exemplars: ...

    def outbox(self, embedder: Embedder, place: str) -> Notes: ...

    def close_outbox(self) -> None: ...

    def left_in_outbox(self) -> int | None: ...

    def lease(self) -> Lease: ...

    def vectors_version(self, exemplars: Exemplars) -> str: ...


class OwnServers(Protocol):
    """The servers that the console has started itself."""

    def keep(self) -> bool: ...


def keeper(servers: OwnServers, log: DecisionLog) -> Background:
    """Starts those servers again when they have ended, killed for want of memory for example: nobody else would."""
    def look() -> None:
        if servers.keep():
            log.event("embedded_servers_started")

    return Background("embedded", look, log=log, interval=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedders:
    """`current` answers tickets; `wanted` is the one that the settings name, where its vectors are still being made.

    `complete` tells whether they are all there, with a model that was learned from them.
    """

    current: Embedder
    wanted: Embedder
    probe: Callable[[], str]
    complete: Callable[[], bool]


def leases(tables: Tables, embedder: Embedder, index: Index) -> Callable[[], Lease]:
    """What makes a ticket's lease: a connection where everything on its way is on this machine, else nothing to wait with."""
    local = isinstance(embedder, MiniLM) and index.remote is None
    return tables.lease if local else NoLease


def local_embedder(settings: Settings) -> MiniLM:
    """The embedder that needs nothing but this machine. Raises ConfigurationError when its files are not what they should be."""
    return MiniLM(model_path=settings.embedder_model_path, tokenizer_path=settings.embedder_tokenizer_path)


def embedders(settings: Settings, tables: Tables, services: Services) -> Embedders:
    """The embedder in use: the settings' one once a model was trained on its vectors, else the local one.

    The newest few exemplars may lack their vector and get it in the background: labels that come in all the time must not
    put the change off for ever.
    """
    local = local_embedder(settings)
    probe = lambda: f"{local.name}, {local.embed(['ping']).shape[1]} dimensions"  # noqa: E731
    if settings.google_api_key is None or not settings.gemini_embedding_model:
        return Embedders(current=local, wanted=local, probe=probe, complete=lambda: True)
    remote = GeminiEmbeddings(
        api_key=settings.google_api_key.get_secret_value(), model=settings.gemini_embedding_model, mask=masked,
        endpoint=settings.google_api_endpoint,
    )
    guarded = GuardedEmbedder(remote, services.service("embedder", limits=REMOTE_EMBEDDER))
    missing = tables.exemplars(remote).missing

    def complete() -> bool:
        return tables.models.live_number(embedder=remote.name) is not None and len(missing(limit=BATCH)) < BATCH

    return Embedders(current=guarded if complete() else local, wanted=guarded, probe=remote.ping, complete=complete)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Where neighbours come from. `copy` answers when `first` does not; without a remote index there is only `first`.

    `probe` asks the index itself and returns what it is.
    """

    first: ExemplarIndex
    probe: Callable[[], str]
    copy: ExemplarIndex | None = None
    remote: PineconeIndex | None = None
    reindexer: Reindexer | None = None
    notes: Notes | None = None


def index(
    settings: Settings, tables: Tables, exemplars: Exemplars, embedder: Embedder, *, services: Services, log: DecisionLog,
    live: Callable[[], Collection[str]], working: bool,
) -> Index:
    """Pinecone with Postgres behind it, or Postgres alone. `live` gives the departments that neighbours may have.

    Only a `working` process that is told so closes the outbox: one that merely lacks the key may stand beside others.
    """
    if settings.pinecone_api_key is None or settings.pinecone_off:
        if working and settings.pinecone_off:
            tables.close_outbox()
        elif working and (waiting := tables.left_in_outbox()) is not None:
            log.event("index_not_configured", waiting=waiting)
        counted = CountedIndex(exemplars, services.breaker("index", failures=sys.maxsize))
        return Index(first=counted, probe=lambda: tables.vectors_version(exemplars))
    remote = PineconeIndex(
        api_key=settings.pinecone_api_key.get_secret_value(), index=settings.pinecone_index, environment=settings.pinecone_env,
        dimensions=embedder.dimensions, embedder=embedder.name, host=settings.pinecone_host, departments=live,
    )
    place = f"{settings.pinecone_host or 'pinecone'}/{settings.pinecone_index}/{remote.namespace}"
    notes = tables.outbox(embedder, place)
    guarded = GuardedIndex(CheckedIndex(remote, active=exemplars.active), services.service("index", limits=REMOTE_INDEX))
    reindexer = Reindexer(notes=notes, index=remote, log=log)
    return Index(first=guarded, probe=remote.ping, copy=exemplars, remote=remote, reindexer=reindexer, notes=notes)


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
    service = services.service("language_model", limits=replace(LANGUAGE_MODEL, at_once=settings.gemini_at_once))
    return GuardedLanguageModel(gemini, service, deadline=services.deadline), gemini


def _prompt(ticket: Ticket, departments: Sequence[Department], neighbours: Sequence[Neighbour]) -> Prompt:
    return prompts.build(ticket, departments=departments, neighbours=neighbours, mask=masked)


def replica_breaker(services: Services) -> Breaker:
    """While the replica says nothing, somebody who looks at charts may have to wait for it once in a minute."""
    return services.breaker("replica", failures=2, pause=4.0, longest=60.0)


def model_version(state: RoutingState) -> str:
    """Which model decides, or that none does."""
    if state.model is None:
        return "nothing learned yet: the triage department takes every ticket"
    return f"model {state.model.number}, {len(state.departments)} departments"


def checks(
    settings: Settings, *, database: Callable[[], str], replica: Callable[[], str] | None, cache: Callable[[], str], model: Callable[[], str],
    index: Index, embedders: Embedders, gemini: Gemini | None, notes: Callable[[], str], workers: Callable[[], str],
) -> Sequence[Check]:
    """One check for each service, in the order of the System page."""
    def check(service: str, configured: bool, probe: Callable[[], str], *, needed: bool = False, consequence: str = "") -> Check:
        mode = "configured" if configured else "embedded"
        return Check(service, mode, probe, needed=needed, consequence=consequence or CONSEQUENCES.get(service, ""))

    found = [check("database", settings.postgres_url is not None, database, needed=True)]
    if replica is not None:
        found.append(Check("replica", "configured", replica, needed=False, consequence=CONSEQUENCES["replica"], of_tickets=False))
    remote = index.remote is not None
    found += [
        check("cache", settings.redis_address is not None, cache),
        check("embedder", settings.gemini_embedding_model is not None, embedders.probe, needed=not settings.gemini_embedding_model),
        check("model", False, model, needed=True),
        check("index", remote, index.probe, consequence="" if remote else EMBEDDED_INDEX),
        check("language_model", True, gemini.ping) if gemini is not None
        else Check("language_model", NOT_CONFIGURED, None, needed=False, consequence=NO_LANGUAGE_MODEL),
        check("spool", False, notes),
    ]
    if settings.background_work == "worker":
        found.append(Check("worker", "configured", workers, needed=False, consequence=CONSEQUENCES["worker"], of_tickets=False))
    return found


def tell_of(report: Report, log: DecisionLog) -> None:
    """Write down at the start what nobody would notice before it is needed."""
    if not report.ok:
        log.event("service_unavailable", service=report.service, reason=report.detail)


def identity_provider(settings: Settings) -> IdentityProvider | None:
    """The configured OpenID Connect provider; nothing is asked of it before somebody signs in."""
    if settings.oidc_issuer is None or settings.oidc_client_secret is None or settings.public_url is None:
        return None
    from engine.adapters.oidc import OpenIdProvider

    return OpenIdProvider(
        issuer=settings.oidc_issuer, client_id=settings.oidc_client_id or "", client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect=f"{settings.public_url.rstrip('/')}/auth/oidc/callback",
    )
