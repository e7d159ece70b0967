//! The sandbox as a process of its own, judged by its log.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Counts;

/// A request as the sandbox logged it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Logged {
    /// Seconds since 1970.
    pub t: f64,
    /// `smsotp`, `callotp`, `verifyotp`.
    pub path: String,
    /// `+919876500001`; `None` when it could not be read.
    pub phone: Option<String>,
    /// What the sandbox did.
    pub action: String,
    /// Was the OTP accepted, or the code used up?
    pub accepted: bool,
}

/// `otpdrive sandbox` on a free port; it ends when it is dropped.
pub struct Gate {
    child: Child,
    dir: TempDir,
    url: String,
}

impl Gate {
    /// Starts it with these flags.
    pub fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_otpdrive"))
            .args(["sandbox", "--listen", "127.0.0.1:0", "--log"])
            .arg(dir.path().join("requests.jsonl"))
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap_or_default();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        let url = url.to_owned();
        // Whatever else it says goes nowhere, but must not block it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, dir, url }
    }

    /// What a client takes for `--endpoint`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far, in the order of their arrival; the latest 20 ms may be missing.
    pub fn log(&self) -> Vec<Logged> {
        let path = self.dir.path().join("requests.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(serde_json::from_str);
        lines.map(Result::unwrap).collect()
    }

    /// The log when nothing is under way any more: as soon as it has stopped growing.
    pub fn settled_log(&self) -> Vec<Logged> {
        let mut log = self.log();
        loop {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let later = self.log();
            if later.len() == log.len() {
                return later;
            }
            log = later;
        }
    }

    /// So many numbers were asked, each once.
    #[track_caller]
    pub fn has_asked_each_once(&self, numbers: usize) {
        let asked = counts(&self.settled_log());
        assert_eq!(asked.len(), numbers);
        assert!(asked.values().all(|times| *times == 1));
    }

    /// Ends it; all requests there were.
    pub fn stop(mut self) -> Vec<Logged> {
        super::signal(&self.child, "TERM");
        self.child.wait().unwrap();
        self.log()
    }
}

/// How often each number was asked, by this log.
pub fn counts(log: &[Logged]) -> Counts {
    let seen = by_number(log).into_iter();
    seen.map(|(number, asked)| (number, asked.len())).collect()
}

/// A log by number.
pub fn by_number(log: &[Logged]) -> HashMap<String, Vec<Logged>> {
    let mut numbers: HashMap<String, Vec<Logged>> = HashMap::new();
    for logged in log {
        let phone = logged.phone.clone().unwrap_or_default();
        numbers.entry(phone).or_default().push(logged.clone());
    }
    numbers
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
