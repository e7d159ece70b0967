//! Rows are read by their own words, in lists as exports, spreadsheets and people make them.

use std::fs;
use std::path::Path;

use crate::support::phone;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Ran, Workdir, column};

/// What was asked for each number, in order of the numbers.
fn asked(stub: &Stub) -> Vec<String> {
    let mut asked: Vec<String> = stub
        .log()
        .into_iter()
        .map(|request| request.number)
        .collect();
    asked.sort();
    asked
}

/// Sends to a list with these flags; how it ended, and whom it asked.
fn send(list: impl AsRef<[u8]>, flags: &str) -> (Workdir, Ran, Vec<String>) {
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    let ran = dir
        .send(&stub)
        .flags("--max-invalid 100%")
        .flags(flags)
        .run();
    let asked = asked(&stub);
    (dir, ran, asked)
}

/// Checks the codes of a list with these flags; whom it asked with which code.
fn verify(list: &str, flags: &str) -> (Workdir, Ran, Vec<(String, String)>) {
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    let run = dir
        .verify(&stub)
        .flags("--max-invalid 100% --concurrency 1");
    let ran = run.flags(flags).run();
    let log = stub.log().into_iter();
    let asked = log.map(|request| (request.number, request.otp)).collect();
    (dir, ran, asked)
}

const COUNTRIES: &str = "name,country_code,mobile\nA,91,9876500101\nB,44,7400123456\n\
    C,1,7025550143\nD,+971,501234567\nE,65,91234567\nF,44,9876500102\nG,44,+919876500103\n";

#[test]
fn a_country_code_in_its_own_column_is_never_overruled_by_the_default() {
    let (dir, ran, asked) = send(COUNTRIES, "");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expected = [
        "+17025550143",
        "+447400123456",
        "+6591234567",
        "+919876500101",
        "+971501234567",
    ];
    assert_eq!(asked, expected);
    let details = column(&dir.results(), "otp_detail");
    assert!(details[5].contains("do not make one number"), "{details:?}");
    assert!(details[6].contains("another country code"), "{details:?}");
    // Who says that it is something else is believed.
    let (_, _, asked) = send(COUNTRIES, "--country-code-column none");
    assert!(asked.contains(&"+919876500102".to_owned()), "{asked:?}");
    let (_, _, asked) = send(COUNTRIES.replace("country_code", "code"), "");
    assert!(!asked.contains(&"+447400123456".to_owned()), "{asked:?}");
    let named = COUNTRIES.replace("country_code", "code");
    let (_, _, asked) = send(named, "--country-code-column #2");
    assert_eq!(asked, expected);
}

#[test]
fn a_row_shifted_by_a_comma_is_invalid() {
    let list = "name,address,alt,phone\nA,12 MG Road,9999900202,9876500201\n\
        B,7 Park St, Kolkata,9999900203,9876500204\nC,5 Hill Rd,9999900205,9876500206,,\n";
    let (dir, _, asked) = send(list, "");
    assert_eq!(asked, ["+919876500201", "+919876500206"]);
    assert_eq!(dir.statuses(), ["sent", "invalid", "sent"]);
    let details = column(&dir.results(), "otp_detail");
    assert!(
        details[1].contains("more cells than the header"),
        "{details:?}"
    );
}

#[test]
fn a_code_in_a_shifted_row_is_shown_nowhere() {
    let list = "name,phone,note,otp\nA,9876500201,x,110105\nB, Kolkata,9876500204,ok,735105\n\
        C, Pune,9876500205,735106,fine\n";
    let (dir, ran, asked) = verify(list, "");
    assert_eq!(asked, [("+919876500201".to_owned(), "110105".to_owned())]);
    assert_eq!(dir.statuses(), ["verified", "invalid", "invalid"]);
    for code in ["735105", "735106"] {
        assert!(!dir.read("list-results/results.csv").contains(code));
        assert!(!dir.ledger_holds(code) && !ran.stderr.contains(code));
    }
}

