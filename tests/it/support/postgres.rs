//! A PostgreSQL server of its own for each use: made on the spot, on a port that was free, and gone
//! with the value.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use rcgen::CertificateParams;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::SOON;
use super::authority::Authority;
use super::disk::Disk;

/// The password of the user `postgres`.
pub const PASSWORD: &str = "pg 0123456789/secret@";

/// The same within an address.
pub const PASSWORD_ENCODED: &str = "pg%200123456789%2Fsecret%40";

/// Who lets whom in: us, beside the front door, through the socket, whoever has the password through
/// the network.
const DOORS: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// The same, but by TLS only.
const DOORS_BEHIND_TLS: &str = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";

/// What every server is told; the rest is PostgreSQL's own.
const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "shared_buffers=32MB",
    "max_connections=60",
    "full_page_writes=on",
    "log_min_duration_statement=-1",
];

/// More than the data of a server in these tests.
const SMALL_KIB: usize = 64 * 1024;

/// A server that runs.
pub struct Cluster {
    /// What its data are on, if that is a small disk of their own; taken away before the folder.
    disk: Option<Disk>,
    /// With `data`, `log`, and the socket.
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
    postmaster: Child,
}

/// Does a commit wait for the disk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It does, as in production.
    On,
    /// It does not: a crash of the server loses nothing all the same, one of the machine may.
    Off,
}

/// Somebody who may run a server: PostgreSQL refuses to run for root.
#[derive(Clone, Copy)]
struct User {
    id: u32,
    group: u32,
}

impl Cluster {
    /// A server that does not wait for the disk.
    pub fn start() -> Self {
        Self::with(Sync::Off, &[])
    }

    /// A server with these settings besides.
    pub fn with(sync: Sync, settings: &[&str]) -> Self {
        Self::make(sync, settings, DOORS, folder(), |_| ())
    }

    /// A server whose data are on a small disk of their own; `None` where mounting is not allowed.
    pub fn on_a_small_disk() -> Option<Self> {
        let dir = folder();
        let disk = Disk::mount(data_in(dir.path()), SMALL_KIB)?;
        let mut made = Self::make(Sync::Off, &[], DOORS, dir, |_| ());
        made.disk = Some(disk);
        Some(made)
    }

    /// A server that only TLS leads into, with a certificate like this.
    pub fn behind_tls(authority: &Authority, params: &CertificateParams) -> Self {
        let (certificate, key) = authority.pem(params);
        Self::make(Sync::Off, &["ssl=on"], DOORS_BEHIND_TLS, folder(), |data| {
            fs::write(data.join("server.crt"), certificate).unwrap();
            let path = data.join("server.key");
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            own(&path);
        })
    }

    fn make(
        sync: Sync,
        settings: &[&str],
        doors: &str,
        dir: TempDir,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let data = data_in(dir.path());
        // The folder may be there, with nothing in it.
        let copied = Command::new("cp")
            .arg("-aT")
            .args([template(), &data])
            .status();
        assert!(copied.unwrap().success());
        fs::write(data.join("pg_hba.conf"), doors).unwrap();
        prepare(&data);
        let fsync = if sync == Sync::On { "on" } else { "off" };
        let mut settings: Vec<_> = SETTINGS
            .iter()
            .chain(settings)
            .map(|it| (*it).to_owned())
            .collect();
        settings.push(format!("fsync={fsync}"));
        settings.push(format!("unix_socket_directories={}", dir.path().display()));
        // Somebody else may take the port before the server does.
        for _ in 0..20 {
            let port = free_port();
            let mut postmaster = launch(dir.path(), port, &settings);
            if is_up(dir.path(), port, &mut postmaster) {
                return Self {
                    disk: None,
                    dir,
                    port,
                    settings,
                    postmaster,
                };
            }
        }
        panic!("no server comes up: {}", log(dir.path()));
    }

    /// Where it is, for the user `postgres` and its database.
    pub fn address(&self) -> String {
        self.address_of("127.0.0.1", "postgres")
    }

    /// The same by another name, and with another database.
    pub fn address_of(&self, host: &str, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres:{PASSWORD_ENCODED}@{host}:{port}/{database}")
    }

    /// The small disk of its data.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.dir.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        log(self.dir.path())
    }

    /// What these statements give, by the back door; fails when one of them does.
    pub fn sql(&self, statements: &str) -> Rows {
        let said = ask(self.dir.path(), self.port, statements);
        said.unwrap_or_else(|error| panic!("{statements}: {error:?}"))
    }

    /// The same, where it does not matter whether it fails.
    pub fn tries(&self, statements: &str) {
        let _ = ask(self.dir.path(), self.port, statements);
    }

    /// Breaks it off as a crash does, and starts it again on the same port.
    pub fn restart_immediately(&mut self) {
        self.stop();
        self.go_on();
    }

    /// Breaks it off as a crash does. What it had acknowledged is on the disk.
    pub fn stop(&mut self) {
        self.resume();
        signal("QUIT", &[self.postmaster.id()]);
        self.postmaster.wait().unwrap();
    }

    /// Starts it again after a stop.
    pub fn go_on(&mut self) {
        self.postmaster = launch(self.dir.path(), self.port, &self.settings);
        let is_up = is_up(self.dir.path(), self.port, &mut self.postmaster);
        assert!(is_up, "{}", self.log());
    }

    /// Has it stand still: connections are taken and nothing is answered.
    pub fn pause(&self) {
        // After that it makes no more children.
        signal("STOP", &[self.postmaster.id()]);
        signal("STOP", &children(self.postmaster.id()));
    }

    pub fn resume(&self) {
        signal("CONT", &children(self.postmaster.id()));
        signal("CONT", &[self.postmaster.id()]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(None) = self.postmaster.try_wait() {
            self.stop();
        }
    }
}

