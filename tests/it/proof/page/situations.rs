//! Pages as the program makes them, one for each situation that a campaign can be in.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164, phone};

/// How long the gateway is down: longer than it takes to believe it.
const DOWN: Duration = Duration::from_millis(2_500);

/// A page with the report beside it.
pub struct Page {
    pub name: &'static str,
    dir: Workdir,
    folder: &'static str,
}

impl Page {
    fn new(name: &'static str, dir: Workdir) -> Self {
        let folder = "list-results";
        Self { name, dir, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path(&format!("{}/report.html", self.folder))
    }

    pub fn report(&self) -> Value {
        let report = self.dir.read(&format!("{}/report.json", self.folder));
        serde_json::from_str(&report).unwrap()
    }
}

/// All of them, made at the same time.
pub fn pages() -> Vec<Page> {
    let makers: [fn() -> Page; 7] = [done, refused, killed, running, verified, one_row, settled];
    let makers = makers.map(std::thread::spawn);
    let pages = makers.into_iter().map(|maker| maker.join().unwrap());
    pages.collect()
}

/// Numbers with a city each; some cities are large, one cell is empty.
fn list(numbers: std::ops::Range<usize>) -> String {
    const CITIES: [&str; 12] = [
        "Delhi",
        "Delhi",
        "Delhi",
        "Mumbai",
        "Mumbai",
        "Pune",
        "",
        "Chennai",
        "Agra",
        "Kochi",
        "Surat",
        "Bhubaneswar and all that is around it",
    ];
    let mut text = "phone,city\n".to_owned();
    for n in numbers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{},{}", phone(n), CITIES[n % CITIES.len()]);
    }
    text
}

/// Every status, a hold, an outage, retries, calls, money, and numbers that the list has no more.
fn done() -> Page {
    let stub = Stub::start();
    let mut down = None;
    stub.default(move |nth, request| {
        let is_down = nth >= 70 && down.get_or_insert_with(Instant::now).elapsed() < DOWN;
        match request.endpoint.as_str() {
            _ if is_down => Reply::new(503, ""),
            _ if nth == 30 => Reply::new(429, "").header("Retry-After", "3"),
            "callotp" => Reply::said(200, "queued", "CA7"),
            _ => Reply::success(),
        }
    });
    let barred = "This number cannot be reached, whatever is tried and however often it is tried again, says a gateway of many words";
    stub.script("smsotp", &e164(1), [Reply::error(barred)]);
    stub.script(
        "callotp",
        &phone(1),
        [Reply::error("Call could not be placed")],
    );
    stub.script("smsotp", &e164(2), [Reply::error("barred")]);
    stub.script("smsotp", &e164(3), [Reply::dropped()]);
    for endpoint in ["smsotp", "callotp"] {
        let failures = [Reply::new(500, ""), Reply::new(500, "")];
        stub.script(endpoint, &e164(4), failures);
    }
    stub.script("smsotp", &e164(5), [Reply::new(500, "")]);
    let dir = Workdir::with(list(200..203));
    dir.send(&stub).ends(0);
    let unusable = "9.19877E+11,Pune\n98765O3211,Pune\n";
    dir.write(
        "list.csv",
        list(0..130) + unusable + &format!("{},\n", phone(0)),
    );
    dir.write("not.csv", contacts(20..22));
    let flags = "--fallback call --price sms=0.18,call=0.45 --budget 6000 --exclude not.csv --max-attempts 2 --rate 20/s --on-server-error retry";
    dir.send(&stub).flags(flags).ends(1);
    Page::new("done", dir)
}

fn refused() -> Page {
    let stub = Stub::start();
    stub.always(Reply::new(402, ""));
    let dir = Workdir::with(list(0..1_234) + "98765O3211,Pune\n");
    dir.send(&stub).flags("--rate 50/s").ends(4);
    Page::new("refused", dir)
}

/// A run that is on, with some answers.
fn on(dir: &Workdir, stub: &Stub) -> crate::support::workdir::Running {
    let run = dir.send(stub).flags("--rate 20/s --concurrency 5").start();
    stub.wait_for(60);
    stub.hold();
    // Five at once: those of before are answered, but the last ones.
    stub.wait_for(64);
    run
}

fn killed() -> Page {
    let stub = Stub::start();
    let dir = Workdir::with(list(0..200));
    on(&dir, &stub).kill();
    dir.line("report").ends(0);
    Page::new("killed", dir)
}

fn running() -> Page {
    let stub = Stub::start();
    let dir = Workdir::with(list(0..200));
    let run = on(&dir, &stub);
    dir.line("report").ends(0);
    run.kill();
    Page::new("running", dir)
}

fn verified() -> Page {
    let stub = Stub::start();
    let dir = Workdir::with(list(0..120));
    dir.send(&stub).flags("--price sms=0.18").ends(0);
    stub.default(|_, request| match request.otp.as_str() {
        "004512" => Reply::success(),
        _ => Reply::error("Your Mobile Number OTP code verification failed"),
    });
    let codes = (0..60).map(|n| {
        let code = if n % 7 == 0 { "111111" } else { "004512" };
        format!("{},{code}\n", phone(n))
    });
    dir.write(
        "list.csv",
        "phone,otp\n".to_owned() + &codes.collect::<String>(),
    );
    dir.verify(&stub).flags("--rate 25/s --by city").ends(0);
    Page::new("verified", dir)
}

fn one_row() -> Page {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    dir.send(&stub).ends(0);
    Page::new("one row", dir)
}

/// A run that found nothing to do, after one that did it all.
fn settled() -> Page {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..30));
    dir.send(&stub).ends(0);
    dir.send(&stub).flags("--rate 1/s").ends(0);
    Page::new("settled", dir)
}