#[test]
fn lists_of_lead_ads_are_read_in_their_encoding() {
    let list = "id\tcreated_time\tphone_number\tplatform\r\n\
        l:1\t2026-11-20T10:00:00+05:30\tp:+919876535003\tfb\r\n\
        l:2\t2026-11-20T10:00:00+05:30\tp:+919876535004\tig\r\n";
    let utf16 = "\u{feff}".to_owned() + list;
    let utf16: Vec<u8> = utf16.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [list.as_bytes(), &utf16] {
        let (dir, ran, asked) = send(bytes, "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(asked, ["+919876535003", "+919876535004"]);
        assert_eq!(column(&dir.results(), "id"), ["l:1", "l:2"]);
    }
    let (dir, _, asked) = send(b"phone;nom\n9876535005;Andr\xe9\n", "");
    assert_eq!(asked, ["+919876535005"]);
    assert_eq!(column(&dir.results(), "nom"), ["André"]);
}

#[test]
fn a_column_called_channel_that_holds_no_channels_is_left_aside() {
    let crm = "Name,Phone,Channel\nA,9876533001,Facebook\nB,9876533002,Google Ads\n\
        C,9876533003,SMS\n";
    let (dir, ran, asked) = send(crm, "");
    assert_eq!((ran.code, asked.len()), (0, 3), "{}", ran.stderr);
    assert_eq!(column(&dir.results(), "otp_channel"), ["sms"; 3]);
    let (dir, _, asked) = send(crm, "--channel-column Channel");
    assert_eq!(asked, ["+919876533003"]);
    let details = column(&dir.results(), "otp_detail");
    assert!(details[0].contains("--channel-column none"), "{details:?}");

    let calls = "Name,Phone,Channel\nA,9876534002,Call\nB,9876534003,SMS\nC,9876534004,\n";
    let channels = |flags: &str| {
        let (dir, ..) = send(calls, flags);
        column(&dir.results(), "otp_channel")
    };
    assert_eq!(channels(""), ["call", "sms", "sms"]);
    assert_eq!(channels("--channel-column none"), ["sms"; 3]);
    assert_eq!(channels("--channel-column #3"), ["call", "sms", "sms"]);
}

#[test]
fn a_trailing_decimal_is_never_a_digit() {
    let list = "name,phone\na,+91-987654321.0\nb,0-987654322.0\nc,91 987654323.0\n\
        d,+91-987654324.5\ne,+44 740012345.0\nf,+91987654321.0\ng,987654321.5\n\
        h,+91-9876543210.0\ni,\"+91-987654325,0\"\nj,66543210-11\n";
    let (dir, _, asked) = send(list, "");
    assert_eq!(asked, ["+919876543210"]);
    assert_eq!(dir.count("invalid"), 9);
}

#[test]
fn lines_in_a_cell_are_no_rows_and_their_numbers_nobodys() {
    let two = "name,phone\nAsha,\"9876543210,\n9123456789\"\nB,9876543211\nC,9876543212\n";
    let (dir, _, asked) = send(two, "");
    assert_eq!(asked, ["+919876543211", "+919876543212"]);
    assert_eq!(dir.statuses(), ["invalid", "sent", "sent"]);
    let address = "name,phone,address\nA,9876543210,\"12 MG Road\nPune 411001, 9123456789\"\n\
        B,9876543211,x\n";
    assert_eq!(send(address, "").2, ["+919876543210", "+919876543211"]);
    let swallowed = "phone,name\n9876543210,\"A\n9876543211,B\"\n";
    let (_, ran, asked) = send(swallowed, "");
    assert_eq!((ran.code, asked.len()), (2, 0), "{}", ran.stderr);
    let (_, ran, asked) = send(swallowed, "--accept-multiline-cells");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(asked, ["+919876543210"]);
}

#[test]
fn cells_are_separated_by_what_yields_a_phone_column() {
    let list = "Name;Mobile (home, office)\nA;9876543210\n";
    assert_eq!(send(list, "").2, ["+919876543210"]);
}

#[test]
fn of_two_columns_with_one_name_one_can_be_chosen() {
    let list = "S.No,Mobile No.,Mobile No.\n1,9876520102,9876520103\n";
    let (_, ran, asked) = send(list, "");
    assert_eq!((ran.code, asked.len()), (2, 0));
    let both = "\"Mobile No.\" (#2), \"Mobile No.\" (#3)";
    assert!(ran.stderr.contains(both), "{}", ran.stderr);
    assert_eq!(send(list, "--phone-column #2").2, ["+919876520102"]);
    assert_eq!(send(list, "--phone-column #3").2, ["+919876520103"]);
    // The same bytes read otherwise are other rows.
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    for (place, count) in [("#2", 1), ("#3", 2)] {
        dir.send(&stub).args(&["--phone-column", place]).ends(0);
        assert_eq!(stub.count(), count);
    }
}

#[test]
fn without_a_phone_column_those_that_hold_numbers_are_named() {
    let list = "First Name,Labels,Phone 1 - Label,Phone 1 - Value\n\
        Asha,x,Mobile,+91 98765 33007 ::: +91 99999 33008\nRavi,,* Mobile,098765 33009\n\
        Uma,,,\"98765 33010 ::: \"\n";
    let (_, ran, _) = send(list, "");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("in \"Phone 1 - Value\" (#4)"),
        "{}",
        ran.stderr
    );
    let (dir, _, asked) = send(list, "--phone-column #4");
    assert_eq!(asked, ["+919876533009", "+919876533010"]);
    assert_eq!(dir.statuses(), ["invalid", "sent", "sent"]);
}

