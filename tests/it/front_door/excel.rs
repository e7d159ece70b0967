//! `--excel`: what a spreadsheet would spoil is text to it, and the file is still the next input.

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{e164, phone};

#[test]
fn results_for_excel_keep_every_digit_and_are_the_next_input() {
    let stub = Stub::start();
    stub.script(
        "smsotp",
        &e164(0),
        [Reply::said(200, "success", "919876500000")],
    );
    stub.script("smsotp", &e164(1), [Reply::new(404, "")]);
    let row = |n, id, name| format!("{},{id},{name},12\n", phone(n));
    let rows = [
        row(0, "0012", "\"Rao, A\""),
        row(1, "1234567890123456", "नम"),
    ];
    let dir = Workdir::with(format!("phone,id,name,n\n{}", rows.concat()));
    let send = || dir.send(&stub).flags("--excel");
    send().flags("--on-unknown hold").run();
    let text = dir.read("list-results/results.csv");
    assert!(
        text.starts_with("\u{feff}phone,id,name,n,otp_line,"),
        "{text}"
    );
    let first = text.lines().nth(1).unwrap();
    let expected = "\"=\"\"9876500000\"\"\",\"=\"\"0012\"\"\",\"Rao, A\",12,2,list,\
                    \"=\"\"+919876500000\"\"\",sms,sent,\"=\"\"919876500000\"\"\",";
    assert!(first.starts_with(expected), "{first}");
    assert!(
        text.contains("\"=\"\"1234567890123456\"\"\",नम,12,"),
        "{text}"
    );
    let before = stub.count();
    std::fs::copy(dir.path("list-results/results.csv"), dir.path("again.csv")).unwrap();
    let ran = dir.send(&stub).input("again.csv").run();
    assert!(ran.stderr.contains("campaign   list"), "{}", ran.stderr);
    assert_eq!(stub.count_for(&e164(0)), 1, "who was sent to is known");
    assert!(stub.count() <= before + 5);
    let again = dir.read("list-results/results.csv");
    let first = again.lines().nth(1).unwrap();
    let plain = format!(
        "\"=\"\"{}\"\"\",\"=\"\"0012\"\"\",\"Rao, A\",12,2,list,{}",
        phone(0),
        e164(0)
    );
    assert!(
        first.starts_with(&plain),
        "as it was, and ours plain: {first}"
    );
    let printed = dir.line("report --only sent --excel").ends(0).stdout;
    assert!(printed.starts_with('\u{feff}') && printed.contains("\"=\"\"+919876500000\"\"\""));
}
