"""What is written to disk for a cell: complete, immutable, self-describing."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from benchmark.strict import Strict
from benchmark.utility_result import UtilityResult

SCHEMA: Literal[1] = 1
"""Raised when the meaning or the shape of a record changes; records of another version are not read."""

PROTOCOL = 3
"""Raised when measuring, choosing or stopping changes: older cells are then measured again."""

Status = Literal["ok", "declined", "failed", "diverged"]
Dtype = Literal["float32", "bfloat16", "float16"]
Setting = Literal["lab", "pretrained", "implanted"]
"""How the target model came to know what is to be forgotten: trained in the lab, where the reference is exact; in its own
pre-training, where the holdout set has to stand in; or by being taught it here, where the reference is exact again."""
Scalar = bool | int | float | str | None


class Protocol(Strict):
    """How cells are measured: part of what identifies a record."""

    budgets: tuple[float, ...] = (0.01, 0.05, 0.20)
    """Tolerated utility damage; the middle one is the headline."""
    max_steps: int = 400
    """A trajectory is cut here, whatever the method would still do."""
    growth: float = 1.5
    """Each measured step is at least this many times the one before it."""
    method_tokens: int = 131072
    """Most tokens of each kind of text that a method is given; documents to be forgotten are always given whole."""
    validation_tokens: int = 8192
    """Most tokens of each set that choosing looks at: the beginning of each of its documents alike."""
    test_tokens: int = 16384
    """Most tokens of each set that is reported on."""
    limit: int | None = None
    """Most documents of each half of each set, and most items of each lm-eval task; None for all."""
    utility: tuple[str, ...] = ()
    """lm-eval tasks that the target and the headline's operating points are evaluated on."""
    version: int = PROTOCOL

    @property
    def headline(self) -> float:
        """The utility budget that boards are ranked by."""
        return self.budgets[1]


class Spec(Strict):
    """Everything that decides a cell's numbers: the record's name is its hash."""

    task: str
    method: str
    """Registered name; `original` and `retrained` are the harness's own reference rows."""
    source: str
    """SHA-256 of the module that defines the method."""
    hyperparameters: dict[str, Scalar]
    seed: int
    """Of the method."""
    model: str
    """The last part of its name."""
    target_seed: int = 0
    """Of the target model's training, for a model that was trained several times."""
    model_fingerprint: str
    dtype: Dtype = "float32"
    """Of the model's weights while it is unlearned and measured."""
    setting: Setting
    data_fingerprint: str
    """Of the task's splits."""
    protocol: Protocol

    def key(self) -> str:
        """Sixteen hex digits of the SHA-256 over the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Documents(Strict):
    """One evaluation set measured document by document; lists run in parallel."""

    ids: tuple[str, ...]
    nll: tuple[float, ...]
    """Summed negative log-likelihood of each document's predicted tokens, nats."""
    correct: tuple[int, ...]
    """Predicted tokens that were the most likely one."""
    tokens: tuple[int, ...]
    """Predicted tokens."""

    @property
    def mean_nll(self) -> float:
        """Nats a token, over all tokens."""
        return sum(self.nll) / sum(self.tokens)

    @property
    def nll_each(self) -> tuple[float, ...]:
        """Nats a token, of each document."""
        return tuple(nll / tokens for nll, tokens in zip(self.nll, self.tokens, strict=True))

    @property
    def top1(self) -> float:
        """Next-token accuracy, over all tokens, in [0, 1]."""
        return sum(self.correct) / sum(self.tokens)


Measurement = dict[str, Documents]
"""A model on every evaluation set of one half (validation or test), by the set's name."""


class MetricValue(Strict):
    """What a metric of the panel gave for one model; the first two fields are named as OpenUnlearning names them."""

    agg_value: float | None
    """None where there is none; `reason` says why."""
    value_by_index: dict[str, dict[str, float]] = {}
    """What it is made of: by document, layer or step of an attack, and by name."""
    interval: tuple[float, float] | None = None
    """Bootstrap over documents; None where it is not to be had."""
    reason: str | None = None


Panel = dict[str, MetricValue]
"""A model on every metric that was asked for, by the metric's name."""


