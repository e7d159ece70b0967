//! What all processes count together: `--limit`, `--budget`, daily caps.

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use futures::future::join_all;
use otpdrive::clock::wall;
use otpdrive::job::{Attempt, Job, Lane, Operation};
use otpdrive::ledger::{At, Begun, Ceiling, Ceilings, Execution, Ledger, NewRun, Run, Store, Then};
use otpdrive::pace::Rate;
use otpdrive::run::RunId;

use super::proxy::Proxy;
use super::{Fleet, server};
use crate::ledger::{RUN, input, key, sends};
use crate::proof::quick_or_long;
use crate::support::postgres::Cluster;
use crate::support::workdir::Running;
use crate::support::{contacts, wait_until};

const ROWS: usize = 400;

/// Three processes on this fleet.
fn three(fleet: &Fleet, flags: &str) -> Vec<Running> {
    let start = |out: &&str| fleet.send(out).flags(flags).start();
    ["one", "two", "three"].iter().map(start).collect()
}

/// So many numbers were begun.
fn begun(server: &Cluster) -> usize {
    let begun = server.sql("SELECT count(DISTINCT id >> 20) FROM otpdrive.intent");
    begun[0][0].as_ref().unwrap().parse().unwrap()
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_limit_is_that_of_all_whoever_dies_and_whatever_reply_is_lost() {
    const LIMIT: usize = 150;
    let (server, _) = server();
    let proxy = Proxy::to(server.port());
    let port = server.port().to_string();
    let through = format!(":{}/", proxy.port());
    let address = server.address().replace(&format!(":{port}/"), &through);
    let fleet = Fleet::new(ROWS, &address);
    let mut workers = three(&fleet, &format!("--limit {LIMIT} --rate 100/s"));
    fleet.wait_for(LIMIT / 3);
    for _ in 0..quick_or_long(2, 10) {
        proxy.lose_reply_to("UPDATE otpdrive.run_count");
    }
    workers.remove(0).kill();
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.says("--limit was reached");
    }
    assert_eq!(begun(&server), LIMIT);
    let asked = fleet.gate.settled_log().len();
    assert!(
        (LIMIT - super::CONCURRENCY..=LIMIT).contains(&asked),
        "{asked}"
    );
    // Somebody else may set another one when the dead one's lease is over.
    wait_until("nobody is there", || {
        server.sql("SELECT 1 FROM otpdrive.worker_on").is_empty()
    });
    fleet.judge(super::CONCURRENCY);
    println!(
        "--limit {LIMIT} over 3 processes, one killed, {} replies lost: {LIMIT} numbers begun",
        proxy.lost()
    );
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_budget_is_that_of_all() {
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    // What was spent before is counted, too.
    // All at once: what they count, they count one after the other.
    let priced = "--price sms=0.25 --rate unlimited --concurrency 32";
    let before = fleet.send("before").flags(format!("{priced} --limit 40"));
    before.ends(3);
    for worker in three(&fleet, &format!("{priced} --budget 40.10")) {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.says("40 is spent");
    }
    assert_eq!(fleet.gate.settled_log().len(), 160);
    assert_eq!(begun(&server), 160);
    println!("--budget over 3 processes: used to the last request");
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_daily_cap_is_that_of_all_and_of_those_who_have_none() {
    const CAP: usize = 120;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    fleet.dir.write("other.csv", contacts(ROWS..ROWS + 20));
    let other = fleet
        .send("other")
        .input("other.csv")
        .flags("--campaign other");
    other.ends(0);
    let workers = three(
        &fleet,
        &format!("--daily-cap {CAP} --timezone UTC --rate 200/s"),
    );
    fleet.wait_for(CAP);
    // It is a minute until those without a cap are counted again, and a day until one may go on.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut waited = 0;
    for worker in workers {
        worker.signal("TERM");
        let ran = worker.end_soon();
        assert_eq!(ran.code, 143, "{}", ran.stderr);
        waited += usize::from(ran.stderr.contains("the day's cap is reached"));
    }
    assert!(waited > 0, "whoever has rows says so");
    assert_eq!(fleet.gate.settled_log().len(), CAP);
    let counted = server.sql("SELECT sms FROM otpdrive.day_count");
    assert_eq!(counted[0][0], Some((CAP - 20).to_string()));
    println!("--daily-cap {CAP} over 3 processes, 20 sent before without one: {CAP} in all");
}

/// Each takes its rows, all of them begin at one moment, and each ceiling is reached and not exceeded.
#[tokio::test]
#[ignore = "tests/prove fleet"]
async fn whatever_is_begun_at_one_moment_is_counted_one_after_the_other() {
    let (_server, address) = server();
    let limit = Ceilings {
        limit: Some(150),
        ..Ceilings::default()
    };
    let mut cap = Ceilings::default();
    cap.calendar.all.daily_cap = 150.try_into().ok();
    let budget = Ceilings {
        prices: "sms=2".parse().unwrap(),
        budget: Some("301".parse().unwrap()),
        ..Ceilings::default()
    };
    let all = [
        (limit, Ceiling::Limit),
        (cap, Ceiling::DailyCap),
        (budget, Ceiling::Budget),
    ];
    for (nth, (ceilings, ceiling)) in all.into_iter().enumerate() {
        let address = format!("{address}?schema=of{nth}");
        let began = begin_all(&At::parse(&address, |_| None).unwrap(), &ceilings).await;
        let expected = [(Begun::GO, 150), (Begun::Beyond(ceiling), 250)];
        assert_eq!(
            began,
            HashMap::from(expected.map(|(begun, count)| (format!("{begun:?}"), count)))
        );
    }
}

/// What came of 400 intents that two processes hand over at one moment.
async fn begin_all(at: &At, ceilings: &Ceilings) -> HashMap<String, usize> {
    let numbers: Vec<u64> = (0..400).collect();
    let rows = sends(&numbers);
    let mut one = Store::open(at).unwrap();
    let contacts = rows.iter().cloned().map(Ok::<_, Infallible>);
    let intake = one.take_in(&key(Operation::Send), &input(&rows), "reading", contacts);
    // So that both get slices of it.
    let rate = NonZeroU32::new(32).map(|requests| Rate {
        requests,
        per: Duration::from_secs(1),
    });
    let new = NewRun {
        rates: [rate, None],
        ceilings: Some(ceilings),
        ..RUN
    };
    let (campaign, run) = intake.unwrap().unwrap().begin_run(wall(), &new).unwrap();
    let mut two = Store::open(at).unwrap();
    two.join(&campaign, run).unwrap();
    let ledgers = [one, two].map(|ledger| {
        let clock = ledger.clock().unwrap();
        let execution = Execution::Threads;
        ledger
            .start(&campaign, run, clock, execution, Some(ceilings))
            .unwrap()
    });
    let mut jobs = Vec::new();
    for ledger in ledgers.iter().cycle() {
        let day = ceilings.calendar.day(ledger.clock().now());
        ledger.left_on(day).await.unwrap();
        let due = ledger.due(Lane::Sms, 1_024).await.unwrap();
        jobs.extend(due.jobs.into_iter().map(|job| (ledger, job)));
        if due.then != Then::More {
            break;
        }
    }
    let intend = async |(ledger, job): &(&Run, Job)| {
        let begun = ledger.begin(job, &first(job, run, ledger)).await.unwrap();
        match begun {
            Begun::Go { .. } => Begun::GO,
            other => other,
        }
    };
    let mut counts = HashMap::new();
    for begun in join_all(jobs.iter().map(intend)).await {
        *counts.entry(format!("{begun:?}")).or_default() += 1;
    }
    for ledger in ledgers {
        Store::close(ledger).await;
    }
    counts
}

fn first(job: &Job, run: RunId, ledger: &Run) -> Attempt {
    Attempt {
        n: 1,
        run,
        lane: job.lane,
        begun_at: ledger.clock().now(),
        answer: None,
        lookup: None,
    }
}
