//! A wrong endpoint: nothing but redirects and 404s from the start.

use crate::support::stub::{Reply, Stub};
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
        // Said as it happens, and at the end.
        let told = ran.stderr.matches("Check --endpoint").count();
        assert_eq!(told, 2, "{}", ran.stderr);
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
