//! The same people under another name: copies, lists replaced and cut, other campaigns, what a person
//! found out. Nobody is asked twice by accident, and nobody drops out of the account.

use std::fs;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir, column, rows};
use crate::support::{contacts, e164, phone, wait_until};

/// One number is accepted, the second refused, the third unknown.
fn three_fates(stub: &Stub) -> Workdir {
    stub.script("smsotp", &e164(1), vec![Reply::error("barred"); 9]);
    stub.script("smsotp", &e164(2), [Reply::dropped()]);
    let dir = Workdir::with(contacts(0..3));
    dir.send(stub).ends(1);
    assert_eq!(dir.statuses(), ["sent", "rejected", "unknown"]);
    stub.forget();
    dir
}

#[test]
fn a_copy_of_a_list_asks_nobody_who_was_or_may_have_been_asked() {
    let stub = Stub::start();
    let dir = three_fates(&stub);
    let (copy, out) = ("list (1).csv", "list (1)-results");
    dir.write(copy, contacts([0, 1, 2, 3]));
    let planned = dir.otpdrive(&["check", copy]).ends(0);
    planned.says("2 of these numbers are left out: campaign list sent to them, or may have");
    planned.says("to go on with that one: --campaign list; to send all the same: --cooldown 0s");
    dir.send(&stub).input(copy).ends(1);
    let results = dir.results_of(out);
    let statuses = column(&results, "otp_status");
    assert_eq!(statuses, ["suppressed", "rejected", "suppressed", "sent"]);
    let detail = &results[0]["otp_detail"];
    assert!(
        detail.starts_with("campaign list sent to it, or may have, at 2"),
        "{detail}"
    );
    assert_eq!([stub.count_for(&e164(0)), stub.count_for(&e164(2))], [0, 0]);
    // On purpose, and when the time is over.
    dir.send(&stub).input(copy).flags("--cooldown 0s").ends(1);
    assert_eq!([stub.count_for(&e164(0)), stub.count_for(&e164(2))], [1, 1]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let third = dir.send(&stub).flags("--campaign third --cooldown 10ms");
    third.ends(1);
    assert_eq!(stub.count_for(&e164(0)), 2);
}

#[test]
fn a_cool_down_is_asked_about_each_time_and_takes_nothing_from_what_was_sent() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).flags("--limit 1").ends(3);
    let other = || dir.send(&stub).flags("--campaign other --out other");
    other().ends(0);
    let statuses = || column(&dir.results_of("other"), "otp_status");
    assert_eq!(statuses(), ["suppressed", "sent", "sent"]);
    // The first campaign finds the rest sent to, and keeps its own.
    dir.send(&stub).ends(0);
    assert_eq!(dir.statuses(), ["sent", "suppressed", "suppressed"]);
    assert_eq!(dir.report()["counts"]["suppressed"], 2);
    assert_eq!(stub.count(), 3);
    // What is left out in one run is not for ever.
    dir.send(&stub).flags("--cooldown 0s").ends(0);
    assert_eq!(dir.statuses(), ["sent"; 3]);
    assert_eq!(stub.count(), 5);
}

#[test]
fn a_rehearsal_and_a_real_campaign_do_not_hold_each_other_up() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let rehearse = "send list.csv --sandbox --ledger otpdrive.db --campaign rehearsal";
    dir.line(rehearse).ends(0);
    dir.send(&stub).ends(0);
    assert_eq!(stub.count(), 2);
}

#[test]
fn numbers_in_a_suppression_list_are_left_out_also_when_it_comes_later() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..4));
    dir.write("stop.csv", format!("Mobile\n0{}\n", phone(1)));
    dir.write(
        "dnd.csv",
        format!("phone,why\n+91 {},asked\n{},\n", phone(2), phone(9)),
    );
    let flags = "--exclude stop.csv --exclude dnd.csv";
    dir.send(&stub).flags(flags).ends(0);
    assert_eq!(dir.statuses(), ["sent", "suppressed", "suppressed", "sent"]);
    assert_eq!(dir.results()[2]["otp_detail"], "it stands in dnd.csv");
    assert_eq!(stub.count(), 2);
    dir.write("stop.csv", contacts(0..4));
    dir.send(&stub).flags(flags).ends(0);
    let expected = ["sent", "suppressed", "suppressed", "sent"];
    assert_eq!(dir.statuses(), expected, "what was sent is sent");
    // Whoever cannot be read there would be sent to.
    dir.write("stop.csv", "phone\n98765\n");
    let ran = dir.send(&stub).flags(flags).ends(2);
    for words in ["stop.csv", "line 2", "Nothing was sent"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert_eq!(stub.count(), 2);
}

