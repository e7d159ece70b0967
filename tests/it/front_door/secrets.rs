//! The key appears nowhere; codes and whole numbers in no log.

use crate::support::stub::{self, Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{contacts, e164, phone};

const ODD_KEY: &str = "KK+odd/key=1";
const ODD_KEY_ENCODED: &str = "KK%2Bodd%2Fkey%3D1";

#[test]
fn the_key_appears_nowhere_when_nothing_works() {
    let address = Stub::nowhere();
    for format in ["text", "json"] {
        let dir = Workdir::with(contacts(0..3));
        let ran = dir
            .send_to(&stub::url(address))
            .env("KOOKOO_API_KEY", ODD_KEY)
            .args(&["-vvv", "--log-format", format, "--max-outage", "700ms"])
            .ends(3);
        dir.has_nowhere(ODD_KEY, &ran);
        dir.has_nowhere(ODD_KEY_ENCODED, &ran);
        dir.has_nowhere("odd", &ran);
    }
}

#[test]
fn the_key_appears_nowhere_when_the_gateway_repeats_it() {
    let stub = Stub::start();
    stub.default(|index, request| {
        let message = format!("no {ODD_KEY} {ODD_KEY_ENCODED} {}", request.target);
        match index % 3 {
            0 => Reply::error(&message),
            1 => Reply::said(200, &message, "x"),
            _ => Reply::said(200, "success", &message),
        }
    });
    let dir = Workdir::with(contacts(0..9));
    let ran = dir
        .send(&stub)
        .env("KOOKOO_API_KEY", ODD_KEY)
        .args(&["-vvv"])
        .ends(1);
    dir.has_nowhere(ODD_KEY, &ran);
    dir.has_nowhere(ODD_KEY_ENCODED, &ran);
}

#[test]
fn logs_show_numbers_masked() {
    let stub = Stub::start();
    stub.default(|index, request| match index % 2 {
        0 => Reply::error(&format!("barred: {}", request.number)),
        _ => Reply::success(),
    });
    let dir = Workdir::with(contacts(0..6));
    let ran = dir.send(&stub).args(&["-vvv"]).ends(1);
    for n in 0..6 {
        assert!(!ran.stderr.contains(&phone(n)), "{}", ran.stderr);
    }
    assert!(ran.stderr.contains("+9198******00"), "{}", ran.stderr);
    let report = dir.read("list-results/report.json");
    assert!(!(0..6).any(|n| report.contains(&phone(n))), "{report}");
    assert_eq!(dir.results()[0]["otp_phone"], e164(0), "results are whole");
}

#[test]
fn logs_show_whole_numbers_when_asked_to() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let ran = dir.send(&stub).args(&["-vvv", "--log-numbers"]).ends(0);
    assert!(ran.stderr.contains(&phone(1)), "{}", ran.stderr);
}

#[test]
fn codes_appear_in_no_log_and_no_result() {
    let stub = Stub::start();
    stub.default(|index, request| match index % 2 {
        0 => Reply::error(&format!("code {} is no good", request.otp)),
        _ => Reply::said(200, &request.otp, "x"),
    });
    let lines = (0..6).map(|n| format!("{},80351{n}\n", phone(n)));
    let dir = Workdir::with("phone,otp\n".to_owned() + &lines.collect::<String>());
    let ran = dir
        .verify(&stub)
        .args(&["-vvv", "--max-attempts", "2"])
        .ends(1);
    for n in 0..6 {
        let code = format!("80351{n}");
        assert!(!ran.stderr.contains(&code), "{}", ran.stderr);
        for name in ["results.csv", "report.json"] {
            let text = dir.read(&format!("list-results/{name}"));
            assert!(!text.contains(&code), "{name}: {text}");
        }
    }
}

