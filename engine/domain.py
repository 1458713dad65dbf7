"""The nouns of routing: frozen, validated where they are made, without any outside import."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from engine.errors import InvariantBroken


class Method(StrEnum):
    """How a decision came about."""

    CACHED = "cached"
    LEARNED = "learned"
    RAG_LLM = "rag_llm"
    FALLBACK = "fallback"


class Automation(StrEnum):
    """What happens with a decision: straight to the queue, one click to confirm, or a choice of three."""

    AUTO = "auto"
    PRESELECT = "preselect"
    SUGGEST = "suggest"


class Channel(StrEnum):
    """Where a ticket came in."""

    PHONE = "phone"
    EMAIL = "email"
    CHAT = "chat"
    WEB = "web"
    SOCIAL = "social"
    OTHER = "other"


class Priority(StrEnum):
    """How urgent the customer or the agent says it is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Origin(StrEnum):
    """Which door a ticket came through; `demo` tickets never mix with real ones."""

    CONSOLE = "console"
    IMPORT = "import"
    API = "api"
    COMMAND = "command"
    DEMO = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketDraft:
    """What somebody typed or sent, before any check. `engine.sanitize.admit` turns it into a Ticket."""

    body: str
    subject: str = ""
    channel: str = Channel.WEB
    customer_ref: str = ""
    priority: str = Priority.NORMAL
    ticket_id: str = ""
    created_by: str = ""
    origin: Origin = Origin.CONSOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An accepted ticket: plain text within the limits, never markup. `created_at` is timezone-aware."""

    id: str
    subject: str
    body: str
    channel: Channel
    customer_ref: str
    priority: Priority
    created_at: datetime
    created_by: str = ""
    origin: Origin = Origin.CONSOLE

    @property
    def text(self) -> str:
        """Subject and body as one text, which is what is embedded and classified."""
        return f"{self.subject}\n{self.body}" if self.subject else self.body

    def repeats(self, earlier: Ticket) -> bool:
        """Whether this is an earlier ticket with its id, handed in once more: it says the same of the same customer, or the earlier one's
        text was removed since.
        """
        same = (self.subject, self.body, self.customer_ref) == (earlier.subject, earlier.body, earlier.customer_ref)
        return self.id == earlier.id and (same or not earlier.body)


@dataclass(frozen=True, slots=True)
class Department:
    """Where a ticket can go. `triage` marks the one that takes every ticket while nothing is learned."""

    name: str
    purpose: str
    triage: bool = False
    live: bool = True


@dataclass(frozen=True, slots=True)
class Topic:
    """An optional finer label under a department."""

    name: str
    department: str
    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """A labelled ticket for retrieval and learning; `source` is seed, confirmed, corrected or imported. `weight` is the inverse
    of its review rate, 0.0 where chance did not choose it. `method` had answered `answered` with `raw_score`; empty: never."""
    text: str
    department: str
    topic: str = ""
    source: str = "seed"
    ticket_id: str = ""
    id: int = 0
    weight: float = 0.0
    method: str = ""
    answered: str = ""
    raw_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exemplar near a ticket. `similarity` is the cosine in [-1, 1], higher is nearer."""

    exemplar_id: int
    department: str
    topic: str
    similarity: float
    text: str = ""
    source: str = "seed"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A department with the calibrated probability in [0, 1] that it is the right one."""

    department: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a ticket goes and why. Append-only: an overrule or an outcome stands beside it, never in its place.

    raw_score     what the method computed, on the method's own scale
    confidence    calibrated probability in [0, 1] that the department is right
    source        what answered, for example `ticket:T-…`, `exemplar:12` or `model:7`
    reason        one sentence for the agent
    alternatives  the top three departments, the decided one first
    evidence      the nearest exemplars, nearest first
    timings       milliseconds per stage, and `total`
    versions      policy, model, taxonomy, embedder (and prompt) that decided
    degraded_by   the services that should have been asked and did not answer
    gated_by      why a confident answer was not routed automatically, empty when it was not held back
    audit_department    what the learned router said about an audited cache hit, None when the hit was not audited
    review_wanted, review_probability   whether sampling put it in the review queue, and with which probability in (0, 1]
    """

    ticket_id: str
    department: str
    method: Method
    automation: Automation
    raw_score: float
    confidence: float
    source: str
    reason: str
    alternatives: tuple[Candidate, ...]
    created_at: datetime
    evidence: tuple[Neighbour, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    degraded_by: tuple[str, ...] = ()
    gated_by: str = ""
    topic: str = ""
    audit_department: str | None = None
    review_wanted: bool = True
    review_probability: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise InvariantBroken(f"confidence {self.confidence} of ticket {self.ticket_id} is outside [0, 1]")
        if self.created_at.tzinfo is None:
            raise InvariantBroken(f"decision of ticket {self.ticket_id} has a time without a time zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """An accepted ticket that waits for the database; `likely` was decided meanwhile, what counts is decided when it is stored."""

    ticket_id: str
    kept_at: datetime
    reason: str
    likely: Decision | None = None


class Stage(StrEnum):
    """The stages that a policy can switch on and off; the fallback is always on."""

    EXACT = "exact"
    SEMANTIC = "semantic"
    LEARNED = "learned"
    RAG_LLM = "rag_llm"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Automation thresholds on the calibrated confidence, both in [0, 1], `auto` strictly above `preselect`."""

    auto: float = 0.90
    preselect: float = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one department asks for in place of the policy's `confidence`, `accuracy` and `similarity`; None: as the policy."""

    confidence: float | None = None
    accuracy: float | None = None
    similarity: float | None = None


_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A numbered, immutable set of thresholds and switches. `engine.policy.checked` refuses nonsense.

    confidence   lowest calibrated confidence at which a stage may answer
    accuracy     lower bound of tracked accuracy under which a department x method is not answered automatically
    similarity   lowest cosine similarity of the nearest exemplar for a semantic hit
    neighbours   how many nearest exemplars must agree
    audit_rate   share of hits that also walk through the other stages
    review_rate  share of confident decisions that are put in the review queue
    deadline     seconds a ticket may take in total, language model included
    departments  thresholds of single departments: derived from the target, or entered where there is none
    limits       what single departments ask for in place of confidence, accuracy and similarity, beside a target too
    target_accuracy  wanted accuracy among automatically routed tickets, None for explicit thresholds
    """

    number: int = 1
    confidence: float = 0.85
    accuracy: float = 0.80
    similarity: float = 0.70
    neighbours: int = 5
    thresholds: Thresholds = Thresholds()
    departments: dict[str, Thresholds] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    stages: frozenset[Stage] = frozenset(Stage)
    audit_rate: float = 0.02
    review_rate: float = 0.20
    deadline: float = 8.0
    target_accuracy: float | None = None
    delta: float = 0.05

    def answers_at(self, department: str) -> float:
        """The lowest calibrated confidence at which a stage may answer with this department."""
        asked, own = self.limits_of(department).confidence, self.departments.get(department)
        return asked if asked is not None else own.preselect if own else self.confidence

    def accuracy_of(self, department: str) -> float:
        """The lower bound of tracked accuracy under which the department is not answered automatically."""
        asked = self.limits_of(department).accuracy
        return self.accuracy if asked is None else asked

    def similarity_of(self, department: str) -> float:
        """The lowest similarity of the nearest exemplar for a semantic hit that names the department."""
        asked = self.limits_of(department).similarity
        return self.similarity if asked is None else asked

    def within(self, departments: Collection[str]) -> Policy:
        """The policy without what it asks of departments that are not among these."""
        own, limits = ({name: asked for name, asked in by_name.items() if name in departments} for by_name in (self.departments, self.limits))
        return replace(self, departments=own, limits=limits)

    def limits_of(self, department: str) -> Limits:
        """The department's own limits, none of them set where it has none."""
        return self.limits.get(department, _NO_LIMITS)

    def thresholds_for(self, department: str) -> Thresholds:
        """The department's own thresholds, or the policy's."""
        return self.departments.get(department, self.thresholds)
