//! A wrong endpoint: nothing but redirects and 404s from the start, no such host, a certificate that
//! is not trusted. Waiting mends none of them.

use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::support::authority::{Authority, localhost, trusting};
use crate::support::stub::{self, Reply, Stub};
use crate::support::wire::Wire;
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

#[test]
fn a_wrong_endpoint_is_noticed_early_and_costs_no_row() {
    for answer in [
        Reply::new(302, "").header("Location", "https://example.com/"),
        Reply::new(404, "<html>not here</html>"),
    ] {
        let stub = Stub::start();
        stub.always(answer);
        let dir = Workdir::with(contacts(0..200));
        let ran = dir.send(&stub).args(&["--concurrency", "8"]).ends(4);
        let told = ran.stderr.matches("Check --endpoint").count();
        assert_eq!(told, 1, "{}", ran.stderr);
        assert!(stub.count() <= 28, "{} requests", stub.count());
        assert!(dir.statuses().iter().all(|status| status == "pending"));
        assert_eq!(dir.report()["stop_reason"]["kind"], "wrong_endpoint");
        let right = Stub::start();
        dir.send(&right).ends(0);
        assert!((0..200).all(|n| right.count_for(&e164(n)) == 1));
    }
}

#[test]
fn a_wrong_endpoint_is_noticed_with_a_single_row_too() {
    let stub = Stub::start();
    stub.always(Reply::new(404, ""));
    let dir = Workdir::with(contacts(0..1));
    dir.send(&stub).ends(4);
    assert_eq!(dir.statuses(), ["pending"]);
}

#[test]
fn a_number_that_is_not_found_among_others_that_are_is_rejected() {
    for place in [0, 5, 9] {
        let stub = Stub::start();
        stub.script("smsotp", &e164(place), [Reply::new(404, "")]);
        let dir = Workdir::with(contacts(0..10));
        dir.send(&stub).args(&["--concurrency", "1"]).ends(1);
        assert_eq!(dir.statuses()[place], "rejected", "at {place}");
        assert_eq!(dir.report()["counts"]["sent"], 9);
        dir.send(&stub).ends(1);
        assert_eq!(stub.count(), 10);
    }
}

#[test]
fn a_number_that_is_not_found_alone_in_a_later_run_is_rejected_and_ends_the_campaign() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(9), [Reply::new(404, "")]);
    let dir = Workdir::with(contacts(0..10));
    dir.send(&stub).flags("--limit 9").ends(3);
    for _ in 0..2 {
        dir.send(&stub).ends(1);
        assert_eq!((dir.count("sent"), dir.count("rejected")), (9, 1));
        assert_eq!(dir.report()["state"], "complete");
    }
    assert_eq!(stub.count(), 10);
}

