//! A folder of its own for each test, and the program run in it with a clean environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::stub::Stub;
use super::{KEY, SOON};

/// One row of `results.csv`.
pub type Row = BTreeMap<String, String>;

/// A temporary folder.
pub struct Workdir {
    dir: TempDir,
}

impl Workdir {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder with the file `list.csv`.
    pub fn with(text: impl AsRef<[u8]>) -> Self {
        let dir = Self::new();
        dir.write("list.csv", text);
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names of the files and folders in it.
    pub fn names(&self) -> Vec<String> {
        self.names_in(".")
    }

    /// The names of the files and folders in this folder of it.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Every file below it, by its path in it.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        files_below(self.dir.path())
    }

    /// Takes the ledger away, with all that stands beside it.
    pub fn remove_ledger(&self) {
        for name in self.names() {
            if name.starts_with("otpdrive.db") {
                fs::remove_file(self.path(&name)).unwrap();
            }
        }
    }

    /// Fails when this stands in what was said, or in any file.
    #[track_caller]
    pub fn has_nowhere(&self, needle: &str, ran: &Ran) {
        assert!(!ran.stdout.contains(needle), "{}", ran.stdout);
        assert!(!ran.stderr.contains(needle), "{}", ran.stderr);
        for (name, bytes) in self.files() {
            assert!(!holds(&bytes, needle), "in {name}");
        }
    }

    /// The program with these arguments, nothing added.
    pub fn otpdrive(&self, args: &[&str]) -> Otpdrive {
        Otpdrive {
            folder: self.dir.path().to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            defaults: Vec::new(),
            env: vec![("KOOKOO_API_KEY".to_owned(), KEY.to_owned())],
            stdin: None,
            under: Vec::new(),
        }
    }

    /// The program with the words of this line, nothing added.
    pub fn line(&self, line: &str) -> Otpdrive {
        self.otpdrive(&[]).flags(line)
    }

    /// `send list.csv`, fast, to this gateway.
    pub fn send(&self, stub: &Stub) -> Otpdrive {
        self.send_to(&stub.url())
    }

    /// `send list.csv`, fast, to this address.
    pub fn send_to(&self, url: &str) -> Otpdrive {
        self.sends("send", url)
    }

    /// The plan of that.
    pub fn check(&self, stub: &Stub) -> Otpdrive {
        self.sends("check", &stub.url())
    }

    fn sends(&self, command: &str, url: &str) -> Otpdrive {
        self.otpdrive(&[command, "list.csv"])
            .default("--endpoint", url)
            .default("--sender-id", "OTPDRV")
            .default("--caller-id", "914012345678")
            .default("--rate", "unlimited")
            .default("--backoff", "1ms..5ms")
    }

    /// `verify list.csv`, fast, to this gateway.
    pub fn verify(&self, stub: &Stub) -> Otpdrive {
        self.verify_at(&stub.url())
    }

    /// `verify list.csv`, fast, at this address.
    pub fn verify_at(&self, url: &str) -> Otpdrive {
        self.otpdrive(&["verify", "list.csv"])
            .default("--endpoint", url)
            .default("--out", "list-results")
            .default("--rate", "unlimited")
            .default("--backoff", "1ms..5ms")
    }

    /// The rows of `list-results/results.csv`.
    pub fn results(&self) -> Vec<Row> {
        self.results_of("list-results")
    }

    /// The rows of the results in this folder.
    pub fn results_of(&self, folder: &str) -> Vec<Row> {
        rows(&self.read(&format!("{folder}/results.csv")))
    }

    /// The statuses in `list-results/results.csv`.
    pub fn statuses(&self) -> Vec<String> {
        column(&self.results(), "otp_status")
    }

    /// How many rows in `list-results/results.csv` have this status.
    pub fn count(&self, status: &str) -> usize {
        self.statuses().iter().filter(|it| *it == status).count()
    }

    /// `list-results/report.json`
    pub fn report(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("list-results/report.json")).unwrap()
    }

    /// Does any file that starts with the ledger's name hold these bytes?
    pub fn ledger_holds(&self, needle: &str) -> bool {
        self.names()
            .iter()
            .filter(|name| name.starts_with("otpdrive.db"))
            .any(|name| holds(&fs::read(self.path(name)).unwrap(), needle))
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
}

/// Every file below a folder, by its path in it.
fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = files_below(&path).into_iter();
            found.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
    found
}

/// CSV with a header as maps.
pub fn rows(csv: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.deserialize().map(Result::unwrap);
    rows.collect()
}

/// One column of the rows.
pub fn column(rows: &[Row], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].clone()).collect()
}

/// A command line about to be run.
#[derive(Clone)]
pub struct Otpdrive {
    folder: PathBuf,
    args: Vec<String>,
    defaults: Vec<[String; 2]>,
    env: Vec<(String, String)>,
    stdin: Option<String>,
    under: Vec<String>,
}