class Baseline(Strict):
    """What a cell is judged against: the target model and the reference on the same halves.

    `reference` is exact where the model was retrained without the forget set. It is `approximate` where the target's
    own behaviour on the holdout set stands in for it (Yao et al. 2024): then only its `forget` set is there. It is
    `none` where neither exists.
    """

    reference_kind: Literal["exact", "approximate", "none"]
    target_validation: Measurement
    target_test: Measurement
    reference_validation: Measurement
    reference_test: Measurement
    noise_floor: float | None
    """How far the forget NLL of two honest retrainings is apart, nats a token; None where it was not measured."""
    utility: dict[str, UtilityResult] | None = None
    """The target on each lm-eval task; None where none was asked for."""
    target_panel: Panel = {}
    """Metrics of the target."""
    reference_panel: Panel = {}
    """The same of the reference model; none where there is no such model."""
    text_panel: Panel = {}
    """Metrics of the evaluation text, which no model has to do with."""


class Cost(Strict):
    """What a phase cost, evaluation excluded."""

    forward_tokens: int = 0
    """Tokens run forward through the language model, padding included."""
    backward_tokens: int = 0
    """Tokens run backward through it."""
    flops: int = 0
    """Floating-point operations counted, a multiplication and an addition as two."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    """Bytes: resident set on a CPU, allocated memory on a GPU."""


class Step(Strict):
    """One measured step of a trajectory, on the validation half."""

    step: int
    nll: dict[str, float]
    """Mean token NLL by evaluation set."""
    top1: dict[str, float]
    damage: float
    """Utility damage, 0.05 for 5 %."""
    score: float | None
    """Forget score, None where there is no reference or no gap."""
    cost: Cost
    """Of unlearning, up to this step."""


class OperatingPoint(Strict):
    """The step with the best validation forget score inside one utility budget, measured on the test half."""

    budget: float
    step: int
    """0: the untouched target was best."""
    test: Measurement
    divergence: dict[str, float] | None
    """Jensen-Shannon distance to the reference by set, bits a token; None without a reference model and away from the headline."""
    parameters_changed: int
    cost: Cost
    utility: dict[str, UtilityResult] | None = None
    """By lm-eval task; None where none was asked for, and away from the headline budget."""
    panel: Panel | None = None
    """Metrics of the unlearned model; None away from the headline budget."""


class Environment(Strict):
    """Where a record was made. Not part of its identity."""

    time: str
    """UTC, ISO 8601."""
    version: str
    python: str
    packages: dict[str, str]
    platform: str
    processor: str
    device: str
    threads: int
    attention: str | None = None
    """The attention kernel that the model ran with; None where it was not loaded, and in records made before it was told."""


class TextOrigin(Strict):
    """Where a task's text is from, and whether the target model was trained on it before the run."""

    source: str
    membership: dict[str, str]
    """By evaluation set: known member, known non-member, presumed, unknown."""
    remarks: tuple[str, ...] = ()


class Requested(Strict):
    """What a removal request of the user's own gave, never its text; counts are by set: forget and, where given, retain and holdout."""

    forget_sha256: str
    """Of the forget set's files, one after the other in the order of their paths."""
    documents: dict[str, int]
    pieces: dict[str, int]
    """What the documents were cut into; the same where none was long."""
    characters: dict[str, int]
    piece_length: int
    """Characters that longer documents were cut to."""


class Record(Strict):
    """A cell's outcome."""

    schema_version: Literal[1] = SCHEMA
    spec: Spec
    status: Status
    reason: str | None
    """Why it is not `ok`; for a trajectory that was cut, why."""
    removes: Literal["documents", "domain"]
    domain: str
    baseline: Baseline | None
    """None where the cell failed before anything was measured."""
    trajectory: tuple[Step, ...]
    """From step 0, the target, on."""
    operating_points: tuple[OperatingPoint, ...]
    """One a budget, in the order of the protocol's budgets."""
    prepare_cost: Cost
    planned_memory: dict[str, int] = {}
    """Bytes that the cell was to hold, by what for, as reckoned before its first step; what only the method knows of is not in it."""
    micro_batch: int | None = None
    """Windows of each kind of text that a training step ran at once; None: its whole batch."""
    gradient_checkpointing: bool = False
    """Whether each layer was computed again for the backward pass rather than kept."""
    inserts: bool = False
    """Whether the first step only puts a module into the model, and forgets nothing yet."""
    control: bool = False
    """Whether the method is a control, which never looks at the forget set; False in records made before it was told."""
    retraining_flops: float | None
    """What retraining from scratch costs, 6 x parameters x training tokens; None where they are not known."""
    environment: Environment
    model_origin: str | None = None
    """Repository and commit on the hub, ORG/NAME@COMMIT; None for a model that is not from there."""
    text: TextOrigin | None = None
    """None where the cell failed before it was read, and in records made before it was told."""
    panel: dict[str, int] = {}
    """The metrics that were asked for, and the version of each. They are no part of the cell's identity: asking for more adds to it."""
    requested: Requested | None = None
    """What was asked for, where the task is a removal request."""