#[test]
fn numbers_that_were_tried_stay_in_the_account_when_their_list_is_replaced() {
    let stub = Stub::start();
    let dir = three_fates(&stub);
    dir.write("list.csv", format!("name,phone\nnew,{}\n", phone(5)));
    let earlier = "sent 1, rejected 1, unknown 1";
    let ran = dir.send(&stub).ends(0);
    ran.says(&format!(
        "3 numbers that were tried and that the file has no more: {earlier}"
    ));
    assert!(
        ran.stderr
            .contains(&format!("in earlier lists only: {earlier}")),
        "{}",
        ran.stderr
    );
    assert_eq!(dir.statuses(), ["sent"]);
    let report = dir.report();
    assert_eq!(report["earlier"]["rows"], 3);
    assert_eq!(report["earlier"]["counts"]["unknown"], 1);
    assert_eq!(report["rows"], 1);
    assert_eq!(report["campaign_totals"]["requests"], 4);
    let status = dir.line("status").ends(0).stdout;
    assert!(status.contains(earlier), "{status}");
    // What they are can be had, and fed back.
    let only = dir.line("report --only rejected,unknown").ends(0).stdout;
    assert_eq!(column(&rows(&only), "otp_status"), ["rejected", "unknown"]);
    assert_eq!(column(&rows(&only), "phone"), [phone(1), phone(2)]);
    assert_eq!(column(&rows(&only), "name"), ["", ""]);
    dir.line("status --verify").ends(0);
    // One comes back: it is the same number as before.
    dir.write("list.csv", contacts([2, 5]));
    dir.send(&stub).ends(1);
    assert_eq!(dir.statuses(), ["unknown", "sent"]);
    assert_eq!(dir.report()["earlier"]["rows"], 2);
    assert_eq!(stub.count(), 1);
    dir.line("status --verify").ends(0);
}

#[test]
fn a_run_with_nothing_to_do_leaves_the_figures_of_the_last_one_at_work() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..5));
    dir.send(&stub).flags("--rate 50/s").ends(0);
    let before = dir.report();
    dir.send(&stub).ends(0);
    let after = dir.report();
    for key in [
        "started_at",
        "finished_at",
        "duration_s",
        "rate",
        "campaign_totals",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["state"], "complete");
}

#[test]
fn while_a_run_is_on_what_is_under_way_is_neither_unknown_nor_lost() {
    let stub = Stub::start();
    stub.default(|index, _| {
        if index < 2 {
            Reply::success()
        } else {
            Reply::silence()
        }
    });
    let dir = Workdir::with(contacts(0..4));
    let run = dir.send(&stub).start();
    stub.wait_for(4);
    wait_until("the two answers are written down", || {
        dir.line("report --out now").ends(0);
        let report: serde_json::Value = serde_json::from_str(&dir.read("now/report.json")).unwrap();
        assert_eq!(report["counts"]["unknown"], 0);
        assert_eq!(report["state"], "running");
        report["counts"]["sent"] == 2
            && report["in_flight"] == 2
            && report["counts"]["pending"] == 2
    });
    let status = dir.line("status").ends(0).stdout;
    assert!(status.contains("2 in flight"), "{status}");
    assert!(run.kill());
    dir.line("report --out now").ends(0);
    let statuses = column(&dir.results_of("now"), "otp_status");
    assert_eq!(
        statuses
            .iter()
            .filter(|status| *status == "unknown")
            .count(),
        2
    );
}

