//! Something that hands out connections by transaction stands between: nothing may hang on a session.

use otpdrive::ledger::postgres::{Address, Driver, wait};
use tokio_postgres::Client;

use super::bouncer::Bouncer;
use super::{Fleet, holds_the_rate, server};
use crate::proof::quick_or_long;
use crate::support::gate::{Logged, counts};
use crate::support::postgres::Cluster;
use crate::support::workdir::{Otpdrive, Running};
use crate::support::{code, phone};

const ROWS: usize = 200;
const RATE: usize = 100;

/// Connections to the server: two processes have some more to what stands between. While one takes the
/// list in, the other one waits in a transaction, and nothing is left for anybody else.
const CONNECTIONS: usize = 2;

/// Two processes do this at once, and end well, whatever happens meanwhile.
fn by_two(command: impl Fn(&str) -> Otpdrive, meanwhile: impl FnOnce()) {
    let start = |out| command(out).flags(format!("--rate {RATE}/s")).start();
    let workers: Vec<Running> = ["one", "two"].map(start).into();
    meanwhile();
    for worker in workers {
        let ran = worker.end();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}

/// The sessions of the server that others than us have.
fn sessions(server: &Cluster) -> Vec<Option<String>> {
    let found = server.sql(
        "SELECT pid FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid",
    );
    found.into_iter().flatten().collect()
}

/// What is named in a session that it would not be rid of: prepared statements, cursors, settings.
fn named(client: &Client) -> Vec<String> {
    let sql = "SELECT name FROM pg_prepared_statements
               UNION ALL SELECT name FROM pg_cursors WHERE name <> ''
               UNION ALL SELECT name FROM pg_settings
                WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding')";
    let found = wait(client.query_typed(sql, &[])).unwrap();
    found.iter().map(|row| row.get(0)).collect()
}

#[test]
#[ignore = "tests/prove fleet"]
fn connections_that_are_handed_out_by_transaction_are_enough() {
    let (mut server, _) = server();
    // In the long form longer than a lease.
    let bouncer = Bouncer::before(&server, CONNECTIONS, quick_or_long(1, 15));
    let fleet = Fleet::new(ROWS, bouncer.address());
    by_two(
        |out| fleet.send(out),
        || {
            fleet.wait_for(ROWS / 2);
            server.restart_immediately();
        },
    );
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    let lines = (0..ROWS).map(|n| format!("{},{}\n", phone(n), code(n)));
    let lines = lines.collect::<Vec<_>>().concat();
    fleet.dir.write("codes.csv", format!("phone,otp\n{lines}"));
    let verify = |out: &str| {
        let verify = fleet.dir.verify_at(fleet.gate.url()).input("codes.csv");
        verify.args(&["--out", out, "--ledger", &fleet.address])
    };
    by_two(verify, || ());
    let log = fleet.gate.settled_log();
    let codes = log
        .iter()
        .filter(|it| it.path == "verifyotp" && it.accepted);
    let codes: Vec<Logged> = codes.cloned().collect();
    assert_eq!((codes.len(), counts(&codes).len()), (ROWS, ROWS));
    assert_eq!(log.len(), 2 * ROWS);
    let most = holds_the_rate(RATE, &log);
    let sessions = leaves_nothing(&server, bouncer.address());
    assert_eq!(sessions, CONNECTIONS, "{}", bouncer.log());
    println!(
        "2 processes through pgbouncer and {sessions} sessions, {ROWS} rows and codes: each once, at most {most} in a second at {RATE}/s"
    );
}

/// Nothing of those who were there is left in the sessions that they used, which are so many.
fn leaves_nothing(server: &Cluster, address: &str) -> usize {
    let used = sessions(server);
    let driver = Driver::start().unwrap();
    let address = Address::parse(address, |_| None).unwrap();
    let connect = |_| wait(driver.connect(&address, |_| ())).unwrap();
    let clients: Vec<Client> = used.iter().map(connect).collect();
    // From here on each has one of them for itself.
    for client in &clients {
        wait(client.batch_execute("BEGIN")).unwrap();
    }
    assert_eq!(sessions(server), used);
    for client in &clients {
        assert_eq!(named(client), Vec::<String>::new());
    }
    // What is left is found.
    wait(clients[0].batch_execute("PREPARE kept AS SELECT 1; SET jit TO off")).unwrap();
    assert_eq!(named(&clients[0]), ["kept", "jit"]);
    used.len()
}
