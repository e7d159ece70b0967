//! The files as a whole; and facts for the tests of each.

use std::convert::Infallible;
use std::fs;

use super::results::Form;
use super::*;
use crate::run::Signal;

/// A source of rows as a ledger is one: it stops when told to.
fn source<E>(rows: &[Row], end: Result<(), E>) -> impl FnOnce(&mut Visit<'_>) -> Result<(), E> + '_
where
    E: 'static,
{
    move |visit| {
        for row in rows {
            if visit(row).is_break() {
                return Ok(());
            }
        }
        end
    }
}

fn write_samples(folder: &Path, end: Option<End>, rows: &[Row]) -> Result<(), String> {
    let campaign = samples::campaign();
    let mut run = samples::run();
    run.end = end;
    let input = ReportInput {
        campaign: &campaign,
        run: &run,
        runs: &samples::runs(),
        at_work: &run,
        first_started_at: samples::START,
        earlier: &Summary::default(),
        ledger: None,
        funnel: None,
    };
    write_all(
        folder,
        &input,
        Form::Plain,
        &mut samples::timeline(),
        source(rows, Ok::<(), Infallible>(())),
    )
    .map(|_| ())
    .map_err(|error| error.to_string())
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

const INTERRUPTED: Option<End> = Some(End::Interrupted(Signal::Sigint));

#[test]
fn both_files_tell_of_the_same_rows() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/results");
    write_samples(&folder, INTERRUPTED, &samples::rows()).unwrap();
    assert_eq!(text(&folder, RESULTS_CSV).lines().count(), 7);
    let report: serde_json::Value = serde_json::from_str(&text(&folder, REPORT_JSON)).unwrap();
    assert_eq!(report["rows"], 6);
    assert_eq!(report["counts"]["pending"], 1);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn a_lost_row_does_not_balance_and_the_files_are_there_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let rows = &samples::rows()[1..];
    let error = write_samples(folder.path(), INTERRUPTED, rows).unwrap_err();
    assert!(error.contains("6 rows, 5 were written"), "{error}");
    assert_eq!(text(folder.path(), RESULTS_CSV).lines().count(), 6);
    assert!(text(folder.path(), REPORT_JSON).contains("\"rows\": 6"));
}

#[test]
fn a_complete_run_with_pending_rows_does_not_balance_and_is_not_called_complete() {
    let folder = tempfile::tempdir().unwrap();
    let end = Some(End::Complete);
    let error = write_samples(folder.path(), end, &samples::rows()).unwrap_err();
    assert!(error.contains("1 are pending though"), "{error}");
    assert!(!text(folder.path(), REPORT_JSON).contains("complete"));
}

#[test]
fn rows_that_fail_halfway_leave_the_old_files_untouched() {
    let folder = tempfile::tempdir().unwrap();
    for name in [RESULTS_CSV, REPORT_JSON, REPORT_HTML] {
        fs::write(folder.path().join(name), "old").unwrap();
    }
    let (campaign, run) = (samples::campaign(), samples::run());
    let input = ReportInput {
        campaign: &campaign,
        run: &run,
        runs: &samples::runs(),
        at_work: &run,
        first_started_at: samples::START,
        earlier: &Summary::default(),
        ledger: None,
        funnel: None,
    };
    let broken = Err(io::Error::other("disk image is malformed"));
    let rows = samples::rows();
    let error = write_all(
        folder.path(),
        &input,
        Form::Plain,
        &mut samples::timeline(),
        source(&rows, broken),
    )
    .unwrap_err();
    assert!(matches!(error, ReportError::Rows(_)));
    assert_eq!(text(folder.path(), RESULTS_CSV), "old");
    assert_eq!(text(folder.path(), REPORT_JSON), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn only_the_rows_asked_for_are_printed() {
    let mut out = Vec::new();
    let rows = samples::rows();
    let only = [Status::Rejected, Status::Unknown];
    let source = source(&rows, Ok::<(), Infallible>(()));
    let printed = print_only(
        &mut out,
        &samples::campaign(),
        Form::Plain,
        &only,
        &samples::runs(),
        source,
    )
    .unwrap();
    assert_eq!(printed, 2);
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("phone,name,otp_line,otp_campaign,otp_phone,"));
    assert!(lines[1].starts_with("9876543212,C,4,"));
    assert!(lines[2].starts_with("9876543214,E,"));
}

#[test]
fn a_writer_that_fails_stops_the_rows_and_is_what_is_reported() {
    for obeys in [true, false] {
        let (mut seen, mut taken) = (0, 0);
        let rows = samples::rows();
        let each_row = |visit: &mut Visit<'_>| {
            for row in &rows {
                seen += 1;
                if visit(row).is_break() && obeys {
                    break;
                }
            }
            Err(io::Error::other("stopped"))
        };
        let result = visit(each_row, |_| {
            taken += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        });
        let error = result.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(taken, 1, "nothing is written behind what is missing");
        assert_eq!(seen, if obeys { 1 } else { rows.len() });
    }
}

#[test]
fn what_was_written_and_what_was_counted_must_each_be_the_input() {
    let (campaign, run) = (samples::campaign(), samples::run());
    let input = ReportInput {
        campaign: &campaign,
        run: &run,
        runs: &samples::runs(),
        at_work: &run,
        first_started_at: samples::START,
        earlier: &Summary::default(),
        ledger: None,
        funnel: None,
    };
    let mut summary = Summary::default();
    for row in &samples::rows() {
        summary.add(row, &row.outcome(&samples::runs()));
    }
    assert!(balance::<Infallible>(&input, 6, &summary).is_ok());
    assert!(balance::<Infallible>(&input, 5, &summary).is_err());
    let pending = samples::pending();
    summary.add(&pending, &pending.outcome(&samples::runs()));
    assert!(balance::<Infallible>(&input, 6, &summary).is_err());
}

#[test]
fn times_are_utc_with_milliseconds() {
    let time = |micros| UnixMicros(micros).to_string();
    assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(1_795_165_201_123_999), "2026-11-20T09:00:01.123Z");
    assert_eq!(time(i64::MAX), "");
}