#[test]
fn codes_are_read_as_people_write_them() {
    let list = "phone,otp\n9876501001,100-105\n9876501002,OTP: 200105\n9876501007,७००१०५\n\
        9876501013,３१०１０५\n9876501018,810105.\n";
    let (dir, _, asked) = verify(list, "");
    let codes: Vec<&str> = asked.iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, ["100105", "700105", "310105", "810105"]);
    assert_eq!(dir.count("verified"), 4);
    // What could not be read can be repaired, and what could be is hidden.
    let shown = column(&dir.results(), "otp");
    assert_eq!(
        shown,
        ["******", "OTP: 200105", "******", "******", "******"]
    );
}

#[test]
fn what_is_no_code_is_not_asked() {
    let list = "phone,otp\n9876533010,Not received\n9876533011,NULL\n9876533012,pending\n\
        9876533013,210335 thanks\n9876533014,-\n";
    let (dir, _, asked) = verify(list, "");
    assert_eq!(asked, []);
    assert_eq!(dir.count("invalid"), 5);
}

#[test]
fn codes_that_lost_zeros_are_invalid_when_their_length_is_said() {
    let list = "phone,otp\n9876512345,543215\n9876512346,643215\n9876512340,43215\n";
    assert_eq!(verify(list, "").2.len(), 3);
    let (dir, _, asked) = verify(list, "--otp-length 6");
    assert_eq!(asked.len(), 2);
    assert_eq!(dir.statuses(), ["verified", "verified", "invalid"]);
    assert!(column(&dir.results(), "otp_detail")[2].contains("--otp-length"));
}

/// What the program wrote, as the next input of the same campaign: the same statuses, and no
/// request.
#[test]
fn results_are_a_valid_next_input_whatever_the_list_was() {
    let long = format!(
        "phone,note\n9876543210,\"{}\"\n",
        "9123456789,x\n".repeat(150)
    );
    for (list, flags) in [
        (
            "phone;note\n9876543210;\"Alternate:\n9123456789, call after 6\"\n",
            "",
        ),
        (
            "\"Courses (a;b;c;d;e;f;g;h;i;j;k;l)\",phone\nx,9876543210\n",
            "",
        ),
        (
            "phone;\"a\n9123456789\"\n9876543210;x\n",
            "--accept-multiline-cells",
        ),
        (&long, "--accept-multiline-cells"),
        (
            "phone,alt\n9876543210,9876543211\n9876543212,x\n",
            "--phone-column alt",
        ),
        ("a,b\n9876543210,9876543211\n", "--phone-column #2"),
        (
            "cc,phone\n44,7400123456\n44,7400123457\n",
            "--country-code-column cc",
        ),
        ("phone\n07400123456\n", "--region GB"),
        (
            "name,phone\nA, B,9876543210\nC,9876543211\n9876543212\n",
            "",
        ),
        (
            "name,alt,phone,note\nC,x,9876543211,\nDoe, Jane,9876543212,9876543210,\n",
            "",
        ),
        (COUNTRIES, ""),
    ] {
        let (stub, dir) = (Stub::start(), Workdir::with(list));
        stub.script("smsotp", "+919876543211", [Reply::error("no such number")]);
        let run = || dir.send(&stub).flags("--max-invalid 100%");
        run().flags(flags).run();
        let (before, count) = (dir.results(), stub.count());
        assert!(count > 0, "{list:?}");
        dir.write("next.csv", dir.read("list-results/results.csv"));
        let ran = run().input("next.csv").flags("--campaign list").run();
        assert!(ran.code < 2, "{list:?}: {}", ran.stderr);
        assert_eq!(stub.count(), count, "{list:?}");
        for name in ["otp_phone", "otp_status"] {
            assert_eq!(
                column(&dir.results(), name),
                column(&before, name),
                "{list:?}"
            );
        }
    }
}

