//! A machine that does not reach the gateway, beside one that does.

use super::proxy::Proxy;
use super::{CONCURRENCY, Fleet, server};
use crate::support::stub::{self, Stub};
use crate::support::wait_until;

/// It waits for its network, as long as an outage may last; its rows do not.
#[test]
#[ignore = "tests/prove fleet"]
fn whoever_does_not_reach_the_gateway_holds_nobody_up() {
    const ROWS: usize = 160;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let start = |out: &str, way: &[&str]| {
        let send = fleet.send(out).flags("--rate 100/s --max-outage 1h");
        send.args(way).start()
    };
    // Its way to the gateway leads nowhere.
    let nowhere = stub::url(Stub::nowhere());
    let alone = start("alone", &["--proxy", &nowhere]);
    let is_there = |sql: &str| !server.sql(sql).is_empty();
    wait_until("it knows of its outage", || {
        is_there("SELECT 1 FROM pg_tables WHERE schemaname = 'otpdrive' AND tablename = 'run_fact'")
            && is_there("SELECT 1 FROM otpdrive.run_fact WHERE fact LIKE '%outage_began%'")
    });
    let other = start("other", &[]);
    wait_until("all are asked", || fleet.gate.log().len() >= ROWS);
    let ran = other.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    alone.signal("TERM");
    alone.end_soon();
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!(
        "{ROWS} rows asked by one of 2 processes, while the other one did not reach the gateway"
    );
}

/// What it had asked for when its network broke may be unknown; the rest goes to the others.
#[test]
#[ignore = "tests/prove fleet"]
fn whoever_does_not_reach_the_gateway_any_more_hands_its_rows_on() {
    const ROWS: usize = 160;
    let (_server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let start = |out: &str, endpoint: &str| {
        let send = fleet.send(out).flags("--rate 100/s --max-outage 1h");
        send.args(&["--endpoint", endpoint]).start()
    };
    let direct = fleet.gate.url();
    let host = direct.split('/').nth(2).unwrap();
    let port = host.split(':').nth(1).unwrap();
    let way = Proxy::to(port.parse().unwrap());
    let round = direct.replace(port, &way.port().to_string());
    let alone = start("alone", &round);
    fleet.wait_for(20);
    let other = start("other", direct);
    fleet.wait_for(60);
    drop(way);
    let ran = other.end_soon();
    assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
    let asked = fleet.gate.settled_log().len();
    alone.signal("TERM");
    alone.end_soon();
    let unknown = fleet.judge(CONCURRENCY);
    assert!(asked >= ROWS - unknown, "{asked} asked, {unknown} unknown");
    println!(
        "one of 2 processes lost the gateway: the other one asked the rest, {unknown} unknown"
    );
}