impl Otpdrive {
    /// Runs it as the last argument of another command; the one named first is outermost.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under.extend(command.iter().map(ToString::to_string));
        self
    }

    /// Runs it under a line of shell, in which `"$@"` is the program with its arguments.
    pub fn in_shell(self, line: &str) -> Self {
        self.under(&["bash", "-c", line, "bash"])
    }

    /// Runs it on a terminal of its own, with which stdin speaks; stdout and stderr come out as one.
    pub fn on_a_terminal(self) -> Self {
        let script = "printf -v line '%q ' \"$@\"; exec script -qec \"stty -onlcr rows 24 cols $COLUMNS; $line\" /dev/null";
        self.env("SHELL", "/bin/bash")
            .env_default("TERM", "xterm")
            .env_default("COLUMNS", "80")
            .in_shell(script)
    }

    /// Runs it, all its threads, under strace, which writes to this file and does this besides.
    pub fn strace(self, log: &str, args: &[&str]) -> Self {
        self.under(&["strace", "-f", "-qq", "-o", log]).under(args)
    }

    /// Runs it under strace, which writes these system calls to a file and does this to them, only
    /// to those about these files of the folder where any are named.
    pub fn inject(self, log: &str, calls: &str, what: &str, files: &[&str]) -> Self {
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{what}"));
        let paths: Vec<_> = files.iter().map(|file| self.folder.join(file)).collect();
        let mut args = vec!["-e", &trace, "-e", &inject];
        args.extend(paths.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
        self.strace(log, &args)
    }

    /// A flag that applies unless it is given.
    pub fn default(mut self, flag: &str, value: &str) -> Self {
        self.defaults.push([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Leaves a default flag away.
    pub fn without(mut self, flag: &str) -> Self {
        self.defaults.retain(|[name, _]| name != flag);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// More arguments: the words of this line.
    pub fn flags(self, line: impl AsRef<str>) -> Self {
        self.args(&line.as_ref().split_whitespace().collect::<Vec<_>>())
    }

    pub fn input(mut self, file: &str) -> Self {
        file.clone_into(&mut self.args[1]);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, unless it is set.
    fn env_default(self, name: &str, value: &str) -> Self {
        let is_set = self.env.iter().any(|(known, _)| known == name);
        if is_set { self } else { self.env(name, value) }
    }

    pub fn no_key(mut self) -> Self {
        self.env.clear();
        self
    }

    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        self.start().end()
    }

    /// Runs it to its end, which has to be this one.
    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        let ran = self.run();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        ran
    }

    /// The same for what speaks on a terminal: what it said is in `stdout`.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Ran {
        let ran = self.run();
        assert_eq!(ran.code, code, "{}", ran.stdout);
        ran
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let program = env!("CARGO_BIN_EXE_otpdrive");
        let mut command = match self.under.split_first() {
            None => Command::new(program),
            Some((outer, args)) => {
                let mut command = Command::new(outer);
                command.args(args).arg(program);
                command
            }
        };
        command.current_dir(&self.folder).args(&self.args);
        for [flag, value] in &self.defaults {
            if !self.args.contains(flag) {
                command.args([flag, value]);
            }
        }
        let mut child = command
            .env_clear()
            .envs(self.env)
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let (Some(text), Some(mut stdin)) = (self.stdin, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).unwrap();
        }
        Running { child: Some(child) }
    }
}

/// The program while it runs; a test that fails leaves none running.
pub struct Running {
    /// There until [`Running::end`].
    child: Option<Child>,
}

impl Running {
    fn child(&self) -> &Child {
        self.child.as_ref().unwrap()
    }

    /// Sends it a signal: `INT`, `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        super::signal(self.child(), name);
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Kills it; was it still running?
    pub fn kill(mut self) -> bool {
        let running = !self.has_ended();
        if running {
            self.signal("KILL");
        }
        self.end();
        running
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let child = self.child.take().unwrap();
        let output = child.wait_with_output().unwrap();
        Ran {
            // A process ended by a signal has no code.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Waits for its end, which has to come soon.
    pub fn end_soon(mut self) -> Ran {
        let end = Instant::now() + SOON;
        while !self.has_ended() {
            if Instant::now() > end {
                self.signal("KILL");
                panic!("it did not end: {}", self.end().stderr);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end()
    }

    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program after its end.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails when this was not said, whatever lines of a plan it stands on.
    #[track_caller]
    pub fn says(&self, words: &str) {
        let said: Vec<&str> = self.stderr.split_whitespace().collect();
        let is_said = said.join(" ").contains(words);
        assert!(is_said, "no {words:?} in: {}", self.stderr);
    }

    /// What was printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let printed = serde_json::from_str(&self.stdout);
        printed.unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}
