//! `report.json`: the account of a campaign, for machines. Its types are the format, and their
//! comments are the descriptions in its JSON Schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::ReportInput;
use super::answers::AnswerTimes;
use super::funnel::Funnel;
use super::timeline::{Asked, Came, Timeline};
use crate::job::{Channel, Lane};
use crate::number::{mask_name, mask_numbers};
use crate::record::{Planned, RunRecord};
use crate::run::{End, StopKind};
use crate::status::Status;
use crate::summary::{Attempts, Counts, Message, Summary};
use crate::text::visible_lines;

/// Names this format; a change that breaks readers gets another number.
pub const SCHEMA: &str = "otpdrive.report/1";

/// Most waits that are told.
const WAITS_MAX: usize = 100;

/// The account of a campaign of otpdrive: what became of its rows, over all runs, and how its
/// latest run went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "otpdrive report", deny_unknown_fields)]
pub struct Report<'a> {
    /// The format of this file.
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    /// What the campaign does with its numbers.
    #[schemars(extend("enum" = ["send", "verify"]))]
    operation: &'static str,
    /// The campaign's name; a telephone number in it is masked.
    campaign: String,
    /// A rehearsal: no request left for the real gateway.
    sandbox: bool,
    /// How the latest run ended.
    state: State,
    /// Why the latest run stopped early; null unless `state` is `stopped`.
    stop_reason: Option<StopReason>,
    /// How many rows the input has.
    rows: u64,
    /// How many rows have which status; they add up to `rows`.
    counts: StatusCounts,
    /// The same for the rows that ask for a message or a call, by the channel of the last request
    /// or of the one that is due. Only channels that occur; empty when codes are verified.
    channels: Channels,
    /// Requests under way while a run is on: their rows are `pending`.
    in_flight: u64,
    /// Numbers that were attempted and that the input has no more. They are in none of the other
    /// counts.
    earlier: Earlier,
    /// How many requests the rows took, over all runs.
    attempts: Attempts,
    /// All runs of the campaign together.
    campaign_totals: Totals,
    /// What came of the OTPs whose codes are checked; null when OTPs are sent.
    funnel: Option<&'a Funnel>,
    /// How fast the requests of the latest run left that made any.
    rate: Rate,
    /// How long the answers took, over all runs, to three digits; null when nothing was answered.
    latency_ms: Option<Latency>,
    /// What was said of requests that were refused, failed or not understood, the most frequent
    /// first, numbers masked. At most 20, and behind them the rest as `(other messages)`.
    errors: Vec<Message<'a>>,
    /// Why rows cannot be used, in the same form.
    invalid_reasons: Vec<Message<'a>>,
    /// How many rows were accepted at their first request, their second … up to the last place that
    /// is not 0; at most ten, the last one then with all later ones.
    accepted_by_try: Vec<u64>,
    /// How many answers took how long, over all runs: columns on a logarithmic axis, without gaps
    /// from the fastest to the slowest.
    answer_times: Vec<Bin>,
    /// What left over the time of the latest run that made requests.
    over_time: OverTime,
    /// What the plan of that run said before its first request; null where it was not kept.
    plan: Option<Planned>,
    /// What came of it.
    actual: Actual,
    /// When nothing left in that run for a while, and why, in the order of time; at most 100, the
    /// longest.
    waits: Vec<WaitSpan>,
    /// When the latest run that made requests began: RFC 3339, UTC.
    started_at: String,
    /// When that run ended; null while it runs and when it was killed.
    finished_at: Option<String>,
    /// How long that run took; null like `finished_at`.
    duration_s: Option<f64>,
    /// The file that the campaign was last run with.
    input: Input<'a>,
    /// The settings of the latest run, without secrets.
    settings: serde_json::Value,
    /// The version of otpdrive that made the latest run.
    version: &'a str,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is left to do.
    Complete,
    /// It is on.
    Running,
    /// It stopped with rows left over; running the same command again goes on.
    Stopped,
    /// A signal ended it, or it was killed.
    Interrupted,
}

/// Why a run stopped early.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StopReason {
    /// For machines: `key_refused`, `account_refused`, `wrong_endpoint`, `certificate`,
    /// `outage`, `limit`, `max_duration`, `deadline`, `budget`, `ledger`;
    /// there may be more in later versions.
    #[schemars(with = "String")]
    kind: StopKind,
    /// For people: what happened and what to do.
    message: String,
}

