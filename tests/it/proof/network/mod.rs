//! Every fault on a real socket, from the first packet to the last, and what it makes of a number.
//!
//! `faults` is the table of bad answers; `reuse` is about whose answer an answer is; `connect` is
//! what happens before a request can leave, `tls` the same with certificates made on the spot.

mod connect;
mod faults;
mod reuse;
mod tls;

use crate::support::KEY;
use crate::support::wire::Line;
use crate::support::workdir::{Ran, Row, Workdir};

/// The results of a run that said or wrote the key nowhere. Whoever was accepted has an answer of
/// its own, not another number's.
#[track_caller]
fn results(dir: &Workdir, ran: &Ran) -> Vec<Row> {
    dir.has_nowhere(KEY, ran);
    let rows = dir.results();
    for row in &rows {
        let is_accepted = matches!(row["otp_status"].as_str(), "sent" | "verified");
        let is_own = row["otp_reference"].starts_with(&format!("SM{}", row["phone"]));
        assert!(is_own || !is_accepted, "{row:?}");
    }
    rows
}

/// An answer of this status with a length.
fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// The same, as the last on its connection.
fn last(answer: &str) -> String {
    answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)
}

/// The API's acceptance, with a reference that tells whose it is.
fn accepted(number: &str) -> String {
    let phone = number.trim_start_matches("+91");
    format!(r#"{{"status":"success","message":"SM{phone}"}}"#)
}

/// Answers everything as the API would.
fn serve(line: &mut Line) {
    while let Some(asked) = line.ask() {
        line.say(answer("200 OK", &accepted(&asked.number)));
    }
}
