//! After the campaign: who has not verified, how old a code may be, what came of it all.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column, rows};
use crate::support::{contacts, e164, phone, wait_until};

const WRONG: &str = "Your Mobile Number OTP code verification failed";

/// A file of these numbers, each with this code.
fn codes(of: &[(usize, &str)]) -> String {
    let lines = of.iter().map(|(n, code)| format!("{},{code}\n", phone(*n)));
    "phone,otp\n".to_owned() + &lines.collect::<String>()
}

/// A gateway that takes the code 111111 alone.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|_, request| match request.otp.as_str() {
        "" | "111111" => Reply::success(),
        _ => Reply::error(WRONG),
    });
    stub
}

#[test]
fn a_code_that_is_too_old_is_not_asked_and_one_of_unknown_age_is() {
    let stub = gateway();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(0);
    sleep(Duration::from_millis(30));
    dir.write("late.csv", contacts([1]));
    dir.send(&stub)
        .input("late.csv")
        .flags("--cooldown 0s")
        .ends(0);
    dir.write(
        "codes.csv",
        codes(&[(0, "111111"), (1, "111111"), (2, "222222")]),
    );
    let verify = || dir.verify(&stub).input("codes.csv");
    // A rehearsal sends nothing.
    let rehearse = "send list.csv --sandbox --ledger otpdrive.db --rate unlimited";
    dir.line(rehearse).ends(0);
    let sent = stub.count();
    let ran = verify().flags("--max-age 20ms --exclude late.csv").ends(0);
    let said = "1 of these codes is not asked: the latest OTP";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["suppressed", "suppressed", "not_verified"]);
    let detail = &dir.results()[0]["otp_detail"];
    let says =
        "the code is too old to be asked (--max-age): campaign list sent the latest OTP at 2";
    assert!(detail.starts_with(says), "{detail}");
    assert_eq!(stub.count(), sent + 1);
    verify().flags("--max-age 1h").ends(0);
    assert_eq!(dir.statuses(), ["verified", "verified", "not_verified"]);
    let ran = verify().flags("--max-age soon").ends(2);
    assert!(
        ran.stderr.contains("--max-age: wanted a time"),
        "{}",
        ran.stderr
    );
}

/// Whose numbers `report --unverified` prints.
#[track_caller]
fn unverified(dir: &Workdir, flags: &str) -> Vec<String> {
    let ran = dir.line("report --unverified").flags(flags).ends(0);
    column(&rows(&ran.stdout), "phone")
}

fn phones(of: &[usize]) -> Vec<String> {
    of.iter().map(|n| phone(*n)).collect()
}

#[test]
fn who_has_not_verified_is_called_in_a_second_step() {
    let stub = gateway();
    stub.script("smsotp", &e164(3), [Reply::dropped()]);
    stub.script("smsotp", &e164(4), vec![Reply::error("barred"); 9]);
    let list = "phone,Name,channel,otp_note\n";
    let lines = [0, 1, 2, 3, 4, 2].map(|n| format!("{},\"Rao, {n}\",sms,x\n", phone(n)));
    let dir = Workdir::with(list.to_owned() + &lines.concat());
    dir.send(&stub).ends(1);
    // Right, wrong, and none of the others.
    dir.write("codes.csv", codes(&[(0, "111111"), (1, "999999")]));
    dir.verify(&stub)
        .input("codes.csv")
        .flags("--out v")
        .ends(0);
    assert_eq!(unverified(&dir, "--older-than 1h"), [""; 0]);
    let pipe = "\"$@\" | \"$1\" send - --campaign list-call --channel call --cooldown 10ms \
        --rate unlimited --caller-id 914012345678 --endpoint URL"
        .replace("URL", &stub.url());
    sleep(Duration::from_millis(20));
    stub.forget();
    let report = "report --campaign list --unverified --older-than 10ms";
    dir.line(report).in_shell(&pipe).ends(0);
    let called = dir.results_of("list-call-results");
    assert_eq!(column(&called, "phone"), phones(&[1, 2]));
    assert_eq!(column(&called, "Name"), ["Rao, 1", "Rao, 2"]);
    assert_eq!(column(&called, "otp_channel"), ["call"; 2]);
    assert_eq!(column(&called, "otp_status"), ["sent"; 2]);
    assert_eq!(column(&called, "otp_campaign"), ["list-call"; 2]);
    assert_eq!([stub.count(), stub.count_for(&e164(3))], [2, 0]);
    // Now it is the second step that they have not answered.
    assert_eq!(unverified(&dir, "--campaign list"), [""; 0]);
    assert_eq!(unverified(&dir, "--campaign list-call"), phones(&[1, 2]));
    dir.line(report).in_shell(&pipe).ends(2);
    assert_eq!(stub.count(), 2, "an empty list is none");
}