/// A number of rows for each status.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StatusCounts {
    /// The gateway accepted the OTP. Accepted is not delivered.
    sent: u64,
    /// The code was right.
    verified: u64,
    /// The code was wrong.
    not_verified: u64,
    /// The gateway refused the number.
    rejected: u64,
    /// All tries used up, surely never accepted.
    failed: u64,
    /// May have been delivered; held for a person.
    unknown: u64,
    /// The row cannot be used.
    invalid: u64,
    /// The number stands further up in the file.
    duplicate: u64,
    /// Left out on purpose.
    suppressed: u64,
    /// Not attempted yet.
    pending: u64,
}

/// Numbers that were attempted and that the input has no more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Earlier {
    /// How many.
    rows: u64,
    /// How many of them have which status.
    counts: StatusCounts,
}

/// All runs of a campaign together.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Totals {
    /// When the first run began: RFC 3339, UTC.
    started_at: String,
    /// How many requests left, or may have, for numbers of this input and of earlier ones.
    requests: u64,
    /// What those cost that were accepted, or may have been, at the prices of the latest run; null
    /// when it had none (`--price`).
    spent: Option<f64>,
}

/// Counts of the channels that occur.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Channels {
    /// Text messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    sms: Option<StatusCounts>,
    /// Telephone calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<StatusCounts>,
}

/// How fast requests left.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Rate {
    /// The rate that was to be kept; null: unlimited.
    limit_per_s: Option<f64>,
    /// From the first request to the last; of less than a second it is how many there were; 0 when
    /// there are less than two.
    achieved_per_s: f64,
    /// The most requests in any second, wherever it starts.
    peak_1s: u64,
}

/// How long answers took, in milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Latency {
    /// Half of the answers took no longer.
    p50: f64,
    /// 90 % of the answers took no longer.
    p90: f64,
    /// 95 % of the answers took no longer.
    p95: f64,
    /// 99 % of the answers took no longer.
    p99: f64,
    /// The slowest answer.
    max: f64,
}

/// An input file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Input<'a> {
    /// Its name without the folder, or `stdin`.
    name: String,
    /// SHA-256 of its bytes in hexadecimal.
    sha256: &'a str,
    /// How many rows it has.
    rows: u64,
}

/// How many answers took how long.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Bin {
    /// At least this long, in milliseconds.
    from_ms: f64,
    /// Less than this.
    to_ms: f64,
    /// How many answers.
    answers: u64,
}

/// What left over the time of a run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OverTime {
    /// When the first column begins: RFC 3339, UTC.
    from: String,
    /// When the last column ends.
    until: String,
    /// How wide the columns are, in seconds; the last one ends at `until`.
    column_s: u64,
    /// One after the other.
    columns: Vec<TimeColumn>,
}

/// What left in a column of time, by what came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TimeColumn {
    /// All requests.
    requests: u64,
    /// The most requests in any second that ends in it.
    busiest_1s: u64,
    /// Those that were accepted, or whose code was right.
    accepted: u64,
    /// Those whose code was wrong.
    wrong: u64,
    /// Those that were surely not acted on, to be tried again.
    again: u64,
    /// Those that were refused.
    refused: u64,
    /// Those that may have been acted on.
    unknown: u64,
    /// Those under way.
    in_flight: u64,
}

/// What a run did, as its plan counts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Actual {
    /// Numbers, or codes, that were asked, each with one request.
    numbers: u64,
    /// Requests that repeated the one before on the same channel.
    retries: u64,
    /// Requests on the other channel (`--fallback`).
    fallbacks: u64,
    /// From its beginning to its end, or to its last sign of life.
    time_s: f64,
    /// What those cost that were accepted, or may have been; null without a price.
    cost: Option<f64>,
}

/// A time in which nothing left.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WaitSpan {
    /// `outage`: the gateway was down; `hold`: it asked to wait; `closed`: outside the hours;
    /// `cap`: no more were to leave on that day.
    #[schemars(extend("enum" = ["outage", "hold", "closed", "cap"]))]
    kind: &'static str,
    /// `sms`, `call` or `verify`; null: all requests.
    lane: Option<&'static str>,
    /// When it began: RFC 3339, UTC.
    from: String,
    /// When it was over.
    until: String,
    /// The reason in words; may be empty.
    why: String,
    /// Of an outage: requests under way when it began that may have been acted on.
    unknown: u64,
}

