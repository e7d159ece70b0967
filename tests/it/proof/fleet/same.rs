//! A ledger on a server does what one in a file does.

use super::server;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{KEY, e164, phone};

/// What a run of the story said and wrote, step by step, without times.
type Tale = Vec<(String, String)>;

/// By the last digit of the number, and by how often it was asked.
fn gateway() -> Stub {
    let stub = Stub::start();
    let mut asked = crate::support::Counts::new();
    stub.default(move |_, request| {
        let key = format!("{} {}", request.endpoint, request.number);
        let times = asked.entry(key).or_default();
        *times += 1;
        let n: usize = request.number[8..].parse().unwrap();
        match (request.endpoint.as_str(), n % 10, *times) {
            ("smsotp", 3, _) | ("verifyotp", 8, _) => Reply::dropped(),
            ("smsotp", 4, _) => Reply::error("barred"),
            ("callotp", _, _) if n % 20 == 14 => Reply::error("no such subscriber"),
            ("callotp", _, _) => Reply::said(200, "queued", &format!("CA{n}")),
            ("smsotp" | "verifyotp", 5, 1) => Reply::new(500, "later"),
            ("smsotp", 6, 1) => Reply::said(429, "Error", "slow down"),
            ("verifyotp", 7, _) => Reply::error("Wrong OTP"),
            _ => Reply::said(200, "success", &format!("SM{n}")),
        }
    });
    stub
}

fn list(numbers: impl IntoIterator<Item = usize>) -> String {
    let lines = numbers.into_iter();
    let lines = lines.map(|n| format!("{},\"Asha, {n}\"\n", phone(n)));
    format!("phone,name\n{}12345,none\n", lines.collect::<String>())
}

/// Takes times out of CSV, JSON and texts: they are never the same.
fn timeless(text: &str) -> String {
    let is_time = |word: &str| word.contains("2026-") || word.contains('T') && word.ends_with('Z');
    let words = text.split_inclusive([' ', ',', '\n', '"']);
    // What the ledger is called is another thing, too.
    let is_ledger = |word: &str| word.starts_with("otpdrive.db") || word.starts_with("postgres://");
    words
        .filter(|word| !is_time(word) && !is_ledger(word))
        .collect()
}

/// Takes out of `results.csv` what depends on the clock.
fn untimed(csv: &str) -> String {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let of_clock = |name: &str| name.ends_with("_at") || name.ends_with("_ms");
    let kept: Vec<usize> = (0..header.len())
        .filter(|n| !of_clock(&header[*n]))
        .collect();
    let line = |record: &csv::StringRecord| {
        let cells: Vec<String> = kept.iter().map(|n| timeless(&record[*n])).collect();
        cells.join("|") + "\n"
    };
    let rows: Vec<String> = reader
        .records()
        .map(|record| line(&record.unwrap()))
        .collect();
    line(&header) + &rows.concat()
}

/// Takes out of JSON what depends on the clock, and where the ledger is.
fn without_clock(value: &mut serde_json::Value) {
    const OF_CLOCK: [&str; 17] = [
        "answer_times",
        "from",
        "until",
        "command",
        "endpoint",
        "time_s",
        "time_to_verify_s",
        "rate",
        "latency_ms",
        "started_at",
        "finished_at",
        "duration_s",
        "generated_at",
        "ledger",
        "version",
        "peak_1s",
        "over_time",
    ];
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|name, _| !OF_CLOCK.contains(&name.as_str()) && !name.ends_with("_at"));
            map.values_mut().for_each(without_clock);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(without_clock),
        _ => {}
    }
}

fn json(text: &str) -> String {
    let lines = serde_json::Deserializer::from_str(text).into_iter();
    let lines = lines.map(|value| {
        let mut value = value.unwrap();
        without_clock(&mut value);
        format!("{value:#}\n")
    });
    lines.collect()
}

/// Tells the story with this ledger.
struct Teller<'t> {
    dir: Workdir,
    stub: Stub,
    ledger: &'t str,
    tale: Tale,
}