#[test]
fn duplicates_that_are_fed_back_are_the_numbers_that_they_repeat() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::dropped()]);
    let dir = Workdir::with(contacts([0, 1, 2, 0, 1, 2]));
    dir.send(&stub).flags("--limit 2").ends(3);
    let duplicates = dir.line("report --only duplicate").ends(0).stdout;
    dir.write("duplicates.csv", duplicates);
    let again = || dir.send(&stub).input("duplicates.csv");
    for _ in 0..2 {
        again().ends(1);
        assert_eq!(dir.statuses(), ["unknown", "sent", "sent"]);
    }
    again().flags("--campaign other").ends(0);
    let other = column(&dir.results_of("other-results"), "otp_status");
    assert_eq!(other, ["suppressed"; 3]);
    dir.send(&stub).ends(1);
    assert_eq!([0, 1, 2].map(|n| stub.count_for(&e164(n))), [1; 3]);
}

#[test]
fn what_was_looked_up_with_the_provider_is_so_from_then_on() {
    let stub = Stub::start();
    stub.default(|_, _| Reply::dropped());
    let dir = Workdir::with(contacts(0..4));
    dir.send(&stub).ends(1);
    assert_eq!(dir.count("unknown"), 4);
    stub.always(Reply::success());
    dir.write("unsent.csv", contacts([0, 7]));
    let ran = dir.line("settle unsent.csv --as unsent").ends(1);
    for words in [
        "of 1 it was unknown, and they are pending",
        "1 are not in this campaign",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let only = dir.line("report --only unknown").ends(0).stdout;
    let kept: Vec<_> = only
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    dir.write("sent.csv", kept.concat());
    dir.write("other.csv", contacts([8]));
    dir.send(&stub).input("other.csv").ends(0);
    dir.line("settle sent.csv --as sent").ends(0);
    // A slip is put right as long as nothing has followed from it.
    dir.line("settle sent.csv --as unsent").ends(0);
    dir.line("settle sent.csv --as sent").ends(0);
    let all = dir
        .line("report --only sent,pending,unknown --campaign list")
        .ends(0)
        .stdout;
    assert_eq!(
        column(&rows(&all), "otp_status"),
        ["pending", "sent", "sent", "unknown"]
    );
    dir.write("zero.csv", contacts([0]));
    dir.send(&stub).flags("--limit 1").ends(1);
    let again = dir
        .line("settle zero.csv --as sent --campaign list")
        .ends(0);
    assert!(
        again.stderr.contains("1 were not unknown"),
        "{}",
        again.stderr
    );
    dir.send(&stub).ends(1);
    assert_eq!(dir.statuses(), ["sent", "sent", "sent", "unknown"]);
    let detail = &dir.results()[1]["otp_detail"];
    assert_eq!(detail, "looked up with the provider: it was sent");
    assert_eq!(stub.count_for(&e164(0)), 2);
    let who = dir.line(&format!("who 0{}", phone(0))).ends(0).stdout;
    for words in [
        &e164(0),
        "list (send), line 2: sent",
        "looked up at 2",
        "accepted",
    ] {
        assert!(who.contains(words), "{who}");
    }
    dir.line("status --verify").ends(0);
    dir.line(&format!("who {}", phone(7))).ends(0);
    let ran = dir.line("who nobody").ends(2);
    assert!(ran.stderr.contains("the number"), "{}", ran.stderr);
}

#[test]
fn what_is_looked_up_is_noted_for_the_campaign_and_the_command_that_the_file_says() {
    let stub = Stub::start();
    stub.default(|_, _| Reply::dropped());
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(1);
    dir.write("codes.csv", format!("phone,otp\n{},123456\n", phone(0)));
    dir.verify(&stub)
        .input("codes.csv")
        .flags("--campaign list --max-attempts 1 --out v")
        .ends(1);
    let held = |operation: &str| {
        let flags = format!("report --only unknown --campaign list --operation {operation}");
        dir.write("held.csv", dir.line(&flags).ends(0).stdout);
    };
    held("verify");
    let ran = dir.line("settle held.csv --as unsent").ends(2);
    assert!(ran.stderr.contains("`verify` wrote"), "{}", ran.stderr);
    held("send");
    let ran = dir
        .line("settle held.csv --as unsent --campaign other")
        .ends(2);
    assert!(ran.stderr.contains("not to other"), "{}", ran.stderr);
    let ran = dir
        .line("settle held.csv --as unsent --ledger new.db")
        .ends(2);
    assert!(ran.stderr.contains("no ledger new.db"), "{}", ran.stderr);
    dir.write("list.csv", contacts([7]));
    dir.send(&stub).ends(1);
    let ran = dir.line("settle held.csv --as unsent").ends(0);
    assert!(
        ran.stderr.contains("2 of them are not in the list"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_verify_wrote_is_no_list_to_send_to() {
    let stub = Stub::start();
    let dir = Workdir::new();
    dir.write("codes.csv", format!("phone,otp\n{},123456\n", phone(0)));
    dir.verify(&stub)
        .input("codes.csv")
        .flags("--out v")
        .ends(0);
    let send = || dir.send(&stub).input("v/results.csv").flags("--out s");
    let ran = send().ends(2);
    for words in ["`verify` wrote for campaign codes", "--campaign"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    send().flags("--campaign again").ends(0);
    assert_eq!(stub.count(), 2);
}

#[test]
fn a_result_file_of_another_ledger_is_refused_whatever_a_spreadsheet_did_to_it() {
    let stub = Stub::start();
    let (mine, other) = (Workdir::with(contacts(0..3)), Workdir::with(contacts(5..8)));
    mine.send(&stub).ends(0);
    other.send(&stub).ends(0);
    let results = mine.read("list-results/results.csv");
    for results in [
        results.clone(),
        results.replace("+919876500001", "9.19877E+11"),
        "phone,otp_campaign\n9876500000,list\n".to_owned(),
    ] {
        other.write("mine.csv", results);
        let ran = other.send(&stub).input("mine.csv").ends(2);
        assert!(ran.stderr.contains("another ledger"), "{}", ran.stderr);
    }
    // New rows say nothing, and one whose number was repaired is a new one.
    let cell = |n| format!("\n{},", phone(n));
    let next = results.replace(&cell(1), &cell(9)) + &phone(4) + ",,,,,,,,,,,\n";
    mine.write("next.csv", next);
    mine.send(&stub).input("next.csv").ends(0);
    assert_eq!(stub.count(), 8);
}

#[test]
fn a_campaign_that_goes_on_is_read_as_it_was() {
    let stub = Stub::start();
    let dir = Workdir::with("phone,alt\n7400123456,7400123457\n");
    let flags = "--region GB --phone-column alt";
    dir.send(&stub).flags(flags).ends(0);
    let ran = dir.send(&stub).ends(2);
    assert!(ran.stderr.contains("--region"), "{}", ran.stderr);
    let ran = dir.send(&stub).flags("--region GB").ends(2);
    assert!(ran.stderr.contains("--phone-column"), "{}", ran.stderr);
    dir.send(&stub).flags(flags).ends(0);
    assert_eq!(stub.count(), 1);
}

#[test]
fn an_input_without_a_name_of_its_own_needs_a_campaign() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let piped = |input: &str| dir.send(&stub).input(input).stdin(contacts(0..3));
    for input in ["-", "/dev/stdin"] {
        let ran = piped(input).ends(2);
        assert!(ran.stderr.contains("--campaign"), "{}", ran.stderr);
    }
    let redirected = dir
        .send(&stub)
        .input("/dev/stdin")
        .in_shell("\"$@\" < list.csv");
    redirected.ends(2);
    assert!(!dir.path("otpdrive.db").exists());
    piped("-").flags("--campaign june").ends(0);
    piped("/dev/stdin").flags("--campaign june").ends(0);
    assert_eq!(stub.count(), 3);
}

#[test]
fn a_ledger_beside_the_list_is_not_passed_over_from_another_folder() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).ends(0);
    fs::create_dir(dir.path("elsewhere")).unwrap();
    let there = |run: Otpdrive| run.input("../list.csv").in_shell("cd elsewhere; \"$@\"");
    for run in [dir.send(&stub), dir.otpdrive(&["check", ""])] {
        let ran = there(run).ends(2);
        assert!(
            ran.stderr.contains("--ledger ../otpdrive.db"),
            "{}",
            ran.stderr
        );
    }
    assert!(!dir.path("elsewhere/otpdrive.db").exists());
    there(dir.send(&stub).flags("--ledger ../otpdrive.db")).ends(0);
    assert_eq!(stub.count(), 3);
    // Also by another name, and when there is another ledger here.
    std::os::unix::fs::symlink("../list.csv", dir.path("elsewhere/link.csv")).unwrap();
    let linked = dir.send(&stub).input("link.csv");
    linked.in_shell("cd elsewhere; \"$@\"").ends(2);
    dir.write("elsewhere/others.csv", contacts(7..9));
    let others = dir.send(&stub).input("others.csv");
    others.in_shell("cd elsewhere; \"$@\"").ends(0);
    there(dir.send(&stub)).ends(2);
    assert_eq!(stub.count(), 5);
    fs::remove_file(dir.path("elsewhere/otpdrive.db")).unwrap();
    let ran = there(dir.send(&stub).flags("--ledger otpdrive.db")).ends(0);
    let new = dir.path("elsewhere/otpdrive.db").canonicalize().unwrap();
    ran.says(&format!("{} (new)", new.display()));
    assert_eq!(stub.count(), 8);
}

#[test]
fn a_limit_means_the_first_ones_of_the_file_whatever_their_channel() {
    let stub = Stub::start();
    let line = |n| {
        let channel = if n % 2 == 0 { "call" } else { "sms" };
        format!("{},{channel}\n", phone(n))
    };
    let lines: String = (0..8).map(line).collect();
    let dir = Workdir::with(format!("phone,channel\n{lines}"));
    dir.send(&stub).flags("--limit 5").ends(3);
    let pending = column(&dir.results(), "otp_status");
    let pending: Vec<_> = pending.iter().map(|status| status == "pending").collect();
    assert_eq!(
        pending,
        [false, false, false, false, false, true, true, true]
    );
}

#[test]
fn a_checked_code_whose_list_was_replaced_is_a_valid_next_input_under_its_new_columns() {
    let stub = Stub::start();
    let dir = Workdir::new();
    let verify = |list: &str| {
        dir.write("codes.csv", list);
        let run = dir.verify(&stub).input("codes.csv").flags("--out v");
        run.ends(0);
    };
    verify(&format!("phone,otp\n{},123456\n", phone(0)));
    verify(&format!("name,mobile,code\nA,{},123456\n", phone(1)));
    let only = dir.line("report --only verified").ends(0).stdout;
    assert_eq!(column(&rows(&only), "code"), ["******", "******"]);
    dir.write("next.csv", only);
    let run = dir.verify(&stub).input("next.csv").flags("--out v");
    run.ends(0);
    let statuses = column(&dir.results_of("v"), "otp_status");
    assert_eq!(statuses, ["verified", "verified"]);
    assert_eq!(stub.count(), 2);
}

#[test]
fn a_channel_that_is_none_is_shown_with_the_flag() {
    let dir = Workdir::with(format!(
        "phone,via\n{},Facebook\n{},sms\n",
        phone(0),
        phone(1)
    ));
    let ran = dir.line("check list.csv --channel-column via").ends(1);
    for words in ["\"Facebook\"", "--channel-column none"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

/// From 8,192 rows on a list that was there before is read over several connections by whoever holds
/// the ledger, over one by all others.
#[test]
fn a_long_list_is_read_the_same_over_one_connection_and_over_several() {
    let stub = Stub::start();
    let list = contacts((0..9_000).chain([17, 8_999]));
    let dir = Workdir::with(&list);
    dir.write("stop.csv", contacts(8_000..8_100));
    let send = || {
        dir.send(&stub)
            .flags("--concurrency 256 --exclude stop.csv")
    };
    let same_for_all = || {
        dir.line("report --campaign list --out other").ends(0);
        let files =
            ["list-results", "other"].map(|folder| dir.read(&format!("{folder}/results.csv")));
        assert!(files[0] == files[1], "results.csv differs");
        [
            dir.count("sent"),
            dir.count("suppressed"),
            dir.count("duplicate"),
        ]
    };
    send().flags("--limit 5000").ends(3);
    assert_eq!(same_for_all(), [5_000, 100, 2]);
    send().ends(0);
    assert_eq!(same_for_all(), [8_900, 100, 2]);
    // Rows whose jobs an earlier list has begun.
    let one_more = phone(9_001);
    dir.write(
        "list.csv",
        list.replacen('\n', &format!("\n{one_more}\n"), 1),
    );
    send().ends(0);
    assert_eq!(same_for_all(), [8_901, 100, 2]);
    send().ends(0);
    assert_eq!(same_for_all(), [8_901, 100, 2]);
    assert_eq!(stub.count(), 8_901, "each of them once");
}