impl OverTime {
    fn new(timeline: &Timeline) -> Self {
        let columns = timeline.columns.iter().map(|column| {
            let came = |came: Came| column.came[came as usize];
            TimeColumn {
                requests: column.requests(),
                busiest_1s: column.busiest_1s,
                accepted: came(Came::Accepted),
                wrong: came(Came::Wrong),
                again: came(Came::Again),
                refused: came(Came::Refused),
                unknown: came(Came::Unknown),
                in_flight: came(Came::InFlight),
            }
        });
        Self {
            from: timeline.from.to_string(),
            until: timeline.until.to_string(),
            column_s: timeline.width.as_secs(),
            columns: columns.collect(),
        }
    }
}

impl Actual {
    fn new(at_work: &RunRecord, timeline: &Timeline) -> Self {
        let Asked {
            numbers,
            retries,
            fallbacks,
            billed,
        } = timeline.asked;
        Self {
            numbers,
            retries,
            fallbacks,
            time_s: to_3_decimals(timeline.took().as_secs_f64()),
            cost: at_work
                .prices()
                .and_then(|prices| Some(prices.total(&billed)?.to_f64())),
        }
    }
}

impl WaitSpan {
    fn all(timeline: &Timeline) -> Vec<Self> {
        let spans = timeline.longest_waits(WAITS_MAX).into_iter();
        let spans = spans.map(|wait| Self {
            kind: wait.kind.name(),
            lane: wait.lane.map(Lane::name),
            from: wait.from.to_string(),
            until: wait.until.to_string(),
            why: mask_numbers(&wait.why),
            unknown: wait.unknown,
        });
        spans.collect()
    }
}