#[test]
fn an_empty_phone_cell_of_results_means_the_number_that_was_read() {
    let list = format!("phone,otp_phone,otp_status\n,+91{},sent\n", phone(7));
    let (_, ran, asked) = send(&list, "");
    assert_eq!((ran.code, asked), (2, vec![]), "of which campaign?");
    assert!(ran.stderr.contains("--campaign"), "{}", ran.stderr);
    let (.., asked) = send(&list, "--campaign list");
    assert_eq!(asked, [format!("+91{}", phone(7))]);
}

/// Sends to one number of a list, makes the cell behind a comma of its results another one, and
/// sends to those with these flags; whom that asked.
fn send_edited(list: &str, edit: (&str, &str), flags: &str) -> (Workdir, Vec<String>) {
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    dir.send(&stub).flags("--limit 1").run();
    let results = dir.read("list-results/results.csv");
    assert!(results.contains(edit.0), "{results}");
    dir.write("next.csv", results.replacen(edit.0, edit.1, 1));
    let count = stub.count();
    let run = dir
        .send(&stub)
        .input("next.csv")
        .flags("--max-invalid 100%");
    run.flags(flags).run();
    let asked = stub.log().split_off(count);
    (dir, asked.into_iter().map(|one| one.number).collect())
}

#[test]
fn what_a_row_of_results_says_by_now_goes_before_what_was_read_of_it() {
    for (before, now, asked) in [
        ("6591234564", "+6591234564", "+6591234564"),
        ("6591234564", "006591234564", "+6591234564"),
        ("7025550144", "+1 7025550144", "+17025550144"),
        ("9876500024", "DO NOT SEND 9876500024", ""),
        ("9876500024", "9876500024 is wrong", ""),
        ("9876500024", "98765000.24", ""),
        ("9876500024", "876500024", ""),
        ("9876500024", "9876500025", "+919876500025"),
        ("9876500024", "", "+919876500024"),
        ("9876500024", "9876500024", "+919876500024"),
    ] {
        let list = format!("name,phone\na,9876500014\nb,{before}\n");
        let edit = (format!("b,{before},"), format!("b,{now},"));
        let (_, told) = send_edited(&list, (&edit.0, &edit.1), "");
        assert_eq!(told.join(""), asked, "{before} -> {now}");
    }
}

#[test]
fn a_column_of_results_with_other_numbers_than_were_read_is_asked_for() {
    let text = "fon,otp_phone,otp_status\n+17025550144,+917025550145,pending\n";
    let (_, ran, asked) = send(text, "--campaign list");
    assert_eq!((ran.code, asked.len()), (2, 0), "{}", ran.stderr);
    assert!(ran.stderr.contains("in \"fon\" (#1)"), "{}", ran.stderr);
    let (.., asked) = send(text, "--campaign list --phone-column fon");
    assert_eq!(asked, ["+17025550144"]);
}

#[test]
fn a_country_code_or_region_that_is_said_now_goes_before_what_was_read() {
    let list = "cc,phone\n,9876500014\n,7400123454\n";
    let edit = ("\n,7400123454", "\n44,7400123454");
    let flags = "--country-code-column cc --cooldown 0s";
    assert_eq!(send_edited(list, edit, flags).1, ["+447400123454"]);
    let named = list.replace("cc", "isd");
    assert_eq!(send_edited(&named, edit, "").1, ["+447400123454"]);
    let changed = named.replace(",7400", "91,7400");
    let edit = ("91,7400123454", "44,7400123454");
    assert_eq!(send_edited(&changed, edit, "").1, ["+447400123454"]);
    let new = "--region GB --campaign new --cooldown 0s";
    assert_eq!(send_edited(&named, edit_none(), new).1, ["+447400123454"]);
}

/// The cells stay as they are.
fn edit_none() -> (&'static str, &'static str) {
    ("otp_line", "otp_line")
}

#[test]
fn results_of_a_list_without_its_country_codes_are_refused_when_they_would_be_read_with_them() {
    let (stub, dir) = (Stub::start(), Workdir::with(COUNTRIES));
    let run = || dir.send(&stub).flags("--max-invalid 100%");
    run().flags("--country-code-column none").run();
    let count = stub.count();
    dir.write("next.csv", dir.read("list-results/results.csv"));
    let ran = run().input("next.csv").run();
    assert_eq!((ran.code, stub.count()), (2, count), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("--country-code-column \"none\""),
        "{}",
        ran.stderr
    );
    run()
        .input("next.csv")
        .flags("--country-code-column none")
        .run();
    assert_eq!(stub.count(), count);
}

