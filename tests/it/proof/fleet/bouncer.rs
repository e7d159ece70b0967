//! pgbouncer before a server, which hands out its connections by transaction.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::support::postgres::{self, Cluster, PASSWORD};
use crate::support::wait_until;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Ends when it is dropped.
pub struct Bouncer {
    child: Child,
    /// With its settings, and what it says.
    dir: TempDir,
    address: String,
}

impl Bouncer {
    /// One before this server, with so many connections to it. Where it has found the server away it
    /// lets nobody through for `away` seconds.
    pub fn before(server: &Cluster, connections: usize, away: usize) -> Self {
        let dir = postgres::folder();
        let users = dir.path().join("users");
        fs::write(&users, format!("\"postgres\" \"{PASSWORD}\"\n")).unwrap();
        postgres::own(&users);
        // Somebody else may take the port before it does.
        for _ in 0..20 {
            let port = postgres::free_port();
            let settings = format!(
                "[databases]\n* = host={} port={}\n[pgbouncer]\npool_mode = transaction\ndefault_pool_size = {connections}\nserver_login_retry = {away}\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n",
                server.socket().display(),
                server.port(),
                users.display(),
            );
            fs::write(dir.path().join("settings"), settings).unwrap();
            let mut child = launch(dir.path());
            if is_up(port, &mut child) {
                let of_server = format!(":{}/", server.port());
                let address = server.address().replace(&of_server, &format!(":{port}/"));
                return Self {
                    child,
                    dir,
                    address,
                };
            }
        }
        panic!("it does not come up: {}", log(dir.path()));
    }

    /// Where it is, as the address of a ledger.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has said.
    pub fn log(&self) -> String {
        log(self.dir.path())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(dir: &Path) -> Child {
    let log = File::create(dir.join("log")).unwrap();
    let mut command = postgres::by_user(Path::new(PROGRAM));
    command.arg(dir.join("settings")).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(log).spawn().unwrap()
}

/// Waits until somebody can connect; `false`: it has ended.
fn is_up(port: u16, child: &mut Child) -> bool {
    let mut has_ended = false;
    wait_until("pgbouncer is up, or has ended", || {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    !has_ended
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
