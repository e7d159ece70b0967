//! A ledger that several machines share, in PostgreSQL, against real servers.
//!
//! `connect` is who is let in, and what is said to the others; `ledger` and `same` hold one on a server
//! against one in a file; `joined` is who works together; `killed` and `stopped` are processes that
//! die or stand still; `away` are servers and connections that do, or have no room; `alone` is who does
//! not reach the gateway; `brakes` is what one hears and all have to heed, and the rate of all;
//! `ceilings` is what all count together; `pooled` is pgbouncer between, `snapshot` who looks on all the
//! while; `restored` is a server whose history is another one; `secrets` is what the server never gets
//! to see; `work` who joins without a list; `copy` a ledger that moves, `older` one of an older version;
//! `trips` how often a server is asked. What left is judged by the gateway's own log.

mod alone;
mod away;
mod bouncer;
mod brakes;
mod ceilings;
mod connect;
mod copy;
mod joined;
mod killed;
mod ledger;
mod older;
mod pooled;
mod proxy;
mod restored;
mod same;
mod secrets;
mod snapshot;
mod stopped;
mod trips;
mod work;

use std::time::Duration;

use otpdrive::ledger::postgres::{Address, Driver, NoConnection, wait};

use super::nobody_twice_nobody_lost;
use crate::support::Counts;
use crate::support::contacts;
use crate::support::gate::{Gate, Logged, counts};
use crate::support::postgres::Cluster;
use crate::support::workdir::{Otpdrive, Workdir};

/// Requests in flight at once, of each process.
const CONCURRENCY: usize = 4;

/// A list, a gateway that accepts everything, and a ledger on a server, for several processes.
struct Fleet {
    gate: Gate,
    dir: Workdir,
    address: String,
    rows: usize,
}

impl Fleet {
    /// A list of so many numbers, at this address of a ledger.
    fn new(rows: usize, address: &str) -> Self {
        Self {
            gate: Gate::start(&["--latency", "5ms..40ms"]),
            dir: Workdir::with(contacts(0..rows)),
            address: address.to_owned(),
            rows,
        }
    }

    /// The campaign, with the results in a folder of its own.
    fn send(&self, out: &str) -> Otpdrive {
        let concurrency = CONCURRENCY.to_string();
        let send = self.dir.send_to(self.gate.url()).default("--out", out);
        let send = send.default("--concurrency", &concurrency);
        send.args(&["--ledger", &self.address])
    }

    /// Another command on the same ledger.
    fn line(&self, line: &str) -> Otpdrive {
        self.dir.line(line).args(&["--ledger", &self.address])
    }

    /// Waits until so many requests have arrived in all.
    fn wait_for(&self, requests: usize) {
        let what = format!("{requests} requests arrived");
        crate::support::wait_until(&what, || self.gate.log().len() >= requests);
    }

    /// Runs it to its end, and holds the end against all that the gateway saw, where at most so many
    /// rows may be `unknown`. Gives how many are.
    #[track_caller]
    fn judge(&self, most: usize) -> usize {
        let ran = self.send("list-results").run();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
        let asked = counts(&self.gate.settled_log());
        let unknown = nobody_twice_nobody_lost(&self.dir, self.rows, &asked, &Counts::new());
        assert_eq!(ran.code, i32::from(unknown > 0), "{}", ran.stderr);
        assert!(unknown <= most, "{unknown} unknown, {most} allowed");
        assert_eq!(self.dir.report()["state"], "complete");
        let verified = self.line("status --verify").ends(0);
        assert!(verified.stdout.contains("is sound"), "{verified:?}");
        unknown
    }
}

/// The most requests in any sliding second, which must not be more than the rate of all allows.
#[track_caller]
fn holds_the_rate(rate: usize, log: &[Logged]) -> usize {
    let mut times: Vec<f64> = log.iter().map(|request| request.t).collect();
    times.sort_by(f64::total_cmp);
    let end = |from: &f64| times.partition_point(|at| *at < from + 1.0);
    let within = times.iter().enumerate().map(|(nth, from)| end(from) - nth);
    let most = within.max().unwrap_or(0);
    let allowed = rate + rate / 50 + 1;
    assert!(most <= allowed, "{most} in a second at {rate}/s");
    most
}

/// Which share of this rate was held while there was work for all: without the beginning and the end.
fn share_held(rate: usize, log: &[Logged]) -> f64 {
    let (from, till) = (rate / 2, log.len() - rate / 2);
    let at_the_rate =
        Duration::from_secs(1) * u32::try_from(till - from).unwrap() / u32::try_from(rate).unwrap();
    at_the_rate.as_secs_f64() / (log[till].t - log[from].t)
}

/// A server, and the address of its ledger.
fn server() -> (Cluster, String) {
    let server = Cluster::start();
    let address = server.address();
    (server, address)
}

/// Goes in at this address; gives what the server says whom it sees, and whether by TLS.
fn enter(address: &str) -> Result<Entered, NoConnection> {
    let address = Address::parse(address, |_| None).unwrap();
    let driver = Driver::start().unwrap();
    let client = wait(driver.connect(&address, |_| ()))?;
    let asked = client.query_one(
        "SELECT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()",
        &[],
    );
    let said = wait(asked).unwrap();
    Ok(Entered {
        by_tls: said.get(0),
        name: said.get(1),
    })
}

/// What the server sees of us.
#[derive(Debug)]
struct Entered {
    by_tls: bool,
    name: String,
}
