//! The work of the hot rooms, to have its instructions counted.
//!
//! What is made beforehand costs the same however often the work is done, so the difference between
//! two counts is the work alone. Shared by the program that is counted and by `tests/it`, which keeps
//! it in step with the house, so it names nothing of what is around it.

use std::convert::Infallible;
use std::fs;
use std::hint::black_box;

use anyhow::ensure;
use futures::future::join_all;
use otpdrive::clock::Clock;
use otpdrive::contacts::{self, ReadOptions, Region};
use otpdrive::gateway;
use otpdrive::gateway::words::{Reply, cut, verdict};
use otpdrive::job::{
    Answer, Attempt, Channel, Contact, Job, Lane, Operation, Request, Told, UnixMicros, Verdict,
    VerdictKind,
};
use otpdrive::ledger::{CampaignKey, Execution, Ledger, NewRun, Run, Store, Then};
use otpdrive::next::{Step, next_step};
use otpdrive::number::Number;
use otpdrive::record::InputRecord;
use otpdrive::run::{Policy, RunFacts, RunId, Runs, WhenUncertain};
use otpdrive::status::{Status, outcome};
use secrecy::SecretString;
use serde_json::Value;
use tokio::task::unconstrained;

/// Does the work of a room so many times.
pub type Work = fn(usize) -> anyhow::Result<()>;

/// The rooms: a name, what is done once, and the work.
pub const ROOMS: [(&str, &str, Work); 7] = [
    ("number", "a number read", number),
    ("row", "a row of CSV read, both readings", row),
    ("answer", "an answer read, and seen to hold no key", answer),
    ("redaction", "a key taken out of an answer", redaction),
    ("outcome", "the fold over three attempts", fold),
    ("next_step", "the next step after three attempts", step),
    (
        "record",
        "an intent and an answer written to a file, 64 of each in a commit",
        record,
    ),
];

const KEY: &str = "KK0123456789abcdef0123456789abcdef";

/// When everything happens: in November 2023.
const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

const POLICY: Policy = Policy {
    max_attempts: 3,
    fallback: None,
    on_unknown: WhenUncertain::Hold,
    on_server_error: WhenUncertain::Retry,
};

/// So many rows are taken in for [`record`], the most that it can be asked for.
const ROWS: u32 = 8_192;

/// So many requests are begun at once.
const GROUP: usize = 64;

fn number(times: usize) -> anyhow::Result<()> {
    const CELLS: [&str; 4] = [
        "9876543210",
        "+919876543210",
        "+91 98765 43210",
        "09876543210",
    ];
    for cell in CELLS.into_iter().cycle().take(times) {
        let read = black_box(contacts::read_number(black_box(cell), Region::IN));
        ensure!(read.is_ok(), "{cell} is a number");
    }
    Ok(())
}

fn row(times: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("list.csv");
    let rows = "9876543210,Person 1,Pune\n".repeat(times);
    fs::write(&path, format!("phone,name,city\n{rows}"))?;
    let options = ReadOptions::new(Operation::Send, Channel::Sms);
    let mut input = contacts::open(&path, options)?;
    let survey = input.survey()?;
    for contact in input.contacts(&survey)? {
        ensure!(black_box(contact?).request.is_ok(), "it is a number");
    }
    Ok(())
}

fn answer(times: usize) -> anyhow::Result<()> {
    const BODY: &[u8] = br#"{"status":"success","message":"9f86d081884c7d65"}"#;
    let redactor = gateway::redactor(&SecretString::from(KEY));
    for _ in 0..times {
        let reply = Reply {
            status: 200,
            retry_after: None,
            body: Ok(BODY),
        };
        let mut verdict = verdict(Lane::Sms, black_box(&reply), NOW);
        verdict.text = cut(redactor.clean(&verdict.text).into_owned());
        let verdict = black_box(verdict);
        ensure!(verdict.kind == VerdictKind::Accepted, "{verdict:?}");
    }
    Ok(())
}

fn redaction(times: usize) -> anyhow::Result<()> {
    let text = format!("no account for /smsotp?phone_no=%2B919876543210&api_key={KEY}");
    let redactor = gateway::redactor(&SecretString::from(KEY));
    for _ in 0..times {
        let clean = black_box(redactor.clean(black_box(&text)));
        ensure!(!clean.contains(KEY), "a key is left");
    }
    Ok(())
}