#[test]
fn two_codes_a_date_or_the_number_itself_are_no_code() {
    let list = "phone,otp\n9876533010,123456 654321\n9876533011,12-05-2026\n\
        9876533012,9876533012\n9876533013,+91 98765 33013\n9876533014,12 34 56\n\
        9876533015,123 456\n";
    let (dir, _, asked) = verify(list, "");
    let codes: Vec<&str> = asked.iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, ["123456", "123456"]);
    assert_eq!(dir.count("invalid"), 4);
}

#[test]
fn a_row_of_results_keeps_its_channel_unless_one_is_said() {
    let list = "phone\n02223456789\n9876500302\n9876500303\n";
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    dir.send(&stub).flags("--channel call --limit 2").run();
    dir.write("next.csv", dir.read("list-results/results.csv"));
    dir.send(&stub).input("next.csv").run();
    assert_eq!(column(&dir.results(), "otp_channel"), ["call"; 3]);
    assert_eq!(dir.statuses(), ["sent"; 3]);
    assert_eq!(stub.count(), 3);

    let dir = Workdir::with("phone\n9876500304\n9876500305\n");
    dir.send(&stub).flags("--channel call --limit 1").run();
    dir.write("next.csv", dir.read("list-results/results.csv"));
    dir.send(&stub)
        .input("next.csv")
        .flags("--channel sms")
        .run();
    assert_eq!(column(&dir.results(), "otp_channel"), ["call", "sms"]);
}

#[test]
fn a_suppression_list_is_read_with_the_columns_of_the_list_where_it_has_them() {
    let list = "CC,phone\n44,7400123456\n44,7400123457\n";
    let (stub, dir) = (Stub::start(), Workdir::with(list));
    dir.write("stop.csv", "CC,phone\n44,7400123456\n");
    let flags = "--country-code-column CC --exclude stop.csv";
    let ran = dir.send(&stub).flags(flags).run();
    assert_eq!(asked(&stub), ["+447400123457"]);
    ran.says("stop.csv: 1 numbers in column \"phone\", country code in column \"CC\"");

    let dir = Workdir::with("a~fon\nx~9876500311\ny~9876500312\n");
    dir.write("stop.csv", "fon~phone\n9876500311~1\n");
    let two = "phone,mobile\n9876500311,9876500312\n";
    dir.write("two.csv", two);
    let flags = "--phone-column #2 --delimiter ~ --exclude";
    let run = |list| dir.send(&stub).flags(flags).args(&[list]).run();
    let count = stub.count();
    let ran = run("two.csv");
    assert_eq!((ran.code, stub.count()), (2, count), "{}", ran.stderr);
    assert!(ran.stderr.contains("suppression list"), "{}", ran.stderr);
    run("stop.csv");
    assert_eq!(dir.statuses(), ["suppressed", "sent"]);
    // A list without such columns is read by its own.
    dir.write("plain.csv", "phone\n9876500312\n");
    let ran = dir.send(&stub).flags(flags).args(&["plain.csv"]).run();
    ran.says("plain.csv: 1 numbers");
}

#[test]
fn numbers_that_were_looked_up_are_read_with_their_country_codes() {
    let (stub, dir) = (Stub::start(), Workdir::with("CC,phone\n44,7400123456\n"));
    stub.script("smsotp", "+447400123456", [Reply::dropped()]);
    dir.send(&stub).flags("--country-code-column CC").run();
    assert_eq!(dir.statuses(), ["unknown"]);
    dir.line("settle list.csv --as sent --country-code-column CC")
        .ends(0);
}