/// Stops at once, with 4 and for this reason, and leaves all rows pending.
#[track_caller]
fn is_not_waited_for(dir: &Workdir, url: &str, trusted: &Authority, kind: &str, words: &str) {
    let start = Instant::now();
    let command = dir.send_to(url).flags("--allow-http");
    let ran = trusting(command, Some(trusted)).ends(4);
    assert!(start.elapsed() < Duration::from_secs(10));
    let told = ran.stderr.matches(words).count();
    assert_eq!(told, 1, "{words}: {}", ran.stderr);
    let stop = &dir.report()["stop_reason"];
    assert_eq!(stop["kind"], kind);
    let message = stop["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
    assert!(dir.statuses().iter().all(|status| status == "pending"));
}

#[test]
fn what_waiting_cannot_mend_is_not_waited_for() {
    let [authority, stranger] = ["authority", "stranger"].map(Authority::new);
    let mut other = localhost();
    other.subject_alt_names = vec![rcgen::SanType::DnsName("example.com".try_into().unwrap())];
    for (issuer, params, words) in [
        (
            &stranger,
            &localhost(),
            "the certificate of localhost is not trusted",
        ),
        (
            &authority,
            &other,
            "the certificate of localhost is for another name",
        ),
    ] {
        let config = issuer.server(&TLS13, params, false);
        let wire = Wire::start(move |line| {
            let _ = line.secure(&config);
        });
        let dir = Workdir::with(contacts(0..40));
        is_not_waited_for(&dir, &wire.https(), &authority, "certificate", words);
        let right = Stub::start();
        dir.send(&right).ends(0);
        assert!((0..40).all(|n| right.count_for(&e164(n)) == 1));
    }
}

#[test]
fn a_host_that_does_not_exist_is_not_waited_for() {
    let looked_up = ("otpdrive.invalid", 80).to_socket_addrs();
    if !looked_up.is_err_and(|error| error.to_string().ends_with("not known")) {
        println!("the resolver of this machine is not sure of what does not exist");
        return;
    }
    let dir = Workdir::with(contacts(0..1));
    let words = "there is no host otpdrive.invalid";
    let url = "http://otpdrive.invalid/api";
    is_not_waited_for(&dir, url, &Authority::new("any"), "wrong_endpoint", words);
}

#[test]
fn a_certificate_that_turns_bad_during_a_run_is_an_outage() {
    let [authority, stranger] = ["authority", "stranger"].map(Authority::new);
    let (good, bad) = (authority.good(&TLS13), stranger.good(&TLS13));
    let wire = Wire::start(move |line| {
        let config = if line.connection == 0 { &good } else { &bad };
        if line.secure(config).is_ok()
            && let Some(asked) = line.ask()
        {
            let body = format!(
                "{{\"status\":\"success\",\"message\":\"{}\"}}",
                asked.number
            );
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length";
            line.say(format!("{head}: {}\r\n\r\n{body}", body.len()));
            line.close_notify();
        }
    });
    let dir = Workdir::with(contacts(0..3));
    let command = dir
        .send_to(&wire.https())
        .flags("--concurrency 1 --max-outage 700ms");
    let ran = trusting(command, Some(&authority)).ends(3);
    assert!(ran.stderr.contains("is not trusted"), "{}", ran.stderr);
    assert_eq!(dir.report()["stop_reason"]["kind"], "outage");
    assert_eq!(dir.statuses(), ["sent", "pending", "pending"]);
}

#[test]
fn what_speaks_no_tls_is_not_waited_for() {
    let wire = Wire::start(|line| {
        line.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        line.wait_for_close();
    });
    let dir = Workdir::with(contacts(0..4));
    let words = "does not speak TLS";
    let any = Authority::new("any");
    is_not_waited_for(&dir, &wire.https(), &any, "wrong_endpoint", words);
}

#[test]
fn a_proxy_that_is_down_is_not_called_the_gateway() {
    let proxy = stub::url(Stub::nowhere());
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..4));
    let run = dir.send(&stub).args(&["--proxy", &proxy]);
    let ran = run.flags("--max-outage 300ms").ends(3);
    assert!(
        ran.stderr.contains("no connection to the proxy"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("gateway is down"), "{}", ran.stderr);
}

#[test]
fn a_proxy_that_asks_for_credentials_is_not_waited_for() {
    let proxy = Wire::start(|line| {
        line.hear();
        line.say("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    });
    let dir = Workdir::with(contacts(0..4));
    let run = dir.send_to("https://localhost:9/api");
    let run = run.args(&["--proxy", &proxy.url()]);
    let ran = trusting(run, Some(&Authority::new("any"))).ends(4);
    let words = "the proxy 127.0.0.1 asks for credentials, or for others";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert_eq!(dir.report()["stop_reason"]["kind"], "wrong_endpoint");
    assert_eq!(dir.count("pending"), 4);
}

#[test]
fn certificates_to_trust_are_needed_for_https_alone() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..4));
    let without = |url: &str| {
        let run = dir.send_to(url).env("SSL_CERT_FILE", "/nope");
        run.env("SSL_CERT_DIR", "/nope")
    };
    let ran = without("https://localhost:1/").ends(2);
    assert!(ran.stderr.contains("ca-certificates"), "{}", ran.stderr);
    without(&stub.url()).ends(0);
    assert_eq!(stub.count(), 4);
}

#[test]
fn too_few_file_handles_are_refused_by_that_name() {
    let dir = Workdir::with(contacts(0..1));
    for most in [7, 9, 18, 31] {
        let run = dir.line("send list.csv --sandbox");
        let ran = run
            .in_shell(&format!("ulimit -n {most}; exec \"$@\""))
            .ends(2);
        assert!(ran.stderr.contains("ulimit -n"), "{most}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{most}: {}", ran.stderr);
    }
    let run = dir.line("send list.csv --sandbox");
    run.in_shell("ulimit -n 32; exec \"$@\"").ends(0);
}

#[test]
fn a_lack_of_file_handles_is_named_and_costs_no_row() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..80));
    let run = dir
        .send(&stub)
        .flags("--concurrency 80 --backoff 1ms..50ms")
        .in_shell("ulimit -n 50; exec \"$@\"")
        .start();
    stub.wait_for(10);
    std::thread::sleep(Duration::from_millis(500));
    stub.release();
    let ran = run.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("ulimit -n"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("gateway is down"), "{}", ran.stderr);
    assert!((0..80).all(|n| stub.count_for(&e164(n)) == 1));
}
