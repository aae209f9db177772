"""The public API: what a forecast request may say and what an answer holds."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from feature_repo.statuses import Status
from feature_repo.targets import MAX_HORIZON_DAYS, METRICS

VIDEO_ID_PATTERN = "^[A-Za-z0-9_-]{11}$"
MAX_IDS = 1000
DEFAULT_DAYS = (1, 7, 30)
# YouTube is no older, and no offset or horizon leads from here past an end of the calendar.
FIRST_PLANNED_AT = datetime(2005, 1, 1, tzinfo=UTC)
LAST_PLANNED_AT = datetime(2100, 1, 1, tzinfo=UTC)

MetricName = Literal["views", "likes", "comments"]
Reason = Literal["horizon_not_supported", "count_hidden", "metric_not_supported"]
DegradedReason = Literal[
    "stale_features",
    "channel_features_missing",
    "clock_behind_data",
    "model_unconfirmed",
    "online_store_unavailable",
    "recent_features",
    "fallback_curves",
]
FeaturesFrom = Literal["online_store", "recent_features", "fallback_curves"]
Count = Annotated[int, Field(ge=0)] | None


Days = Annotated[
    list[Annotated[int, Field(ge=1, le=MAX_HORIZON_DAYS, strict=True)]],
    Field(min_length=1, max_length=MAX_HORIZON_DAYS),
    AfterValidator(lambda days: sorted(set(days))),
]
Metrics = Annotated[
    list[MetricName],
    Field(min_length=1, max_length=len(METRICS)),
    AfterValidator(lambda metrics: list(dict.fromkeys(metrics))),
]


class _Contract(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class HorizonForecast(_Contract):
    """A count some days ahead: the median, and the 80 % interval around it."""

    horizon_days: int = Field(ge=1, le=MAX_HORIZON_DAYS, examples=[7])
    at: datetime = Field(description="The moment forecast: `as_of` plus the horizon")
    p10: Count = Field(description="One in ten videos like this one stays below", examples=[10820])
    p50: Count = Field(description="The median", examples=[12410])
    p90: Count = Field(description="One in ten videos like this one rises above", examples=[16950])
    reason: Reason | None = Field(
        None, description="Why there are no numbers; null where there are"
    )


class MetricForecast(_Contract):
    """One metric: what was last observed, and what is to come. Curves never fall."""

    current: Count = Field(description="As last observed; null when hidden", examples=[9980])
    forecasts: list[HorizonForecast]


class Forecast(_Contract):
    """How a video will do, as of a moment, and what that was worked out from."""

    forecast_id: UUID = Field(description="Names the receipt: `GET /v1/forecasts/{forecast_id}`")
    video_id: str = Field(pattern=VIDEO_ID_PATTERN, examples=["dQw4w9WgXcQ"])
    channel_id: str | None = Field(examples=["UCuAXFkgsw1L7xaCfnd5JJOw"])
    world: str = Field(description="`real` or `synthetic`: where the data comes from")
    as_of: datetime = Field(description="The moment the forecast was asked for, in whole seconds")
    observed_at: datetime = Field(description="When the counts it starts from were read at YouTube")
    feature_age_seconds: float = Field(description="`as_of` less `observed_at`", examples=[5400])
    features_from: FeaturesFrom = Field(
        description="`recent_features`: read a while ago, the online store does not answer now. "
        "`fallback_curves`: no features at all, only how counts of this tier usually grow"
    )
    features_read_seconds_ago: float | None = Field(
        description="How old such features are in this server; null where they were just read"
    )
    model_version: str = Field(examples=["3"])
    model_digest: str = Field(description="SHA-256 of the model's contract and parts")
    degraded: bool = Field(description="True when the answer is worth less than usual")
    degraded_reasons: list[DegradedReason]
    missing_features: list[str] = Field(description="Inputs of the model that were null")
    metrics: dict[MetricName, MetricForecast]


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 describes them; `code` is stable."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int = Field(examples=[404])
    code: str = Field(examples=["unknown_video"])
    detail: str


class FailedEntry(_Contract):
    """An id that got no forecast."""

    video_id: str
    error: ProblemDetails


class ForecastBatch(_Contract):
    """One entry per id, in the order asked."""

    forecasts: list[Forecast | FailedEntry]


class ForecastRequest(_Contract):
    """Forecasts of many videos in one request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"video_ids": ["dQw4w9WgXcQ"], "days": [1, 7, 30], "metrics": ["views"]}]
        },
    )

    video_ids: list[str] = Field(min_length=1, max_length=MAX_IDS)
    days: Days = list(DEFAULT_DAYS)
    metrics: Metrics = ["views", "likes", "comments"]