#[test]
fn a_title_above_a_list_of_numbers_is_told_with_what_helps_there() {
    let (stub, dir) = (Stub::start(), Workdir::with("phone\n9876500301\n"));
    stub.script("smsotp", "+919876500301", [Reply::dropped()]);
    let titled = "Do not call\nname,phone\nA,9876500301\n";
    dir.write("titled.csv", titled);
    let ran = dir.send(&stub).flags("--exclude titled.csv").ends(2);
    for words in ["titled.csv", "line 2", "take the lines above"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    // It is the header of the list to send to that is meant.
    dir.write("plain.csv", "phone\n9876500301\n");
    dir.write("list.csv", format!("Leads\n{}", dir.read("plain.csv")));
    let flags = "--header-line 2 --exclude plain.csv";
    dir.send(&stub).flags(flags).ends(0);
    assert_eq!(dir.statuses(), ["suppressed"]);
    dir.send(&stub).flags("--header-line 2").ends(1);
    assert_eq!(dir.statuses(), ["unknown"]);
    let settle = || dir.line("settle titled.csv --as sent");
    let ran = settle().ends(2);
    assert!(ran.stderr.contains("--header-line 2"), "{}", ran.stderr);
    settle().flags("--header-line 2").ends(0);
}

#[test]
fn a_workbook_has_no_delimiter() {
    let (stub, dir) = (Stub::start(), Workdir::with("phone\n9876500301\n"));
    let workbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ugly/numbers.xlsx");
    fs::copy(workbook, dir.path("list.xlsx")).unwrap();
    let ran = dir
        .send(&stub)
        .input("list.xlsx")
        .flags("--delimiter ;")
        .ends(2);
    for words in ["list.xlsx", "Excel workbook", "--delimiter"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    // It is that of the list to send to.
    dir.send(&stub)
        .flags("--delimiter ; --exclude list.xlsx")
        .run();
}

#[test]
fn a_column_of_country_codes_is_used_or_refused_whatever_its_name() {
    for name in [
        "ISD/Country Code",
        "Country/ISD",
        "Country Code 1",
        "Contact Country Code",
        "country_code_phone",
        "Mobile ISD",
        "International Code",
    ] {
        let list = format!("{name},phone\n+44,7400123456\nIN,9876500401\n");
        assert_eq!(
            send(&list, "").2,
            ["+447400123456", "+919876500401"],
            "{name}"
        );
    }
    for name in [
        "CC",
        "Country",
        "Phone Prefix",
        "Dial Prefix",
        "Country ISO",
    ] {
        let list = format!("{name},phone\nGB,7400123456\n,9876500401\n");
        let (_, ran, asked) = send(&list, "");
        assert_eq!((ran.code, asked.len()), (2, 0), "{name}: {}", ran.stderr);
        let remedy = format!("--country-code-column \"{name}\"");
        assert!(ran.stderr.contains(&remedy), "{}", ran.stderr);
        assert_eq!(
            send(&list, "--country-code-column #1").2[0],
            "+447400123456"
        );
        assert_eq!(send(&list, "--country-code-column none").2.len(), 2);
        // Where nothing would be another number, or it is something else, there is nothing to ask.
        let agreeing = list.replace("GB,7400123456", "IN,9876500402");
        assert_eq!(send(&agreeing, "").2.len(), 2, "{name}");
        let own = list.replace("GB,7400123456", "GB,+447400123456");
        assert_eq!(send(&own, "").2.len(), 2, "{name}");
        let other = list.replace("GB,7400123456", "Mrs,9876500402");
        assert_eq!(send(&other, "").2.len(), 2, "{name}");
    }
    let whole = "phone,phone_with_country_code\n9876500401,919876500401\n";
    assert_eq!(send(whole, "").2, ["+919876500401"]);
    let list = "country code,phone\nnowhere,9876500401\n91,9876500402\n";
    let (dir, _, asked) = send(list, "");
    assert_eq!(asked, ["+919876500402"]);
    let detail = &column(&dir.results(), "otp_detail")[0];
    assert!(!detail.contains("none"), "{detail}");
}

#[test]
fn a_campaign_is_known_again_whatever_its_name() {
    for name in [
        " list",
        "list ",
        "\u{a0}list",
        "'list",
        "\"list\"",
        "=list",
        "a;=b",
        "li\u{200d}st",
    ] {
        let (stub, dir) = (Stub::start(), Workdir::new());
        let file = format!("{name}.csv");
        dir.write(&file, "phone\n9876500501\n");
        dir.send(&stub).input(&file).ends(0);
        dir.write("next.csv", dir.read(&format!("{name}-results/results.csv")));
        dir.send(&stub).input("next.csv").ends(0);
        assert_eq!(stub.count(), 1, "{name:?}");
    }
    let (stub, dir) = (Stub::start(), Workdir::with("phone\n9876500501\n"));
    let ran = dir
        .send(&stub)
        .args(&["--campaign", "li\u{200b}st"])
        .ends(2);
    assert!(ran.stderr.contains("U+200B"), "{}", ran.stderr);
}
