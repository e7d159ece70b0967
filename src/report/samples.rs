//! Facts for the tests of the renderings: a campaign of six rows, one of each kind.

use std::time::Duration;

use crate::outcome::{Answer, Attempt, Lane, Number, Operation, RunId, UnixMicros, Verdict};
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row, RowState, RunRecord};

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
        settings: serde_json::json!({"rate": "10/s"}),
        version: "0.1.0".to_owned(),
    }
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
        n,
        run: RunId(1),
        lane,
        try_number: n,
        tries_max: 5,
        fallback: None,
        begun_at: left_at,
        answer: answer.map(|(took_ms, verdict)| Answer {
            left_at,
            answered_at: left_at + Duration::from_millis(took_ms),
            verdict,
        }),
    }
}

pub fn rows() -> Vec<Row> {
    let throttled = Verdict::Throttled {
        message: "busy".to_owned(),
        retry_at: None,
    };
    let barred = Verdict::Rejected("=HYPERLINK(\"x\")\n, barred".to_owned());
    let sent = vec![
        attempt(1, Lane::Sms, 0, Some((40, throttled))),
        attempt(
            2,
            Lane::Sms,
            1_000,
            Some((123, Verdict::Accepted("SM1".to_owned()))),
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
    let right = Verdict::Accepted("verified!".to_owned());
    row(
        2,
        "9876543210,******",
        Some(919_876_543_210),
        Lane::Verify,
        RowState::Job(vec![attempt(1, Lane::Verify, 0, Some((5, right)))]),
    )
}