class ModelDescription(_Contract):
    """The model being served."""

    name: str = Field(examples=["foreview-published-real"])
    version: str
    digest: str
    world: str
    situation: str
    feature_service: str
    schema_hash: str
    engine: str = Field(description="What evaluates it: `trees` or `onnxruntime`; same numbers")
    trained_until: str
    features: list[str]
    horizons: dict[str, list[int]] = Field(description="Days each metric was calibrated for")
    is_confirmed: bool = Field(
        description="False for a cached model that the registry did not confirm yet"
    )
    problem: str | None = Field(description="Why a newer champion is not being served, if so")


class ReceiptFeature(_Contract):
    """An input of the model as it was read."""

    name: str
    value: float | None
    feature_view: str = Field(description="`request` for what moves with the moment of asking")
    event_time: datetime | None
    age_seconds: float | None
    status: Status


class ReceiptOutcome(_Contract):
    """What became of a forecast number."""

    metric: str
    horizon_days: int
    status: str
    observed_count: float | None
    known_at: datetime | None
    is_covered: bool | None
    error_log10: float | None


class Receipt(_Contract):
    """A forecast as it was logged: what was asked, seen and answered."""

    forecast_id: UUID
    asked_at: datetime
    as_of: datetime
    situation: str
    world: str
    video_id: str | None
    channel_id: str | None
    model_version: str
    model_digest: str
    request: dict[str, Any]
    vector: dict[str, Any] = Field(
        description="`features` as the model read them (float32), present `counts`, and `tier`"
    )
    feature_times: dict[str, datetime | None] = Field(description="Event time per feature view")
    features: list[ReceiptFeature] = Field(description="Each input: value, time, age, status")
    answer: dict[str, Any]
    degraded: list[str]
    outcomes: list[ReceiptOutcome] | None = Field(
        description="What became of each number, once known; null when it cannot be read now"
    )


class Readiness(_Contract):
    """Whether forecasts can be answered."""

    ready: bool
    model_version: str
    model_digest: str
    world: str
    notes: list[str] = Field(description="What is not as it should be, though forecasts work")


CHANNEL_ID_PATTERN = "^UC[A-Za-z0-9_-]{1,40}$"
ChannelId = Annotated[str, Field(pattern=CHANNEL_ID_PATTERN, examples=["UCuAXFkgsw1L7xaCfnd5JJOw"])]
# Tags are joined by new lines where they are kept.
Tag = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\n\r]*$")]


class Variant(_Contract):
    """What a creator knows of a video before it is uploaded."""

    title: str = Field(min_length=1, max_length=100, examples=["How I built a house in 30 days"])
    description: str | None = Field(None, max_length=5000)
    tags: list[Tag] = Field([], max_length=100)
    category_id: int | None = Field(None, ge=1, le=99, strict=True, examples=[26])
    duration_seconds: float | None = Field(None, gt=0, le=86_400 * 12, examples=[754])
    planned_at: AwareDatetime | None = Field(
        None,
        ge=FIRST_PLANNED_AT,
        le=LAST_PLANNED_AT,
        description="Planned publication, with its UTC offset, from 2005 to 2100; now if not given",
    )


class Draft(Variant):
    """A video that is not uploaded yet, of a channel that is tracked."""

    channel_id: ChannelId


class DraftRequest(Draft):
    """A draft, and what is asked of it: counts so many days after its publication."""

    days: Days = list(DEFAULT_DAYS)
    metrics: Metrics = ["views", "likes", "comments"]