/// Facts for the tests of the renderings: a campaign of six rows, one of each kind.
pub(crate) mod samples {
    use std::time::Duration;

    use crate::calendar::Calendar;
    use crate::job::{Answer, Attempt, Lane, Operation, UnixMicros, Verdict, VerdictKind};
    use crate::number::Number;
    use crate::record::{CampaignId, CampaignRecord, InputRecord, Row, RowState, RunRecord};
    use crate::report::timeline::Timeline;
    use crate::run::{Policy, RunFacts, RunId, Runs, WhenUncertain};

    /// 2026-11-20T09:00:00Z
    pub const START: UnixMicros = UnixMicros(1_795_165_200_000_000);

    pub fn campaign() -> CampaignRecord {
        CampaignRecord {
            id: CampaignId(1),
            operation: Operation::Send,
            name: "diwali".to_owned(),
            sandbox: false,
            input: InputRecord {
                name: "diwali.csv".to_owned(),
                sha256: "ab".repeat(32),
                rows: 6,
                header: "phone,name".to_owned(),
            },
        }
    }

    pub fn run() -> RunRecord {
        RunRecord {
            id: RunId(1),
            started_at: START,
            finished_at: None,
            end: None,
            settings: serde_json::json!({
                "rate_per_s": 10.0,
                "plan": {"numbers": 5, "time_s": 0.5, "cost_at_most": null, "sms_before": 0, "calls_before": 0},
            }),
            version: "0.1.0".to_owned(),
        }
    }

    /// Nothing left in it.
    pub fn timeline() -> Timeline {
        Timeline::new(&run(), None, &runs(), &Calendar::default())
    }

    /// The one run, of which nothing turned up.
    pub fn runs() -> Runs {
        let mut runs = Runs::default();
        let policy = Policy {
            max_attempts: 5,
            fallback: None,
            on_unknown: WhenUncertain::Hold,
            on_server_error: WhenUncertain::Retry,
        };
        runs.insert(RunId(1), RunFacts::new(policy));
        runs
    }

    fn row(at: u64, record: &str, number: Option<u64>, lane: Lane, state: RowState) -> Row {
        Row {
            line: at,
            record: record.to_owned(),
            number: number.and_then(Number::new),
            lane,
            state,
        }
    }

    fn attempt(n: u32, lane: Lane, left_ms: u64, answer: Option<(u64, Verdict)>) -> Attempt {
        let left_at = START + Duration::from_millis(left_ms);
        Attempt {
            lookup: None,
            n,
            run: RunId(1),
            lane,
            begun_at: left_at,
            answer: answer.map(|(took_ms, verdict)| Answer {
                left_at: Some(left_at),
                answered_at: left_at + Duration::from_millis(took_ms),
                verdict,
            }),
        }
    }

    pub fn rows() -> Vec<Row> {
        let throttled = Verdict::new(VerdictKind::Throttled, "busy");
        let barred = Verdict::new(VerdictKind::Rejected, "=HYPERLINK(\"x\")\n, barred");
        let sent = vec![
            attempt(1, Lane::Sms, 0, Some((40, throttled))),
            attempt(
                2,
                Lane::Sms,
                1_000,
                Some((123, Verdict::new(VerdictKind::Accepted, "SM1"))),
            ),
        ];
        let unknown = vec![attempt(1, Lane::Call, 2_500, None)];
        let rejected = vec![attempt(1, Lane::Sms, 3_000, Some((50, barred)))];
        let letter = RowState::Invalid("a letter among the digits".to_owned());
        vec![
            row(
                2,
                "098765 43210,\"Rao, A\"",
                Some(919_876_543_210),
                Lane::Sms,
                RowState::Job(sent),
            ),
            row(3, "98765O3211,B", None, Lane::Sms, letter),
            row(
                4,
                "9876543212,C",
                Some(919_876_543_212),
                Lane::Call,
                RowState::Job(unknown),
            ),
            row(
                5,
                "9876543210,D",
                Some(919_876_543_210),
                Lane::Sms,
                RowState::Duplicate { first_line: 2 },
            ),
            pending(),
            row(
                7,
                "9876543214,E",
                Some(919_876_543_214),
                Lane::Sms,
                RowState::Job(rejected),
            ),
        ]
    }

    pub fn pending() -> Row {
        row(
            6,
            "9876543213,",
            Some(919_876_543_213),
            Lane::Sms,
            RowState::Job(vec![]),
        )
    }

    pub fn verified() -> Row {
        let right = Verdict::new(VerdictKind::Accepted, "verified!");
        row(
            2,
            "9876543210,******",
            Some(919_876_543_210),
            Lane::Verify,
            RowState::Job(vec![attempt(1, Lane::Verify, 0, Some((5, right)))]),
        )
    }
}