#[test]
fn nobody_whose_code_may_still_be_right_is_called_again() {
    let stub = gateway();
    let dir = Workdir::with(contacts(0..8));
    dir.send(&stub).ends(0);
    let verify = |name: &str, of: &[(usize, &str)]| {
        dir.write(name, codes(of));
        let out = format!("--out {name}-results");
        dir.verify(&stub).input(name).flags(out)
    };
    // Settled, but not: a wrong code; interrupted before it was asked; without an answer; failed.
    verify("a.csv", &[(0, "999999"), (1, "111111")])
        .flags("--limit 1")
        .ends(3);
    stub.script("verifyotp", &e164(2), vec![Reply::dropped(); 9]);
    stub.script("verifyotp", &e164(3), vec![Reply::new(503, ""); 9]);
    verify("b.csv", &[(2, "111111"), (3, "111111")])
        .flags("--max-attempts 1")
        .ends(1);
    assert_eq!(
        unverified(&dir, "--campaign list"),
        phones(&[0, 4, 5, 6, 7])
    );
    // While the answer is awaited, and after a kill.
    stub.script("verifyotp", &e164(4), [Reply::silence()]);
    let run = verify("c.csv", &[(4, "111111")]).start();
    wait_until("it is asked", || {
        stub.log()
            .iter()
            .any(|asked| asked.otp == "111111" && asked.number == e164(4))
    });
    let without_4 = phones(&[0, 5, 6, 7]);
    assert_eq!(unverified(&dir, "--campaign list"), without_4);
    assert!(run.kill());
    assert_eq!(unverified(&dir, "--campaign list"), without_4);
    // In another campaign; in a rehearsal, which says nothing.
    verify("d.csv", &[(5, "111111")]).ends(0);
    let rehearse = "--sandbox --ledger otpdrive.db --rate unlimited";
    dir.line("send list.csv --campaign practice")
        .flags(rehearse)
        .ends(0);
    dir.write("e.csv", codes(&[(6, &crate::support::code(6))]));
    dir.line("verify e.csv").flags(rehearse).ends(0);
    assert_eq!(unverified(&dir, "--campaign list"), phones(&[0, 6, 7]));
    let practised = unverified(&dir, "--campaign practice --sandbox --ledger otpdrive.db");
    assert_eq!(
        practised.len(),
        7,
        "all but the one whose code was right there"
    );
    // Another campaign has sent since, or may have, or is just about to.
    dir.write("f.csv", contacts([6]));
    dir.send(&stub)
        .input("f.csv")
        .flags("--cooldown 0s")
        .ends(0);
    assert_eq!(unverified(&dir, "--campaign list"), phones(&[0, 7]));
    dir.write("g.csv", contacts([7]));
    stub.script("smsotp", &e164(7), [Reply::silence()]);
    let run = dir
        .send(&stub)
        .input("g.csv")
        .flags("--cooldown 0s")
        .start();
    wait_until("it left", || stub.count_for(&e164(7)) == 2);
    assert_eq!(unverified(&dir, "--campaign list"), phones(&[0]));
    assert!(run.kill());
    assert_eq!(unverified(&dir, "--campaign list"), phones(&[0]));
    // Who stands in the list no more is still somebody who was sent to.
    dir.write("list.csv", format!("name,phone\nB,{}\n", phone(20)));
    dir.send(&stub).ends(0);
    assert_eq!(unverified(&dir, "--campaign list"), phones(&[20, 0]));
}