impl Teller<'_> {
    /// Runs a command, and keeps how it ended and what it wrote.
    fn tell(&mut self, what: &str, command: Otpdrive, out: Option<&str>) -> String {
        let ran = command.args(&["--ledger", self.ledger]).run();
        let step = format!("{what}: {}", ran.code);
        let mut told = if ran.stdout.starts_with('{') {
            json(&ran.stdout)
        } else {
            timeless(&ran.stdout)
        };
        if let Some(out) = out {
            told += &untimed(&self.dir.read(&format!("{out}/results.csv")));
            told += &json(&self.dir.read(&format!("{out}/report.json")));
        }
        self.tale.push((step, told));
        ran.stdout
    }

    fn send(&mut self, what: &str, flags: &str) {
        let send = self.dir.send(&self.stub).flags("--refused-alike off");
        self.tell(what, send.flags(flags), Some("list-results"));
    }

    fn look(&mut self, what: &str) {
        for line in [
            "status --json",
            "report --campaign list --json",
            "status --verify",
        ] {
            self.tell(&format!("{what}: {line}"), self.dir.line(line), None);
        }
        for n in [1, 3, 4, 14, 25] {
            let who = self.dir.otpdrive(&["who", &phone(n)]);
            self.tell(&format!("{what}: who {n}"), who, None);
        }
    }
}

fn tell(ledger: &str) -> (Tale, Vec<(String, usize)>) {
    let mut teller = Teller {
        dir: Workdir::with(list((0..40).chain([7, 7]))),
        stub: gateway(),
        ledger,
        tale: Tale::new(),
    };
    let fallback = "--fallback call --price sms=0.5,call=2";
    teller.send("cut short", &format!("{fallback} --limit 25"));
    teller.look("cut short");
    teller.send("sent", fallback);
    teller.look("sent");
    for (what, of) in [("sent", "3"), ("unsent", "13")] {
        let unknown = format!("phone\n{}\n", phone(of.parse().unwrap()));
        teller.dir.write("found.csv", unknown);
        let line = format!("settle found.csv --as {what} --campaign list");
        teller.tell(&line, teller.dir.line(&line), None);
    }
    teller.look("settled");
    // What is found is done: no answer is kept back any more.
    teller.stub.script("smsotp", &e164(13), [Reply::success()]);
    teller.send("settled", fallback);
    teller.dir.write("list.csv", list((20..50).rev()));
    teller.send("replaced", fallback);
    teller
        .dir
        .write("stop.csv", format!("phone\n{}\n", phone(51)));
    teller.dir.write("copy.csv", list((0..10).chain(50..55)));
    let copy = teller
        .dir
        .send(&teller.stub)
        .input("copy.csv")
        .flags("--exclude stop.csv");
    teller.tell("cool-down", copy, Some("copy-results"));
    let codes = (0..40).map(|n| format!("{},{}\n", phone(n), 1_000 + n));
    let codes = codes.collect::<Vec<_>>().concat();
    teller.dir.write("codes.csv", format!("phone,otp\n{codes}"));
    for flags in ["--limit 12", "--on-unknown hold", ""] {
        let verify = teller.dir.verify(&teller.stub).input("codes.csv");
        let verify = verify.flags(format!("--refused-alike off --max-attempts 3 {flags}"));
        let (what, out) = (format!("verify {flags}"), "codes-results");
        teller.tell(&what, verify.args(&["--out", out]), Some(out));
    }
    teller.look("verified");
    let line = "report --campaign list --only unknown";
    teller.tell(line, teller.dir.line(line), None);
    std::thread::sleep(std::time::Duration::from_millis(20));
    for line in [
        "purge --older-than 10ms --dry-run",
        "purge --older-than 10ms",
    ] {
        teller.tell(line, teller.dir.line(line), None);
    }
    teller.look("purged");
    teller.send("after the purge", &format!("{fallback} --cooldown 0s"));
    assert!(!teller.dir.read("list-results/results.csv").contains(KEY));
    let mut asked: Vec<_> = teller.stub.counts().into_iter().collect();
    asked.sort();
    (teller.tale, asked)
}

#[test]
#[ignore = "tests/prove fleet"]
fn one_process_does_on_a_server_what_it_does_with_a_file() {
    let (_server, address) = server();
    let (in_file, asked) = tell("otpdrive.db");
    let (on_server, asked_too) = tell(&address);
    for ((step, told), (step_too, told_too)) in in_file.iter().zip(&on_server) {
        assert_eq!(step, step_too);
        assert!(
            told == told_too,
            "{step}:\n{told}\n--- on a server\n{told_too}"
        );
    }
    assert_eq!(asked, asked_too);
    println!("{} steps on a server as with a file", in_file.len());
}
