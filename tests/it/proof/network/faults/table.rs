//! The table: one line a fault. What is expected is what the contract says, not what was found.

use std::time::Duration;

use super::After::{self, Fin, Hang, Keep, Rst};
use super::Means::{self, Accepted, Failed, Rejected, Unknown};
use super::{Fault, TIMEOUT, accepted};
use crate::support::phone;

/// The limit of a body, and the longest head that is read.
const BODY_MAX: usize = 64 * 1024;

fn fault(name: &'static str, means: Means, bytes: impl Into<Vec<u8>>, after: After) -> Fault {
    Fault {
        name,
        means,
        pieces: vec![bytes.into()],
        pause: Duration::ZERO,
        after,
        drip: false,
        unread: false,
    }
}

/// The bytes one by one.
fn drip(name: &'static str, means: Means, text: impl Into<Vec<u8>>, pause: Duration) -> Fault {
    Fault {
        pause,
        drip: true,
        ..fault(name, means, text, Hang)
    }
}

/// After a while.
fn late(name: &'static str, means: Means, bytes: &str, pause: Duration) -> Fault {
    Fault {
        pause,
        ..fault(name, means, bytes, Keep)
    }
}

fn unread(mut fault: Fault) -> Fault {
    fault.unread = true;
    fault
}

/// The acceptance in a body of exactly this length.
fn padded(length: usize) -> String {
    " ".repeat(length - accepted(&phone(0)).len()) + "{ok}"
}

/// A plain acceptance with these headers in front.
fn with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {{n}}\r\n\r\n{{ok}}")
}

/// An acceptance under this status line.
fn under(line: &str) -> String {
    format!("{line}\r\ncontent-length: {{n}}\r\n\r\n{{ok}}")
}

/// A chunked answer of these chunks.
fn chunked(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
}