#[test]
fn a_number_that_reads_as_another_one_elsewhere_is_written_out() {
    let stub = gateway();
    let dir = Workdir::with("phone,isd\n7400123456,44\n9876500001,\n");
    dir.send(&stub).ends(0);
    assert_eq!(unverified(&dir, ""), ["+447400123456", &phone(1)]);
    let dir = Workdir::with("alt,phone\n7400123456,9876500001\n");
    dir.send(&stub)
        .flags("--region GB --phone-column alt")
        .ends(0);
    let printed = dir.line("report --unverified").ends(0).stdout;
    assert_eq!(printed, "phone\n+447400123456\n");
}

#[test]
fn the_second_step_reads_the_numbers_of_the_first_whatever_flags_that_had() {
    for (list, flags, number) in [
        (
            "phone,country code\n7400999111,44\n",
            "--country-code-column none",
            "+917400999111",
        ),
        (
            "phone,phone alt\n9876500001,9876500002\n",
            "--phone-column=#2",
            "+919876500002",
        ),
    ] {
        let stub = gateway();
        let dir = Workdir::with(list);
        dir.send(&stub).flags(flags).ends(0);
        dir.write("next.csv", dir.line("report --unverified").ends(0).stdout);
        dir.send(&stub)
            .input("next.csv")
            .flags("--campaign next --channel call --cooldown 0s --caller-id 914012345678")
            .ends(0);
        // An SMS and a call, to one and the same number.
        let asked: Vec<(String, usize)> = stub.counts().into_iter().collect();
        assert_eq!(asked, [(number.to_owned(), 2)], "{list}");
    }
}

#[test]
fn what_makes_no_sense_after_a_campaign_is_refused() {
    let stub = gateway();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).ends(0);
    dir.write("codes.csv", codes(&[(0, "111111")]));
    dir.verify(&stub).input("codes.csv").ends(0);
    for (line, says) in [
        ("report --unverified --only sent", "rule each other out"),
        ("report --unverified --out x", "rule each other out"),
        (
            "report --unverified --operation verify",
            "leave --operation away",
        ),
        ("report --unverified --campaign other", "no such campaign"),
        (
            "report --unverified --older-than soon",
            "--older-than: wanted a time",
        ),
        (
            "report --campaign list --older-than 1h",
            "goes with --unverified",
        ),
        ("report --campaign list --by phone", "a campaign of codes"),
        (
            "report --campaign codes --by phone",
            "holds numbers or codes",
        ),
        (
            "report --campaign codes --by city",
            "no list that this ledger sent to has a column city; they have: phone",
        ),
        ("purge", "--older-than is needed"),
        ("purge --older-than 5", "--older-than: wanted a time"),
        ("purge --older-than -5d", "unexpected argument"),
        (
            "purge --older-than 1d --ledger none.db",
            "there is no ledger",
        ),
    ] {
        let ran = dir.line(line).ends(2);
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
    let ran = dir
        .verify(&stub)
        .input("codes.csv")
        .flags("--by city")
        .ends(2);
    assert!(ran.stderr.contains("has a column city"), "{}", ran.stderr);
}

#[test]
fn the_funnel_is_not_told_by_a_column_that_holds_codes_under_another_name() {
    let stub = gateway();
    let line = |n: usize| {
        let front = ["1234", "00-98", "G-5531", "none "][n % 4];
        format!(
            "{},{front}{n:02},{}\n",
            phone(n),
            ["411001", "560001"][n % 2]
        )
    };
    let list: String = (0..12).map(line).collect();
    let dir = Workdir::with("phone,told,pincode\n".to_owned() + &list);
    dir.send(&stub).ends(0);
    dir.write("codes.csv", codes(&[(0, "111111"), (1, "111111")]));
    let verify = || dir.verify(&stub).input("codes.csv");
    let ran = verify().flags("--by told").ends(2);
    assert!(ran.stderr.contains("numbers or codes"), "{}", ran.stderr);
    verify().flags("--by pincode").ends(0);
    let by = &dir.report()["funnel"]["by"];
    assert_eq!(by.as_object().unwrap().len(), 2, "{by}");
}

