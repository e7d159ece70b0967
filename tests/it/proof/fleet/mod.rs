//! A ledger that several machines share, in PostgreSQL, against real servers.
//!
//! `connect` is who is let in, and what is said to the others; `work` who joins a run.

mod connect;
mod copy;
mod work;

use otpdrive::ledger::postgres::{Address, Driver, NoConnection, wait};

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