/// The folder of PostgreSQL's programs, the newest version's.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed");
    let bins = versions.map(|version| version.unwrap().path().join("bin"));
    let version =
        |bin: &PathBuf| -> Option<u32> { bin.parent()?.file_name()?.to_str()?.parse().ok() };
    let bins = bins.filter(|bin| bin.join("initdb").exists());
    bins.max_by_key(version)
        .expect("PostgreSQL is not installed")
}

/// Who runs the servers when the tests are root's.
fn user() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let found = ["postgres", "nobody"].iter().find_map(|name| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields[0] == *name)?;
        Some(User {
            id: fields[2].parse().unwrap(),
            group: fields[3].parse().unwrap(),
        })
    });
    Some(found.expect("a user who is not root"))
}

/// One of PostgreSQL's programs, run by somebody who may.
fn program(name: &str) -> Command {
    by_user(&programs().join(name))
}

/// A program, run by whoever runs the servers.
pub fn by_user(path: &Path) -> Command {
    let Some(User { id, group }) = user() else {
        return Command::new(path);
    };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={id}"));
    command.arg(format!("--regid={group}"));
    command.arg("--clear-groups").arg(path);
    command
}

/// Gives a file to whoever runs the servers.
pub fn own(path: &Path) {
    if let Some(User { id, group }) = user() {
        chown(path, Some(id), Some(group)).unwrap();
    }
}

/// A folder of theirs.
pub fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    own(dir.path());
    dir
}

/// Where the data of a server are.
fn data_in(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// A server's data as `initdb` makes them. Made once: a copy takes a fifth of the time.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = programs();
        let version = version
            .parent()
            .and_then(Path::file_name)
            .and_then(OsStr::to_str);
        let id = user().map_or(0, |user| user.id);
        let name = format!("postgres-{}-{id}", version.unwrap());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if !kept.join("data").exists() {
            let dir = folder();
            let (data, password) = (dir.path().join("data"), dir.path().join("password"));
            fs::write(&password, PASSWORD).unwrap();
            own(&password);
            let mut initdb = program("initdb");
            initdb.args([
                "--username=postgres",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ]);
            initdb
                .args(["--locale=C", "--no-sync", "--pwfile"])
                .arg(&password);
            let made = initdb
                .arg("--pgdata")
                .arg(&data)
                .current_dir("/")
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            // Complete or not there at all; two who make it at once make the same.
            fs::create_dir_all(&kept).unwrap();
            let beside = tempfile::tempdir_in(&kept).unwrap();
            let copied = Command::new("cp")
                .arg("-a")
                .arg(&data)
                .arg(beside.path())
                .status();
            assert!(copied.unwrap().success());
            let moved = fs::rename(beside.path().join("data"), kept.join("data"));
            assert!(moved.is_ok() || kept.join("data").exists(), "{moved:?}");
        }
        kept.join("data")
    })
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(dir: &Path, port: u16, settings: &[String]) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    let mut command = program("postgres");
    command
        .arg("-D")
        .arg(data_in(dir))
        .args(["-p", &port.to_string()]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.current_dir("/").env_remove("PGPASSWORD");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command.spawn().unwrap()
}

/// Waits until it answers; `false`: it has ended.
fn is_up(dir: &Path, port: u16, postmaster: &mut Child) -> bool {
    let end = Instant::now() + SOON;
    while postmaster.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "no answer: {}", log(dir));
        if ask(dir, port, "SELECT 1").is_ok() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    false
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// Rows of cells in text; `None`: null.
pub type Rows = Vec<Vec<Option<String>>>;

/// Asks on a thread of its own, for the test's may have a runtime at work on it.
fn ask(dir: &Path, port: u16, statements: &str) -> Result<Rows, tokio_postgres::Error> {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(rows(dir, port, statements))
        });
        asked.join().unwrap()
    })
}

async fn rows(dir: &Path, port: u16, statements: &str) -> Result<Rows, tokio_postgres::Error> {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    config.host_path(dir).port(port);
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let said = client.simple_query(statements).await?;
    drop(client);
    // Why it ended was said to the client.
    let _ = connection.await;
    let rows = said.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let cells = rows.map(|row| {
        let cells = (0..row.len()).map(|n| row.get(n).map(str::to_owned));
        cells.collect()
    });
    Ok(cells.collect())
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let said = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // Behind the name, which may hold anything: its state, and its parent.
        let parent = said.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (parent.parse() == Ok(of)).then_some(id)
    });
    processes.collect()
}

/// Sends processes a signal; one that is gone needs none.
fn signal(name: &str, ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    if !ids.is_empty() {
        let mut command = Command::new("kill");
        command.args(["-s", name]).args(ids).stderr(Stdio::null());
        command.status().unwrap();
    }
}