class DraftForecast(_Contract):
    """How a draft will do, if it is published as planned."""

    forecast_id: UUID
    channel_id: str
    world: str
    as_of: datetime = Field(description="The planned publication, in whole seconds")
    observed_at: datetime = Field(description="When the channel's features are from")
    tier: str = Field(description="Of the channel: the power of ten of its usual views")
    model_version: str
    model_digest: str
    degraded: bool
    degraded_reasons: list[DegradedReason]
    missing_features: list[str]
    metrics: dict[MetricName, MetricForecast]


class ComparisonRequest(_Contract):
    """Variants of one video."""

    channel_id: ChannelId
    variants: list[Variant] = Field(min_length=2, max_length=10)


class RankedVariant(_Contract):
    """A variant, and how it differs from the one that looks best."""

    variant: int = Field(ge=0, description="Its place in the request")
    title: str
    p50: int
    difference_log10: float = Field(description="Of the medians, in decades; 0 for the first")
    times_the_best: float
    is_told_apart: bool = Field(description="True when it is worse by more than the threshold")


class DraftComparison(_Contract):
    """Variants ranked by their forecasts; `best` is null when the model cannot tell."""

    channel_id: str
    metric: MetricName
    horizon_days: int
    can_tell: bool
    best: int | None
    threshold_log10: float = Field(description="Differences below it are within the model's error")
    model_version: str
    ranking: list[RankedVariant]


class TargetRequest(_Contract):
    """A video or channel to track: its id, the channel's handle, or an address at YouTube."""

    target: str = Field(min_length=1, max_length=500, examples=["https://youtu.be/dQw4w9WgXcQ"])


class Target(_Contract):
    """A video or channel that is tracked, or the handle of a channel that will be."""

    kind: Literal["video", "channel", "handle"]
    target_id: str
    world: str
    is_new: bool
    next_look_at: datetime = Field(description="When it is to be looked at next")
    first_forecast_at: datetime | None = Field(
        description="The earliest moment of a first forecast; null when it was observed already"
    )
    note: str


class Term(_Contract):
    """A part of a forecast: decades that add up, as a factor and in words."""

    name: str
    value: float | None
    contribution_log10: float
    factor: float
    words: str


class Explanation(_Contract):
    """Why a forecast is what it is: terms that sum to the log median."""

    video_id: str
    as_of: datetime
    model_version: str
    metric: MetricName
    horizon_days: int
    p10: int
    p50: int
    p90: int
    log10_p50: float = Field(description="log10(1 + median before rounding): the terms' sum")
    terms: list[Term]


class Outlier(_Contract):
    """A video's views against the channel's normal at the same age."""

    video_id: str
    channel_id: str | None
    observed_at: datetime
    age_hours: float
    views: int | None
    normal_views: int | None = Field(
        description="The channel's median at this age; null if unknown"
    )
    times_normal: float | None
    difference_log10: float | None
    band_log10: tuple[float, float] | None = Field(
        description="Where four in five of the channel's videos lie, around its normal"
    )
    verdict: Literal["above", "within", "below", "unknown"]


class ChannelTrackRecord(_Contract):
    """What is usual for a channel."""

    channel_id: str
    observed_at: datetime
    feature_age_seconds: float
    is_stale: bool
    features: dict[str, float | None]


class Score(_Contract):
    """How past forecasts did; a null horizon and the tier `all` are totals."""

    situation: str
    metric: str
    horizon_days: int | None
    tier: str
    scored: int
    closed: int
    label_coverage: float | None
    mae_log10: float | None
    rmse_log10: float | None
    bias_log10: float | None
    skill: float | None = Field(description="1 less the error's share of that of persistence")
    coverage_80: float | None
    width_80_log10: float | None
    mdape: float | None
    first_due_at: datetime | None
    last_due_at: datetime | None


class Scorecard(_Contract):
    """How past forecasts of a world did, by metric, horizon and tier."""

    world: str
    scores: list[Score]