#[test]
fn a_number_in_what_the_gateway_says_of_its_outage_is_masked() {
    let stub = Stub::start();
    let message = format!("down for {}", e164(7));
    stub.always(Reply::said(503, "Error", &message));
    let dir = Workdir::with(contacts(0..30));
    let ran = dir.send(&stub).flags("--max-outage 700ms -vvv").ends(3);
    assert!(ran.stderr.contains("the gateway is down"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(&phone(7)), "{}", ran.stderr);
    let report = dir.read("list-results/report.json");
    assert!(!report.contains(&phone(7)), "{report}");
}

/// A key of 34 characters in which no eight in a row are alike, and what a gateway may make of it.
#[test]
fn a_key_that_the_gateway_repeats_in_disguise_is_taken_out() {
    const KEY: &str = "KKdeadbe12ef34567890abcdeffedcba98";
    let grouped = |length: usize, between: &str| {
        let groups: Vec<_> = KEY.as_bytes().chunks(length).collect();
        let groups: Vec<_> = groups.iter().map(|g| String::from_utf8_lossy(g)).collect();
        groups.join(between)
    };
    let each = |form: fn(u32) -> String| KEY.chars().map(|c| form(c.into())).collect::<String>();
    let disguises = [
        KEY[..8].to_owned(),
        KEY[26..].to_owned(),
        KEY.to_uppercase(),
        grouped(4, " "),
        grouped(4, "-"),
        grouped(2, "."),
        grouped(2, "%20"),
        grouped(2, "%3A"),
        each(|c| format!("%{c:02x}")),
        each(|c| format!("&#{c}")),
        each(|c| format!("&#x{c:x};")),
        each(|c| format!("{c:02x} ")),
        grouped(4, "&nbsp;"),
        grouped(4, "&shy;"),
        grouped(4, "<br/>"),
        each(|c| format!("%u{c:04x}")),
        each(|c| format!("\\\\u{{{c:x}}}")),
        each(|c| format!("\\\\{c:03o}")),
        each(|c| char::from_u32(c + 0xfee0).unwrap().into()),
        "S0tkZWFkYmUxMmVmMzQ1Njc4OTBhYmNkZWZmZWRjYmE5OA==".to_owned(),
    ];
    let stub = Stub::start();
    let said = disguises.clone();
    stub.default(move |index, _| Reply::error(&format!("no <{}> here", said[index])));
    let dir = Workdir::with(contacts(0..disguises.len()));
    let ran = dir
        .send(&stub)
        .env("KOOKOO_API_KEY", KEY)
        .flags("-vvv --concurrency 1 --refused-alike off")
        .ends(1);
    for disguise in &disguises {
        dir.has_nowhere(&format!("<{disguise}"), &ran);
    }
    let details = column(&dir.results(), "otp_detail");
    assert!(
        details.iter().all(|detail| detail.contains("[key]")),
        "{details:?}"
    );
}

#[test]
fn a_number_that_the_gateway_encodes_is_masked() {
    let encoded = [
        "%39%38%37%36%35%30%30%30%30%37",
        "&#57;&#56;&#55;&#54;&#53;&#48;&#48;&#48;&#48;&#55;",
        "98765<b>00007</b>",
    ];
    let stub = Stub::start();
    stub.default(move |index, _| Reply::error(&format!("barred: {}.", encoded[index])));
    let dir = Workdir::with(contacts(0..3));
    let ran = dir.send(&stub).flags("-vvv --concurrency 1").ends(1);
    let report = dir.read("list-results/report.json");
    for text in [&ran.stderr, &report] {
        assert!(text.contains("barred: +98******07"), "{text}");
        for number in encoded {
            assert!(!text.contains(number), "{number} in {text}");
        }
    }
}

#[test]
fn a_number_in_the_name_of_any_campaign_is_masked() {
    const NAME: &str = "2026-11-26 9876512340";
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write(&format!("{NAME}.csv"), contacts(0..2));
    let named = dir.send(&stub).args(&["--campaign", NAME]).ends(0);
    let again = dir.send(&stub).flags("--log-format json").ends(0);
    let list = dir.send(&stub).input(&format!("{NAME}.csv")).ends(0);
    assert!(
        again.stderr.contains("'2026-11-26 +98******40'"),
        "{}",
        again.stderr
    );
    let report = |flags: &str| dir.line("report").flags(flags).ends(2);
    let whole = report("--campaign none --log-numbers");
    assert!(whole.stderr.contains(NAME), "{}", whole.stderr);
    let results = dir.read(&format!("{NAME}-results/report.json"));
    let status = dir.line("status").ends(0);
    let (none, two) = (report("--campaign none"), report(""));
    for text in [
        &named.stderr,
        &again.stderr,
        &list.stderr,
        &none.stderr,
        &two.stderr,
        &status.stdout,
        &results,
    ] {
        assert!(!text.contains("9876512340"), "{text}");
        assert!(text.contains("2026-11-26 +98******40"), "{text}");
    }
}

#[test]
fn a_number_in_any_groups_and_in_the_name_of_the_file_is_masked() {
    let groups = [
        "98,76,50,00,07",
        "+91 98765-00007",
        "(98765) 00007",
        "98765, 00007",
    ];
    let stub = Stub::start();
    stub.default(move |index, _| Reply::error(&format!("barred: {}.", groups[index])));
    let dir = Workdir::new();
    dir.write("9876500007.csv", contacts(0..4));
    let ran = dir
        .send(&stub)
        .input("9876500007.csv")
        .flags("-vvv --concurrency 1")
        .ends(1);
    let report = dir.read("9876500007-results/report.json");
    for text in [&ran.stderr, &report] {
        for number in groups.iter().chain(&["9876500007"]) {
            assert!(!text.contains(number), "{number} in {text}");
        }
    }
    assert!(report.contains("+98******07.csv"), "{report}");
    assert!(ran.stderr.contains("+98******07.csv"), "{}", ran.stderr);
    let status = |flags: &str| dir.line("status").flags(flags).ends(0).stdout;
    assert!(!status("").contains("9876500007"));
    assert!(status("--log-numbers").contains("9876500007"));
    let missing = dir.send(&stub).input("9876500008.csv").ends(2);
    assert!(!missing.stderr.contains("9876500008"), "{}", missing.stderr);
    let shown = dir
        .send(&stub)
        .input("9876500008.csv")
        .flags("--log-numbers");
    assert!(shown.ends(2).stderr.contains("9876500008"));
}

#[test]
fn a_key_that_stands_in_a_name_is_refused() {
    const KEY: &str = "KKa1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6";
    const OTHER: &str = "KK00112233445566778899aabbccddeeff";
    let stub = Stub::start();
    for key in [KEY, OTHER] {
        let named = format!("{key}.csv");
        let by_file = Workdir::new();
        by_file.write(&named, contacts(0..2));
        let by_flag = Workdir::with(contacts(0..2));
        by_flag.write("none.csv", contacts(5..6));
        let send = |dir: &Workdir| dir.send(&stub).env("KOOKOO_API_KEY", KEY);
        for run in [
            send(&by_file).input(&named),
            send(&by_file).input(&named).flags("--campaign list"),
            send(&by_flag).args(&["--campaign", key]),
            send(&by_flag).args(&["--ledger", &format!("{key}.db")]),
            by_flag
                .line("send list.csv --sandbox")
                .env("KOOKOO_API_KEY", KEY)
                .args(&["--campaign", key]),
        ] {
            let ran = run.ends(2);
            let why = "holds an API key, and would stand in the reports";
            assert!(ran.stderr.contains(why), "{}", ran.stderr);
            assert!(!ran.stderr.contains(key), "{}", ran.stderr);
        }
        assert_eq!(by_file.files().len(), 1, "nothing is made");
    }
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_number_in_the_name_of_the_ledger_is_masked_in_the_page() {
    let stub = Stub::start();
    stub.always(Reply::error("barred"));
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).flags("--ledger 9876512340.db").ends(1);
    let page = dir.read("list-results/report.html");
    let shown = "--ledger &#39;+98******40.db&#39;";
    assert_eq!(page.matches(shown).count(), 2, "{page}");
    assert!(!page.contains("9876512340"), "{page}");
}

#[test]
fn the_command_line_that_is_kept_holds_no_key_and_nothing_of_a_proxy_but_its_host() {
    const KEY: &str = "KKa1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6";
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    // The later one counts.
    let ran = dir
        .send_to(&format!("http://127.0.0.1:9/{KEY}"))
        .args(&["--endpoint", &stub.url(), "--max-outage", "100ms"])
        .args(&["--proxy=http:user:pa55word@127.0.0.1:9/"])
        .env("KOOKOO_API_KEY", KEY)
        .ends(3);
    for secret in [KEY, "a1b2c3d4e5", "pa55word"] {
        dir.has_nowhere(secret, &ran);
    }
}
