//! `--notify`: the report is posted at the end; whether it arrives changes nothing.

use std::sync::{Arc, Mutex};

use crate::support::stub::{Reply, Stub};
use crate::support::wire::Wire;
use crate::support::workdir::Workdir;
use crate::support::{KEY, contacts};

/// What was posted: head and body.
type Posts = Arc<Mutex<Vec<(String, String)>>>;

/// Somebody who answers with these heads, in turn, and remembers what was posted.
fn receiver(answers: &'static [&'static str]) -> (Wire, Posts) {
    let posts = Posts::default();
    let seen = Arc::clone(&posts);
    let wire = Wire::start(move |line| {
        let mut bytes = String::new();
        let whole = loop {
            let piece = line.hear();
            if piece.is_empty() {
                return;
            }
            bytes += &String::from_utf8(piece).unwrap();
            let Some((head, body)) = bytes.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                break (head.clone(), body.to_owned());
            }
        };
        let mut seen = seen.lock().unwrap();
        let answer = answers[seen.len().min(answers.len() - 1)];
        seen.push(whole);
        line.say(format!(
            "HTTP/1.1 {answer}content-length: 0\r\nconnection: close\r\n\r\n"
        ));
    });
    (wire, posts)
}

/// Its address with a user and a query, which are secrets.
fn address(wire: &Wire) -> String {
    wire.url().replace("//", "//me:s3cret@") + "?token=t0ken"
}

#[test]
fn the_report_is_posted_as_it_is_and_the_address_shown_nowhere() {
    let (wire, posts) = receiver(&["500 X\r\n", "200 X\r\n"]);
    let stub = Stub::start();
    stub.always(Reply::error("barred"));
    let dir = Workdir::with(contacts(0..2));
    let url = address(&wire);
    let run = dir.send(&stub).args(&["--notify", &url]);
    let ran = run.flags("-vvv --log-format json").ends(1);
    let posts = posts.lock().unwrap();
    assert_eq!(posts.len(), 2, "the second try was taken");
    let (head, body) = &posts[1];
    assert!(
        head.starts_with("post /api/v1/twofactor?token=t0ken http/1.1"),
        "{head}"
    );
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("authorization: basic "), "{head}");
    assert_eq!(*body, dir.read("list-results/report.json"));
    for secret in ["s3cret", "t0ken", KEY] {
        dir.has_nowhere(secret, &ran);
    }
    let shown = dir.line("config").args(&["--notify", &url]).ends(0);
    assert!(
        shown.stdout.contains("notify = \"http://127.0.0.1:"),
        "{}",
        shown.stdout
    );
    dir.has_nowhere("t0ken", &shown);
}

#[test]
fn nobody_who_takes_the_report_is_a_warning_and_nothing_else() {
    let stub = Stub::start();
    let (wire, posts) = receiver(&["302 X\r\nlocation: /elsewhere\r\n"]);
    let dir = Workdir::with(contacts(0..2));
    let ran = dir.send(&stub).args(&["--notify", &address(&wire)]).ends(0);
    assert!(
        ran.stderr.contains("it answered 302, 3 times"),
        "{}",
        ran.stderr
    );
    assert_eq!(posts.lock().unwrap().len(), 3, "nothing is followed");
    let nobody = format!("http://{}/?token=t0ken", Stub::nowhere());
    let ran = dir.send(&stub).args(&["--notify", &nobody]).ends(0);
    assert!(
        ran.stderr.contains("the report was not posted"),
        "{}",
        ran.stderr
    );
    dir.has_nowhere("t0ken", &ran);
    dir.has_nowhere("s3cret", &ran);
}

#[test]
fn nothing_is_posted_where_nothing_began_and_only_where_it_is_safe() {
    let (wire, posts) = receiver(&["200 X\r\n"]);
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let url = address(&wire);
    let send = || dir.send(&stub).args(&["--notify", &url]);
    send().input("none.csv").ends(2);
    send().flags("--rate 10").ends(2);
    send().no_key().ends(2);
    for far in [
        "http://192.0.2.1/x?token=t0ken",
        "ftp://127.0.0.1/t0ken",
        "t0ken",
    ] {
        let ran = dir.send(&stub).args(&["--notify", far]).ends(2);
        assert!(ran.stderr.contains("--notify"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("t0ken"), "{}", ran.stderr);
    }
    assert_eq!(stub.count(), 0);
    assert!(posts.lock().unwrap().is_empty());
}
