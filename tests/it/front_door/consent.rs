//! A real send on a terminal asks once; nobody else is asked.

use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

const QUESTION: &str = "Send 1,200 sms for real? Type yes (--yes skips this):";

#[test]
fn a_real_send_on_a_terminal_asks_and_takes_only_yes_for_yes() {
    for (answer, code) in [("n\n", 2), ("\n", 2), ("", 2), ("yeah\n", 2), ("yes\n", 0)] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..1_200));
        let ran = dir
            .send(&stub)
            .on_a_terminal()
            .stdin(answer)
            .ends_with(code);
        assert_eq!(ran.stdout.matches(QUESTION).count(), 1, "{}", ran.stdout);
        let plan = ran.stdout.find("to do").unwrap();
        assert!(
            plan < ran.stdout.find(QUESTION).unwrap(),
            "the plan comes first"
        );
        assert_eq!(
            ran.stdout.contains("nothing was sent"),
            code == 2,
            "{}",
            ran.stdout
        );
        assert_eq!(stub.count(), if code == 0 { 1_200 } else { 0 });
        if code == 2 {
            // It leaves no mark.
            assert!(!dir.names().contains(&"list-results".to_owned()));
            assert_eq!(dir.otpdrive(&["status"]).run().stdout, "");
        }
    }
}

#[test]
fn nobody_is_asked_where_it_was_settled_before_or_nothing_is_to_be_sent() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let asks = |command: &str, flags: &str, code: i32| {
        let run = dir.send(&stub).flags(flags);
        let mut run = run;
        if !command.is_empty() {
            run = dir.line(command).flags(flags);
        }
        let ran = run.on_a_terminal().stdin("n\n").ends_with(code);
        ran.stdout.contains("Type yes")
    };
    assert!(!asks("check list.csv", "", 0));
    assert!(!asks("send list.csv --sandbox --rate unlimited", "", 0));
    assert!(asks("", "", 2));
    assert_eq!(stub.count(), 0);
    assert!(!asks("", "--yes", 0));
    assert!(!asks("", "", 0), "nothing is due");
    assert_eq!(stub.count(), 3);
    // Without a terminal, as from cron.
    dir.send(&stub)
        .flags("--campaign again --cooldown 0s")
        .ends(0);
    assert_eq!(stub.count(), 6);
}