#[test]
fn the_funnel_tells_what_came_of_the_otps() {
    let stub = gateway();
    stub.script("smsotp", &e164(3), [Reply::dropped()]);
    stub.script("smsotp", &e164(4), vec![Reply::error("barred"); 9]);
    let line = |n: usize, city: &str| format!("{},{city},{}\n", phone(n), phone(n + 50));
    let list = (0..6).map(|n| line(n, if n < 2 { "Pune" } else { " Agra" }));
    let dir = Workdir::with("phone,City,landline\n".to_owned() + &list.collect::<String>());
    let price = "--price sms=0.25,call=1";
    dir.send(&stub).flags(price).ends(1);
    dir.write("second.csv", contacts([2]));
    let call = "--channel call --cooldown 0s";
    dir.send(&stub)
        .input("second.csv")
        .flags(call)
        .flags(price)
        .ends(0);
    let of = [(0, "111111"), (1, "999999"), (2, "111111"), (9, "111111")];
    dir.write("codes.csv", codes(&of));
    let verify = || dir.verify(&stub).input("codes.csv");
    verify().ends(0);
    let fates = |sent: u64, verified: u64, wrong: u64, unanswered: u64| json!({"sent": sent, "verified": verified, "wrong": wrong, "unanswered": unanswered});
    let funnel = dir.report()["funnel"].clone();
    let has = |funnel: &Value, key: &str, count: u64| assert_eq!(funnel[key], count, "{funnel}");
    for (key, count) in [
        ("sent", 4),
        ("verified", 2),
        ("wrong", 1),
        ("unanswered", 1),
    ] {
        has(&funnel, key, count);
    }
    let channels = json!({"sms": fates(3, 1, 1, 1), "call": fates(1, 1, 0, 0)});
    assert_eq!(funnel["by_channel"], channels);
    assert_eq!(funnel["by_attempt"], json!({"1": 1, "2": 1}));
    assert_eq!(funnel["by"], Value::Null);
    // Five text messages that were billed, or may have been, and a call.
    assert_eq!(funnel["cost_per_verified"], 1.125);
    let times = &funnel["time_to_verify_s"];
    assert!(times["p50"].as_f64() > Some(0.0) && times["p50"].as_f64() <= times["p90"].as_f64());
    // What is sent later is another story.
    dir.write("third.csv", contacts([1, 7]));
    dir.send(&stub)
        .input("third.csv")
        .flags("--cooldown 0s")
        .ends(0);
    let report = "report --campaign codes --out list-results --by city";
    dir.line(report).ends(0);
    let by = json!({"Pune": fates(2, 1, 1, 0), "Agra": fates(1, 0, 0, 1), "": fates(1, 1, 0, 0)});
    assert_eq!(dir.report()["funnel"]["by"], by);
    has(&dir.report()["funnel"], "sent", 4);
    let ran = verify().flags("--by landline").ends(2);
    assert!(ran.stderr.contains("holds numbers"), "{}", ran.stderr);
    verify().flags("--by City").ends(0);
    assert_eq!(dir.report()["funnel"]["by"], by);
    // Nobody verified, no price: no rate, and no number that is none.
    dir.write("wrong.csv", codes(&[(1, "999999")]));
    dir.verify(&stub).input("wrong.csv").ends(0);
    let funnel = &dir.report()["funnel"];
    assert_eq!(
        [&funnel["sent"], &funnel["verified"], &funnel["unanswered"]],
        [2, 0, 1]
    );
    assert_eq!(
        [&funnel["cost_per_verified"], &funnel["time_to_verify_s"]],
        [&Value::Null; 2]
    );
    dir.line("report --campaign list --out list-results")
        .ends(0);
    assert_eq!(dir.report()["funnel"], Value::Null);
}