impl<'a> Report<'a> {
    /// The report of these facts and rows.
    #[must_use]
    pub fn new(input: &ReportInput<'a>, summary: &'a Summary, timeline: &Timeline) -> Self {
        let ReportInput {
            campaign,
            run,
            at_work,
            first_started_at,
            runs,
            earlier,
            funnel,
            ..
        } = *input;
        let input = &campaign.input;
        let is_on = runs.is_on(run.id);
        Self {
            schema: SCHEMA,
            operation: campaign.operation.name(),
            campaign: mask_name(&campaign.name),
            sandbox: campaign.sandbox,
            state: State::new(run.end.as_ref(), is_on, summary.counts()),
            stop_reason: StopReason::new(run.end.as_ref()),
            rows: input.rows,
            counts: StatusCounts::new(summary.counts()),
            channels: Channels {
                sms: StatusCounts::of_channel(summary, Channel::Sms),
                call: StatusCounts::of_channel(summary, Channel::Call),
            },
            in_flight: summary.in_flight(),
            earlier: Earlier::new(earlier.counts()),
            attempts: summary.attempts(),
            campaign_totals: Totals {
                started_at: first_started_at.to_string(),
                requests: summary.attempts().total + earlier.attempts().total,
                spent: spent(run, summary, earlier),
            },
            funnel,
            rate: Rate {
                limit_per_s: at_work.settings["rate_per_s"].as_f64(),
                achieved_per_s: to_3_decimals(timeline.pace.achieved_per_s()),
                peak_1s: timeline.pace.peak_1s(),
            },
            latency_ms: Latency::new(summary),
            errors: summary.messages(),
            invalid_reasons: summary.details(Status::Invalid),
            accepted_by_try: by_try(summary),
            answer_times: bins(summary),
            over_time: OverTime::new(timeline),
            plan: at_work.planned(),
            actual: Actual::new(at_work, timeline),
            waits: WaitSpan::all(timeline),
            started_at: at_work.started_at.to_string(),
            finished_at: at_work.finished_at.map(|at| at.to_string()),
            duration_s: at_work
                .finished_at
                .map(|finished| to_3_decimals(finished.since(at_work.started_at).as_secs_f64())),
            input: Input {
                name: mask_name(&input.name),
                sha256: &input.sha256,
                rows: input.rows,
            },
            settings: settings(run),
            version: &run.version,
        }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

impl State {
    /// Whatever the run says of itself: with rows left over it is not complete.
    #[must_use]
    pub fn new(end: Option<&End>, is_on: bool, counts: &Counts) -> Self {
        match end {
            None if is_on => Self::Running,
            Some(End::Complete) if counts[Status::Pending] == 0 => Self::Complete,
            Some(End::Complete | End::Stopped(_)) => Self::Stopped,
            Some(End::Interrupted(_)) | None => Self::Interrupted,
        }
    }
}

impl StopReason {
    /// `None` unless it stopped.
    #[must_use]
    pub fn new(end: Option<&End>) -> Option<Self> {
        match end {
            Some(End::Stopped(stop)) => Some(Self {
                kind: stop.kind,
                message: mask_numbers(&stop.message),
            }),
            _ => None,
        }
    }
}

impl Earlier {
    /// These.
    #[must_use]
    pub fn new(counts: &Counts) -> Self {
        Self {
            rows: counts.total(),
            counts: StatusCounts::new(counts),
        }
    }
}

impl StatusCounts {
    /// These.
    #[must_use]
    pub fn new(counts: &Counts) -> Self {
        Self {
            sent: counts[Status::Sent],
            verified: counts[Status::Verified],
            not_verified: counts[Status::NotVerified],
            rejected: counts[Status::Rejected],
            failed: counts[Status::Failed],
            unknown: counts[Status::Unknown],
            invalid: counts[Status::Invalid],
            duplicate: counts[Status::Duplicate],
            suppressed: counts[Status::Suppressed],
            pending: counts[Status::Pending],
        }
    }

    fn of_channel(summary: &Summary, channel: Channel) -> Option<Self> {
        let counts = summary.channel(channel);
        (counts.total() > 0).then(|| Self::new(counts))
    }
}

impl Latency {
    fn new(summary: &Summary) -> Option<Self> {
        let latencies = summary.latencies();
        let quantile = |q| to_ms(latencies.value_at_quantile(q));
        (!latencies.is_empty()).then(|| Self {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: to_ms(latencies.max()),
        })
    }
}

/// What the requests of a campaign cost, as far as there are prices.
fn spent(run: &RunRecord, summary: &Summary, earlier: &Summary) -> Option<f64> {
    let prices = run.prices()?;
    let total = prices.total(summary.billed())? + prices.total(earlier.billed())?;
    Some(total.to_f64())
}

/// Without the plan, which stands by itself.
fn settings(run: &RunRecord) -> serde_json::Value {
    let mut settings = run.settings.clone();
    if let Some(settings) = settings.as_object_mut() {
        settings.remove(RunRecord::PLAN);
    }
    settings
}

fn by_try(summary: &Summary) -> Vec<u64> {
    let tries = summary.accepted_by_try();
    let used = tries.iter().rposition(|count| *count > 0);
    tries[..used.map_or(0, |last| last + 1)].to_vec()
}

fn bins(summary: &Summary) -> Vec<Bin> {
    let bins = AnswerTimes::new(summary.latencies()).bins.into_iter();
    let bins = bins.map(|(from_ms, to_ms, answers)| Bin {
        from_ms,
        to_ms,
        answers,
    });
    bins.collect()
}

/// The JSON Schema of `report.json`.
#[must_use]
pub fn schema() -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    pretty(&settings.into_generator().into_root_schema_for::<Report>())
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("names are strings");
    text.push('\n');
    // Names of files may hold what a terminal obeys; in JSON it can only stand in strings, where an
    // escape says the same.
    visible_lines(&text).into_owned()
}

fn to_3_decimals(x: f64) -> f64 {
    (x * 1_000.0).round() / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "an hour at most")]