/// A 200 with this body.
fn body(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn faults() -> Vec<Fault> {
    let mut all = stalls();
    all.extend(ends());
    all.extend(lengths());
    all.extend(chunks());
    all.extend(heads());
    all.extend(versions());
    all.extend(statuses());
    all.extend(bodies());
    all
}

/// First, so that they wait beside the others and not after them.
fn stalls() -> Vec<Fault> {
    let ok = with("");
    let tick = Duration::from_millis(50);
    let endless = "HTTP/1.1 200 OK\r\nx: ".to_owned() + &"y".repeat(200);
    vec![
        fault("silence", Unknown, "", Hang),
        fault("half a status line, then silence", Unknown, "HTTP/1.1 2", Hang),
        fault("half a head, then silence", Unknown, "HTTP/1.1 200 OK\r\nserver: x\r\n", Hang),
        fault("a head, then silence", Unknown, "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n", Hang),
        fault("half a body, then silence", Unknown, "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n{half}", Hang),
        fault("a whole body with no end to it", Unknown, "HTTP/1.1 200 OK\r\n\r\n{ok}", Hang),
        fault("one chunk, then silence", Unknown, chunked("{n16}\r\n{ok}\r\n"), Hang),
        fault("503, its body never comes", Failed, "HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n", Hang),
        drip("a head byte by byte, without end", Unknown, endless, tick),
        drip("a body byte by byte, too slowly", Unknown, ok.clone(), tick),
        Fault { after: Keep, ..drip("an answer byte by byte, in time", Accepted, ok.clone(), Duration::from_millis(1)) },
        Fault { pieces: vec!["HTTP/1.1 100 Continue\r\n\r\n".into(); 100], pause: tick, ..fault("nothing but 100 Continue", Unknown, "", Hang) },
        late("the answer just in time", Accepted, &ok, TIMEOUT / 2),
        late("the answer just too late", Unknown, &ok, TIMEOUT * 5 / 4),
    ]
}

/// What is kept alive here and then broken would hit the next number: that is for `reuse`.
fn ends() -> Vec<Fault> {
    let ok = with("");
    let last = with("connection: close\r\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n";
    let half = "HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n{half}";
    vec![
        fault("read, closed", Unknown, "", Fin),
        fault("read, reset", Unknown, "", Rst),
        unread(fault("not read, closed", Unknown, "", Fin)),
        unread(fault("not read, reset", Unknown, "", Rst)),
        unread(fault("answered before it was read, then reset", Accepted, &*last, Fin)),
        fault("half a status line, closed", Unknown, "HTTP/1.", Fin),
        fault("half a head, closed", Unknown, "HTTP/1.1 200 OK\r\ncontent-le", Fin),
        fault("half a head, reset", Unknown, "HTTP/1.1 200 OK\r\ncontent-le", Rst),
        fault("a head, closed", Unknown, head, Fin),
        fault("a head, reset", Unknown, head, Rst),
        fault("half a body, closed", Unknown, half, Fin),
        fault("half a body, reset", Unknown, half, Rst),
        fault("the last answer, closed", Accepted, &*last, Fin),
        fault("the last answer, reset", Accepted, &*last, Rst),
        fault("the last answer, kept open", Accepted, &*last, Hang),
        fault("no length, closed", Accepted, "HTTP/1.1 200 OK\r\n\r\n{ok}", Fin),
        fault("no length, closed half way", Unknown, "HTTP/1.1 200 OK\r\n\r\n{half}", Fin),
        fault("no length, reset half way", Unknown, "HTTP/1.1 200 OK\r\n\r\n{half}", Rst),
        fault("503, its body cut", Failed, "HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n{", Rst),
        fault("500, its body cut", Failed, "HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\n{", Fin),
        fault("404, its body cut", Rejected, "HTTP/1.1 404 X\r\ncontent-length: 9\r\n\r\n{", Fin),
        fault("504, its body cut", Unknown, "HTTP/1.1 504 X\r\ncontent-length: 9\r\n\r\n{", Fin),
        fault("408, closed", Failed, "HTTP/1.1 408 X\r\nconnection: close\r\n\r\n", Fin),
        fault("two answers at once", Accepted, ok.repeat(2), Keep),
        fault("the answer and a refusal at once", Accepted, ok.clone() + &body(r#"{"status":"Error","message":"no"}"#), Keep),
        fault("the answer and an endless rest", Accepted, ok.clone() + &"x".repeat(100_000), Keep),
        fault("the answer and an empty line", Accepted, ok + "\r\n", Keep),
    ]
}

fn lengths() -> Vec<Fault> {
    let of = |length: &str| format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{{ok}}");
    vec![
        fault("a length too long, closed", Unknown, of("content-length: 1000"), Fin),
        fault("a length too long, reset", Unknown, of("content-length: 1000"), Rst),
        fault("a length too short", Unknown, of("content-length: 9"), Keep),
        fault("a length of nothing", Unknown, of("content-length: 0"), Keep),
        fault("a length with a plus", Unknown, of("content-length: +{n}"), Keep),
        fault("a length below nothing", Unknown, of("content-length: -1"), Keep),
        fault("a length in letters", Unknown, of("content-length: ten"), Keep),
        fault("an empty length", Unknown, of("content-length:"), Keep),
        fault("a length in hexadecimal", Unknown, of("content-length: 0x{n16}"), Keep),
        fault("a length beyond 64 bits", Unknown, of("content-length: 99999999999999999999"), Keep),
        fault("a length of almost 64 bits", Unknown, of("content-length: 18446744073709551615"), Keep),
        fault("two lengths", Unknown, of("content-length: {n}\r\ncontent-length: 9"), Keep),
        fault("two lengths in a line", Unknown, of("content-length: {n}, 9"), Keep),
        fault("one length twice", Accepted, of("content-length: {n}\r\ncontent-length: {n}"), Keep),
    ]
}

fn chunks() -> Vec<Fault> {
    let coded = |coding: &str, body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n{body}");
    let ok = "{n16}\r\n{ok}\r\n0\r\n\r\n";
    vec![
        fault("chunked", Accepted, chunked(ok), Keep),
        fault("chunked with extensions", Accepted, chunked("{n16};a=b;c=\"d\"\r\n{ok}\r\n0;e\r\n\r\n"), Keep),
        fault("chunked with trailers", Accepted, chunked("{n16}\r\n{ok}\r\n0\r\nx: y\r\n\r\n"), Keep),
        fault("chunked with an extension without end", Unknown, chunked(&format!("{{n16}};{}\r\n{{ok}}\r\n0\r\n\r\n", "x".repeat(100_000))), Keep),
        fault("chunked with trailers without end", Unknown, chunked(&format!("{{n16}}\r\n{{ok}}\r\n0\r\nx: {}\r\n\r\n", "y".repeat(600_000))), Keep),
        fault("chunks cut in a chunk", Unknown, chunked("{n16}\r\n{half}"), Fin),
        fault("chunks without the last", Unknown, chunked("{n16}\r\n{ok}\r\n"), Fin),
        fault("chunks without the last, reset", Unknown, chunked("{n16}\r\n{ok}\r\n"), Rst),
        fault("chunks cut in the last", Unknown, chunked("{n16}\r\n{ok}\r\n0\r\n"), Fin),
        fault("a chunk too long", Unknown, chunked("ffff\r\n{ok}\r\n0\r\n\r\n"), Fin),
        fault("a chunk too short", Unknown, chunked("9\r\n{ok}\r\n0\r\n\r\n"), Keep),
        fault("a chunk beyond 64 bits", Unknown, chunked("fffffffffffffffff\r\n{ok}\r\n0\r\n\r\n"), Keep),
        fault("a chunk below nothing", Unknown, chunked("-1\r\n{ok}\r\n0\r\n\r\n"), Keep),
        fault("a chunk of words", Unknown, chunked("xyz\r\n{ok}\r\n0\r\n\r\n"), Keep),
        fault("chunked, said twice", Accepted, coded("chunked, chunked", ok), Keep),
        fault("chunked in name only", Unknown, chunked("{ok}"), Fin),
        fault("chunked, with a length too", Accepted, format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n{ok}"), Keep),
        fault("chunked inside, gzip outside", Unknown, coded("chunked, gzip", ok), Fin),
        fault("an unknown coding", Accepted, coded("whatever", "{ok}"), Fin),
        fault("chunked in HTTP/1.0", Unknown, format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{ok}"), Fin),
    ]
}

fn heads() -> Vec<Fault> {
    let lines = |n: usize| "x-header: y\r\n".repeat(n);
    vec![
        fault("a header without colon", Unknown, with("header\r\n"), Keep),
        fault("a header without name", Unknown, with(": x\r\n"), Keep),
        fault("a space before the colon", Unknown, with("header : x\r\n"), Keep),
        fault("a folded header", Unknown, with("header: x\r\n folded\r\n"), Keep),
        fault("a NUL in a header's name", Unknown, with("hea\0der: x\r\n"), Keep),
        fault("a NUL in a header", Unknown, with("header: x\0y\r\n"), Keep),
        fault("a CR in a header", Unknown, with("header: x\ry\r\n"), Keep),
        Fault { pieces: vec![b"HTTP/1.1 200 OK\r\nserver: caf\xe9\r\n".to_vec(), "content-length: {n}\r\n\r\n{ok}".into()], ..fault("Latin-1 in a header", Accepted, "", Keep) },
        fault("lines that end with LF", Accepted, with("").replace("\r\n", "\n"), Keep),
        fault("90 headers", Accepted, with(&lines(90)), Keep),
        fault("101 headers", Unknown, with(&lines(101)), Keep),
        fault("a header of 300 KB", Accepted, with(&format!("x: {}\r\n", "y".repeat(300_000))), Keep),
        fault("a header of 10 MB", Unknown, with(&format!("x: {}\r\n", "y".repeat(10_000_000))), Keep),
        fault("10 MB of headers", Unknown, with(&lines(800_000)), Keep),
        fault("the request in a header", Accepted, with("x-request: {head}\r\n"), Keep),
        fault("the request in a broken header", Unknown, with("x-request {head}\r\n"), Keep),
    ]
}

fn versions() -> Vec<Fault> {
    vec![
        fault("HTTP/1.0, kept alive", Accepted, under("HTTP/1.0 200 OK\r\nconnection: keep-alive"), Keep),
        fault("HTTP/1.0, closed", Accepted, "HTTP/1.0 200 OK\r\n\r\n{ok}", Fin),
        fault("HTTP/0.9", Unknown, "{ok}", Fin),
        fault("HTTP/2 in words", Unknown, under("HTTP/2 200"), Keep),
        fault("HTTP/2 in frames", Unknown, [&b"\0\0\x12\x04\0\0\0\0\0"[..], &[0; 18]].concat(), Fin),
        fault("HTTP/2's preface", Unknown, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fin),
        fault("HTTP/3.0", Unknown, under("HTTP/3.0 200 OK"), Keep),
        fault("http in small letters", Unknown, under("http/1.1 200 OK"), Keep),
        fault("no reason", Accepted, under("HTTP/1.1 200"), Keep),
        fault("an empty line before", Accepted, under("\r\nHTTP/1.1 200 OK"), Keep),
        fault("a status of two digits", Unknown, under("HTTP/1.1 20 OK"), Keep),
        fault("a status of four digits", Unknown, under("HTTP/1.1 2000 OK"), Keep),
        fault("the status 099", Unknown, under("HTTP/1.1 099 OK"), Keep),
        fault("a NUL in the reason", Unknown, under("HTTP/1.1 200 O\0K"), Keep),
        fault("the request in the reason", Accepted, under("HTTP/1.1 200 {head}"), Keep),
        fault("the request as it was", Unknown, "{head}\r\n\r\n", Fin),
        fault("another protocol", Unknown, "SSH-2.0-OpenSSH_9.2\r\n", Fin),
        fault("a TLS alert", Unknown, b"\x15\x03\x03\0\x02\x02\x46".to_vec(), Fin),
        fault("a thousand NULs", Unknown, vec![0; 1_000], Fin),
        fault("a million bytes of nothing", Unknown, "\r\n".repeat(500_000), Fin),
    ]
}

fn statuses() -> Vec<Fault> {
    let mut all = vec![
        fault("100, then the answer", Accepted, "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &with(""), Keep),
        fault("103 with links, then the answer", Accepted, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_owned() + &with(""), Keep),
        fault("102 fifty times, then the answer", Accepted, "HTTP/1.1 102 X\r\n\r\n".repeat(50) + &with(""), Keep),
        fault("100, then 503", Failed, "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", Keep),
        fault("100, closed", Unknown, "HTTP/1.1 100 Continue\r\n\r\n", Fin),
        fault("101, an answer behind it", Unknown, "HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n".to_owned() + &with(""), Keep),
        fault("204, an answer behind it", Unknown, "HTTP/1.1 204 X\r\n\r\n".to_owned() + &with(""), Keep),
        fault("205", Unknown, "HTTP/1.1 205 X\r\ncontent-length: 0\r\n\r\n", Keep),
        fault("304", Rejected, "HTTP/1.1 304 X\r\n\r\n", Keep),
        fault("304 with a length", Rejected, "HTTP/1.1 304 X\r\ncontent-length: 10\r\n\r\n", Keep),
        fault("503, to be tried never again", Failed, "HTTP/1.1 503 X\r\nretry-after: -1\r\ncontent-length: 0\r\n\r\n", Keep),
    ];
    for (name, status) in [("201", "201"), ("202", "202"), ("203", "203"), ("206", "206")] {
        all.push(fault(name, Accepted, under(&format!("HTTP/1.1 {status} X")), Keep));
    }
    for name in ["300", "301", "302", "303", "305", "307", "308"] {
        let loops = format!("HTTP/1.1 {name} X\r\nlocation: {{head}}\r\nlocation: ?\r\ncontent-length: 0\r\n\r\n");
        all.push(fault(name, Rejected, loops, Keep));
    }
    for name in ["400", "407", "411", "414", "417", "421", "425", "426", "431", "451", "499"] {
        let text = format!("HTTP/1.1 {name} X\r\ncontent-length: 6\r\n\r\n<html>");
        all.push(fault(name, Rejected, text, Keep));
    }
    for name in ["501", "504", "505", "511", "520", "524", "599", "600", "999"] {
        let text = format!("HTTP/1.1 {name} X\r\ncontent-length: 6\r\n\r\n<html>");
        all.push(fault(name, Unknown, text, Keep));
    }
    all
}

fn bodies() -> Vec<Fault> {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xabV*.I,)-V\xb2R*.MN\x06\xb2\x95j\x01\0\x8a\x1d\xe5\x8c\x14\0\0\0";
    let sized = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{}", padded(length))
    };
    let in_chunks = |length: usize| chunked(&format!("{length:x}\r\n{}\r\n0\r\n\r\n", padded(length)));
    let bytes = |body: &[u8]| [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    vec![
        fault("64 KiB", Accepted, sized("200 OK", BODY_MAX), Keep),
        fault("64 KiB and a byte", Unknown, sized("200 OK", BODY_MAX + 1), Keep),
        fault("64 KiB in chunks", Accepted, in_chunks(BODY_MAX), Keep),
        fault("64 KiB and a byte in chunks", Unknown, in_chunks(BODY_MAX + 1), Keep),
        fault("64 KiB and a byte, no length", Unknown, format!("HTTP/1.1 200 OK\r\n\r\n{}", padded(BODY_MAX + 1)), Fin),
        fault("10 MB", Unknown, sized("200 OK", 10_000_000), Keep),
        fault("503 with 10 MB", Failed, sized("503 X", 10_000_000).replace("success", "Error"), Keep),
        fault("gzip", Unknown, [format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", gzip.len()).as_bytes(), gzip].concat(), Keep),
        fault("gzip in name only", Accepted, with("content-encoding: gzip\r\n"), Keep),
        fault("another type", Accepted, with("content-type: image/png\r\n"), Keep),
        fault("garbage behind the JSON", Unknown, "HTTP/1.1 200 OK\r\n\r\n{ok}x", Fin),
        fault("two JSONs", Unknown, "HTTP/1.1 200 OK\r\n\r\n{ok}{ok}", Fin),
        fault("a list of JSONs", Unknown, "HTTP/1.1 200 OK\r\n\r\n[{ok}]", Fin),
        fault("a status that is no word", Unknown, body(r#"{"status":200}"#), Keep),
        fault("two statuses", Unknown, body(r#"{"status":"Error","status":"success"}"#), Keep),
        fault("a NUL in the JSON", Unknown, body("{\"status\":\"success\0\"}"), Keep),
        fault("a NUL behind the JSON", Unknown, "HTTP/1.1 200 OK\r\n\r\n{ok}\0", Fin),
        fault("bytes that are no text", Unknown, bytes(b"{\"status\":\"success\",\"message\":\"\xff\"}"), Keep),
        fault("UTF-16", Unknown, bytes(&r#"{"status":"success"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()), Keep),
        fault("60,000 brackets", Unknown, body(&"[".repeat(60_000)), Keep),
        fault("60,000 brackets in the message", Unknown, body(&format!("{{\"status\":\"success\",\"message\":{}", "[".repeat(60_000))), Keep),
        fault("the request in the message", Rejected, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"Error\",\"message\":\"{head}\"}", Fin),
        fault("the request as the status", Unknown, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"{head}\",\"message\":1}", Fin),
        fault("a page", Unknown, body("<html>success</html>"), Keep),
    ]
}
