//! A server whose history is not the one in which all was written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Fleet, server};
use crate::support::postgres::Cluster;

/// Whoever begins is refused until it is accepted.
#[track_caller]
fn is_refused_until_accepted(fleet: &Fleet, why: &str) {
    let before = fleet.gate.settled_log().len();
    let ran = fleet.send("list-results").ends(2);
    for words in [why, "Nothing was sent", "--accept-timeline"] {
        ran.says(words);
    }
    assert_eq!(fleet.gate.settled_log().len(), before);
    // To look does no harm.
    fleet.line("status").ends(0);
    let accepted = fleet
        .send("list-results")
        .flags("--accept-timeline --limit 5");
    accepted.ends(3);
    assert_eq!(fleet.gate.settled_log().len(), before + 5);
}

#[test]
#[ignore = "tests/prove fleet"]
fn another_history_is_refused_until_it_is_accepted() {
    const ROWS: usize = 40;
    let (mut server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    fleet.send("list-results").flags("--limit 5").ends(3);
    server.sql("UPDATE otpdrive.ledger SET timeline = '00000009'");
    is_refused_until_accepted(&fleet, "a standby took over, or a backup was restored");
    server.sql("UPDATE otpdrive.ledger SET system = '1'");
    is_refused_until_accepted(&fleet, "it is another server");
    promote(&mut server);
    is_refused_until_accepted(&fleet, "(timeline 00000002, was 00000001)");
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!("another timeline, another server, a promotion: refused, and accepted");
}

/// Has the server go on as a standby that was made the first.
fn promote(server: &mut Cluster) {
    server.stop();
    let signal = server.socket().join("data/standby.signal");
    fs::write(&signal, "").unwrap();
    fs::set_permissions(&signal, fs::Permissions::from_mode(0o666)).unwrap();
    server.go_on();
    let promoted = server.sql("SELECT pg_promote()");
    assert_eq!(promoted, [[Some("t".to_owned())]]);
}

/// What was acknowledged may be missing there: who is at work stops.
#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_at_work_when_a_standby_takes_over_stops() {
    const ROWS: usize = 300;
    let (mut server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let workers = ["one", "two"].map(|out| fleet.send(out).flags("--rate 50/s").start());
    fleet.wait_for(50);
    promote(&mut server);
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.says("a standby took over, or a backup was restored");
        ran.says("--accept-timeline");
    }
    let asked = fleet.gate.settled_log().len();
    assert!(asked < ROWS / 2, "{asked} were asked");
    fleet.send("list-results").ends(2);
    fleet.send("list-results").flags("--accept-timeline").run();
    fleet.judge(2 * super::CONCURRENCY);
    println!("a standby took over after {asked} requests: all stopped");
}