fn to_ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::calendar::Calendar;
    use crate::job::UnixMicros;
    use crate::journey::Journey;
    use crate::record::{CampaignId, CampaignRecord};
    use crate::report::funnel::Tally;
    use crate::report::tests::samples;
    use crate::run::{Signal, Stop};

    fn rendered(campaign: &CampaignRecord, run: &RunRecord, summary: &Summary) -> String {
        let departures = [0, 1_000, 2_500, 3_000].map(|ms| UnixMicros(ms * 1_000));
        let input = ReportInput {
            campaign,
            run,
            at_work: run,
            first_started_at: samples::START,
            runs: &samples::runs(),
            earlier: &Summary::default(),
            ledger: None,
            funnel: None,
        };
        let (of, runs) = (samples::run(), samples::runs());
        let mut timeline =
            Timeline::new(&of, departures.last().copied(), &runs, &Calendar::default());
        for at in departures {
            timeline.depart(at);
        }
        for row in &samples::rows() {
            timeline.add(row, &runs);
        }
        Report::new(&input, summary, &timeline).to_json()
    }

    fn report(run: &RunRecord, summary: &Summary) -> Value {
        serde_json::from_str(&rendered(&samples::campaign(), run, summary)).unwrap()
    }

    fn stopped() -> RunRecord {
        RunRecord {
            finished_at: Some(UnixMicros(samples::START.0 + 12_345_678)),
            end: Some(End::Stopped(Stop {
                kind: StopKind::MaxDuration,
                message: "no time left at 919876543210".to_owned(),
            })),
            ..samples::run()
        }
    }

    fn sample_summary() -> Summary {
        let mut summary = Summary::default();
        for row in &samples::rows() {
            summary.add(row, &row.outcome(&samples::runs()));
        }
        summary
    }

    #[test]
    fn the_report_is_this() {
        let expected = include_str!("samples/report.json");
        let actual = rendered(&samples::campaign(), &stopped(), &sample_summary());
        assert_eq!(actual, expected);
    }

    #[test]
    fn what_was_spent_is_that_of_requests_that_were_accepted_or_may_have_been() {
        let priced = |prices: &str| {
            let mut run = samples::run();
            run.settings["price"] = prices.into();
            report(&run, &sample_summary())["campaign_totals"]["spent"].clone()
        };
        // An SMS that was accepted, a call without an answer.
        assert_eq!(sample_summary().billed(), &[1, 1, 0]);
        assert_eq!(priced("sms=0.25,call=1.5"), 1.75);
        assert_eq!(
            report(&samples::run(), &sample_summary())["campaign_totals"]["spent"],
            Value::Null
        );
    }

    #[test]
    fn counts_are_all_statuses_in_their_order() {
        let text = rendered(&samples::campaign(), &samples::run(), &sample_summary());
        let counts = &text[text.find("\"counts\"").unwrap()..];
        let places: Vec<_> = Status::ALL
            .map(|status| counts.find(&format!("\"{}\"", status.name())).unwrap())
            .to_vec();
        assert!(places.is_sorted(), "{places:?}");
        let counts = serde_json::to_value(StatusCounts::new(&Counts::default())).unwrap();
        assert_eq!(counts.as_object().unwrap().len(), Status::ALL.len());
    }

    #[test]
    fn a_killed_run_is_interrupted_and_has_no_end() {
        let report = report(&samples::run(), &sample_summary());
        assert_eq!(report["state"], "interrupted");
        for unknown in ["stop_reason", "finished_at", "duration_s"] {
            assert_eq!(report[unknown], Value::Null, "{unknown}");
        }
    }

    #[test]
    fn the_state_is_complete_only_without_pending_rows() {
        let mut counts = Counts::default();
        let complete = Some(&End::Complete);
        assert_eq!(State::new(complete, false, &counts), State::Complete);
        counts += Status::Pending;
        assert_eq!(State::new(complete, false, &counts), State::Stopped);
        let signal = End::Interrupted(Signal::Sigterm);
        let state = |is_on| State::new(None, is_on, &counts);
        assert_eq!(
            (state(true), state(false)),
            (State::Running, State::Interrupted)
        );
        assert_eq!(
            State::new(Some(&signal), false, &counts),
            State::Interrupted
        );
    }

    #[test]
    fn without_answers_there_is_no_latency_and_no_channel() {
        let report = report(&samples::run(), &Summary::default());
        assert_eq!(report["latency_ms"], Value::Null);
        assert_eq!(report["channels"], serde_json::json!({}));
        assert_eq!(report["errors"], serde_json::json!([]));
    }

    #[test]
    fn a_rehearsal_says_so() {
        let mut campaign = samples::campaign();
        campaign.sandbox = true;
        let text = rendered(&campaign, &samples::run(), &Summary::default());
        assert!(text.contains("\"sandbox\": true"));
    }

    #[test]
    fn no_number_is_in_the_report() {
        let text = rendered(&samples::campaign(), &stopped(), &sample_summary());
        assert!(!text.contains("9876543210"), "{text}");
    }

    /// Of a number that was sent to, and of none.
    fn funnels() -> [Funnel; 2] {
        let mut journey = Journey::default();
        let row = &samples::rows()[0];
        journey.add(CampaignId(1), row.attempts(), &samples::runs(), false);
        journey.finish();
        let answered = journey.answered(CampaignId(2), UnixMicros(i64::MAX));
        let mut tally = Tally::default();
        tally.add(&answered.unwrap(), Some("Pune, 9876543210"));
        [
            tally.into_funnel(Some("city")),
            Tally::default().into_funnel(None),
        ]
    }

    #[test]
    fn reports_are_what_the_schema_says() {
        let schema: Value = serde_json::from_str(&super::schema()).unwrap();
        for funnel in funnels() {
            let mut report = report(&stopped(), &sample_summary());
            report["funnel"] = serde_json::to_value(&funnel).unwrap();
            check(&schema, &schema, &report, "report");
            assert!(!report.to_string().contains("9876543210"), "{report}");
        }
        for (run, summary) in [
            (stopped(), sample_summary()),
            (samples::run(), Summary::default()),
        ] {
            check(&schema, &schema, &report(&run, &summary), "report");
        }
    }

    #[test]
    fn the_schema_tells_wrong_reports() {
        let schema: Value = serde_json::from_str(&super::schema()).unwrap();
        let right = report(&stopped(), &sample_summary());
        for (field, wrong) in [
            ("schema", Value::from("otpdrive.report/2")),
            ("rows", Value::from("6")),
            ("state", Value::from("done")),
            ("operation", Value::from("call")),
            ("started_at", Value::Null),
        ] {
            let mut report = right.clone();
            report[field] = wrong;
            assert!(!is_valid(&schema, &schema, &report), "{field}");
        }
        for (object, field) in [("/counts", "pending"), ("", "stop_reason")] {
            let mut report = right.clone();
            let object = report.pointer_mut(object).unwrap();
            object.as_object_mut().unwrap().remove(field);
            assert!(!is_valid(&schema, &schema, &report), "{field}");
        }
    }

    #[test]
    fn the_schema_describes_every_field() {
        let schema: Value = serde_json::from_str(&super::schema()).unwrap();
        let definitions = schema["$defs"].as_object().unwrap().values();
        for object in definitions.chain([&schema]) {
            assert!(object["description"].is_string(), "{object}");
            for (name, field) in object["properties"].as_object().into_iter().flatten() {
                assert!(field["description"].is_string(), "{name}");
            }
        }
    }

    fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
        if let Some(fields) = value.as_object().filter(|_| place == "report") {
            for (name, field) in fields {
                let schema = &schema["properties"][name];
                assert!(schema.is_object(), "{name} is not in the schema");
                assert!(is_valid(root, schema, field), "{name}: {field}");
            }
        }
        assert!(is_valid(root, schema, value), "{place}");
    }

    /// As much of JSON Schema as ours uses.
    fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
        let Some(schema) = schema.as_object() else {
            return schema == &Value::Bool(true);
        };
        schema
            .iter()
            .all(|(keyword, wanted)| match keyword.as_str() {
                "$ref" => {
                    let target = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                    is_valid(root, root.pointer(target).unwrap(), value)
                }
                "type" => match wanted {
                    Value::Array(types) => types.iter().any(|t| has_type(t, value)),
                    one => has_type(one, value),
                },
                "const" => value == wanted,
                "enum" => wanted.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|x| x >= wanted.as_f64().unwrap()),
                "anyOf" | "oneOf" => {
                    let mut options = wanted.as_array().unwrap().iter();
                    options.any(|option| is_valid(root, option, value))
                }
                "required" => {
                    let mut names = wanted.as_array().unwrap().iter();
                    names.all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "properties" => wanted.as_object().unwrap().iter().all(|(name, field)| {
                    value
                        .get(name)
                        .is_none_or(|value| is_valid(root, field, value))
                }),
                "additionalProperties" if schema.contains_key("properties") => {
                    let known = schema["properties"].as_object().unwrap();
                    let mut names = value.as_object().into_iter().flatten();
                    names.all(|(name, _)| known.contains_key(name))
                }
                "additionalProperties" | "patternProperties" => {
                    // Of maps: no field of theirs has a name of its own.
                    let of_all = wanted
                        .as_object()
                        .and_then(|wanted| match keyword.as_str() {
                            "patternProperties" => wanted.values().next(),
                            _ => Some(&schema["additionalProperties"]),
                        });
                    let mut fields = value.as_object().into_iter().flat_map(|map| map.values());
                    of_all.is_none_or(|wanted| fields.all(|field| is_valid(root, wanted, field)))
                }
                "items" => {
                    let mut items = value.as_array().into_iter().flatten();
                    items.all(|item| is_valid(root, wanted, item))
                }
                "$schema" | "$defs" | "title" | "description" | "format" => true,
                other => panic!("the schema uses {other}, which this test does not know"),
            })
    }

    fn has_type(wanted: &Value, value: &Value) -> bool {
        match wanted.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("no such type: {other}"),
        }
    }
}
