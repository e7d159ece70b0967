//! Somebody looks at the tables for as long as a run takes: what was overwritten since has to be kept
//! for him.

use otpdrive::ledger::postgres::{Address, Driver, wait};
use tokio_postgres::Client;

use super::{Fleet, holds_the_rate, server, share_held};
use crate::proof::quick_or_long;
use crate::support::postgres::{Cluster, Rows};

/// What a run overwrites, how often, how often of that without a new entry in an index, and the size.
fn overwritten(server: &Cluster) -> Rows {
    server.sql(
        "SELECT relname, n_tup_upd, n_tup_hot_upd, pg_relation_size(relid) / 1024
           FROM pg_stat_user_tables
          WHERE schemaname = 'otpdrive' AND n_tup_upd > 20 ORDER BY relname",
    )
}

/// How many intents somebody sees.
fn intents(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM otpdrive.intent";
    wait(client.query_typed(sql, &[])).unwrap()[0].get(0)
}

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_looks_for_as_long_as_a_run_takes_does_not_slow_it_down() {
    // Other proofs are at work beside the short form.
    let (rate, seconds, least) = quick_or_long((100, 8, 0.8), (300, 120, 0.97));
    let (server, address) = server();
    let fleet = Fleet::new(rate * seconds, &address);
    let workers = ["one", "two"].map(|out| {
        let send = fleet.send(out).flags(format!("--rate {rate}/s"));
        send.args(&["--concurrency", "16"]).start()
    });
    fleet.wait_for(rate / 4);
    let driver = Driver::start().unwrap();
    let address = Address::parse(&address, |_| None).unwrap();
    let looking = wait(driver.connect(&address, |_| ())).unwrap();
    wait(looking.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")).unwrap();
    let seen = intents(&looking);
    for worker in workers {
        let ran = worker.end();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(intents(&looking), seen, "it still looks at that moment");
    let overwritten = overwritten(&server);
    let log = fleet.gate.settled_log();
    let most = holds_the_rate(rate, &log);
    let held = share_held(rate, &log);
    assert!(held >= least, "{held:.3} of {rate}/s");
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(fleet.rows);
    println!(
        "looked at from {seen} to {} rows: {:.1} % of {rate}/s, at most {most} in a second",
        fleet.rows,
        held * 100.0
    );
    for row in overwritten {
        let cells: Vec<_> = row.into_iter().flatten().collect();
        let [table, times, in_place, size] = &cells[..] else {
            panic!("{cells:?}")
        };
        println!("  {table}: {times} times overwritten, {in_place} in place, {size} kB");
    }
}
