//! Tables that an older version has made.

use super::{Fleet, server};

/// The tables as the first format has them.
const FIRST: &str = "SET search_path TO otpdrive;
    DROP TABLE run_count, day_count;
    DROP VIEW worker_on;
    ALTER TABLE worker DROP COLUMN outages, ADD COLUMN sharing bigint NOT NULL DEFAULT 0;
    CREATE VIEW worker_on AS SELECT * FROM worker
     WHERE finished_at IS NULL AND lost_at IS NULL AND lease_until > now_micros();
    UPDATE ledger SET format = 1;";

#[test]
#[ignore = "tests/prove fleet"]
fn tables_of_an_older_version_are_brought_up_to_date_when_nobody_works_with_them() {
    const ROWS: usize = 40;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    fleet.send("before").flags("--limit 10").ends(3);
    server.sql(FIRST);
    let lease = |until: &str| {
        format!("UPDATE otpdrive.worker SET finished_at = NULL, lease_until = {until}")
    };
    server.sql(&lease("otpdrive.now_micros() + 60000000"));
    let kept_out = fleet.send("after").flags("--limit 10").ends(2);
    kept_out.says("those of an older version, with which others work right now");
    assert_eq!(fleet.gate.log().len(), 10);
    // Who only reads needs nothing of what is new.
    fleet.line("status").ends(0);
    server.sql(&lease("0"));
    fleet.send("after").flags("--limit 10").ends(3);
    assert_eq!(fleet.gate.settled_log().len(), 20);
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
}