fn fold(times: usize) -> anyhow::Result<()> {
    let (attempts, runs) = history();
    for _ in 0..times {
        let outcome = black_box(outcome(Lane::Sms, black_box(&attempts), black_box(&runs)));
        ensure!(outcome.status == Status::Sent, "{outcome:?}");
    }
    Ok(())
}

fn step(times: usize) -> anyhow::Result<()> {
    let (attempts, runs) = history();
    for _ in 0..times {
        let step = black_box(next_step(Lane::Sms, black_box(&attempts), black_box(&runs)));
        ensure!(step == Step::Rest, "{step:?}");
    }
    Ok(())
}

/// A number that was sent to at the third try.
fn history() -> (Vec<Attempt>, Runs) {
    let run = RunId(1);
    let kinds = [
        VerdictKind::Throttled,
        VerdictKind::Unreachable,
        VerdictKind::Accepted,
    ];
    let attempts = (1..).zip(kinds).map(|(n, kind)| Attempt {
        answer: Some(answered(kind)),
        ..begun(n, run)
    });
    let mut runs = Runs::default();
    runs.insert(run, RunFacts::new(POLICY));
    (attempts.collect(), runs)
}

fn begun(n: u32, run: RunId) -> Attempt {
    Attempt {
        n,
        run,
        lane: Lane::Sms,
        begun_at: NOW,
        answer: None,
        lookup: None,
    }
}

fn answered(kind: VerdictKind) -> Answer {
    Answer {
        left_at: kind.may_have_left().then_some(NOW),
        answered_at: NOW,
        verdict: Verdict::new(kind, "9f86d081884c7d65"),
    }
}

fn record(times: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    // Were the engine interrupted for the writer's sake, the groups would be others.
    runtime.block_on(unconstrained(async {
        let mut store = Store::open(&folder.path().join("otpdrive.db"))?;
        let key = CampaignKey {
            operation: Operation::Send,
            name: "list".to_owned(),
            sandbox: false,
        };
        let new = NewRun {
            policy: POLICY,
            endpoint: "https://kookoo.example",
            settings: &Value::Null,
            rates: [None; 2],
            ceilings: None,
            billed: [0; 3],
        };
        let Ok(intake) =
            store.take_in(&key, &input(), "reading", rows().map(Ok::<_, Infallible>))?;
        let (campaign, run) = intake.begin_run(NOW, &new)?;
        let ledger = store.start(&campaign, run, Clock::at(NOW), Execution::Inline, None)?;
        let jobs = all_due(&ledger).await?;
        ensure!(times <= jobs.len(), "at most {ROWS}");
        for group in jobs[..times].chunks(GROUP) {
            let attempt = begun(1, run);
            for begun in join_all(group.iter().map(|job| ledger.begin(job, &attempt))).await {
                begun?;
            }
            for job in group {
                ledger
                    .answer(job.id, 1, &answered(VerdictKind::Accepted))
                    .await;
            }
        }
        ledger.flush().await?;
        let (_, lost) = Store::close(ledger).await;
        ensure!(lost == 0, "{lost} answers are lost");
        Ok(())
    }))
}

fn input() -> InputRecord {
    InputRecord {
        name: "list.csv".to_owned(),
        sha256: "0".repeat(64),
        rows: ROWS.into(),
        header: "phone".to_owned(),
    }
}

fn rows() -> impl Iterator<Item = Contact> {
    let numbers = (0..ROWS).filter_map(|n| Number::new(919_000_000_000 + u64::from(n)));
    (2..).zip(numbers).map(|(line, number)| Contact {
        line,
        record: "9876543210".to_owned(),
        told: Told::Nothing,
        request: Ok(Request {
            number,
            lane: Lane::Sms,
            code: None,
            assumed_mobile: false,
        }),
    })
}

async fn all_due(ledger: &Run) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    loop {
        let due = ledger.due(Lane::Sms, 1_024).await?;
        jobs.extend(due.jobs);
        if due.then == Then::Done {
            return Ok(jobs);
        }
    }
}
