//! How often a server is asked, and how much it reads for it: neither may grow with each row.

use crate::support::postgres::{Cluster, Sync};
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone, wait_until};

const ROWS: usize = 3_000;

/// A server that notes what it is asked. Nobody tells it how its tables have grown: as it is while
/// a run is on.
struct Watched {
    server: Cluster,
    address: String,
}

/// What a server was asked, and how many rows it went through where it had no key.
#[derive(Debug)]
struct Asked {
    statements: usize,
    gone_through: usize,
}

impl Watched {
    fn new() -> Self {
        let server = Cluster::with(Sync::Off, &["log_statement=all", "autovacuum=off"]);
        let address = server.address();
        Self { server, address }
    }

    fn so_far(&self) -> Asked {
        let others =
            "SELECT 1 FROM pg_stat_activity WHERE datname <> '' AND pid <> pg_backend_pid()";
        wait_until("the others have left the server", || {
            self.server.sql(others).is_empty()
        });
        let rows = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables";
        let rows = self.server.sql(rows)[0][0].clone().unwrap();
        let log = self.server.log();
        Asked {
            statements: log.matches("LOG:  execute").count()
                + log.matches("LOG:  statement").count(),
            gone_through: rows.parse().unwrap(),
        }
    }

    fn run(&self, command: Otpdrive) {
        let ran = command.args(&["--ledger", &self.address]).run();
        assert!([0, 1, 3].contains(&ran.code), "{}", ran.stderr);
    }

    /// Runs a command that may not ask, nor read, for each row by itself.
    fn few(&self, what: &str, command: Otpdrive) {
        let before = self.so_far();
        self.run(command);
        let after = self.so_far();
        let statements = after.statements - before.statements;
        let gone_through = after.gone_through - before.gone_through;
        println!("{what}: {statements} statements, {gone_through} rows gone through");
        assert!(statements < ROWS / 4, "{what}: {statements} statements");
        assert!(gone_through < ROWS * 60, "{what}: {gone_through} rows");
    }
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_server_is_not_asked_row_by_row() {
    let watched = Watched::new();
    let stub = Stub::start();
    stub.default(|_, _| Reply::success());
    let dir = Workdir::with(contacts(0..ROWS));
    let quick = |command: Otpdrive| command.flags("--rate unlimited --concurrency 256");
    let one = |command: Otpdrive| quick(command).flags("--limit 1");
    watched.run(quick(dir.send(&stub)));
    watched.few("the same list again", quick(dir.send(&stub)));
    dir.write("list.csv", contacts(ROWS / 2..ROWS * 3 / 2));
    watched.few("a list of which half is new", one(dir.send(&stub)));
    watched.few("the same again", one(dir.send(&stub)));
    dir.write("list.csv", contacts(0..ROWS));
    watched.few("the first list again", one(dir.send(&stub)));
    dir.write("told.csv", dir.read("list-results/results.csv"));
    let told = dir.send(&stub).input("told.csv").flags("--campaign list");
    watched.few("its results", one(told));
    watched.few("its report", dir.line("report --campaign list"));
    let codes = (0..ROWS).map(|n| format!("{},{}\n", phone(n), 1_000 + n));
    let codes = codes.collect::<Vec<_>>().concat();
    dir.write("codes.csv", format!("phone,otp\n{codes}"));
    watched.few("codes", one(dir.verify(&stub).input("codes.csv")));
    watched.run(quick(dir.verify(&stub).input("codes.csv")).args(&["--out", "codes-results"]));
    dir.write("masked.csv", dir.read("codes-results/results.csv"));
    let masked = dir
        .verify(&stub)
        .input("masked.csv")
        .flags("--campaign codes");
    watched.few("masked codes", one(masked));
    for line in [
        "status",
        "status --verify",
        "report --operation send --campaign list --unverified",
    ] {
        watched.few(line, dir.line(line));
    }
}
