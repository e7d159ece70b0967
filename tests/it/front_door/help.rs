//! What the program says of itself: one screen, all of it, a topic, the manual page.

use std::io::Write as _;
use std::process::{Command, Stdio};

use otpdrive::doc::TOPICS;

use crate::support::workdir::Workdir;

/// The names of the commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = says("-h", 80);
    let (_, listed) = help.split_once("\nCommands:\n").unwrap();
    let names = listed.lines().take_while(|line| !line.is_empty());
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.collect()
}

/// What a command line prints, in a terminal of so many columns.
fn says(line: &str, columns: usize) -> String {
    let dir = Workdir::new();
    let ran = dir.line(line).env("COLUMNS", &columns.to_string());
    ran.ends(0).stdout
}

#[test]
fn the_short_help_is_one_screen_and_one_line_a_flag() {
    let names = commands();
    assert!(names.len() > 10, "{names:?}");
    let lines = names.iter().map(|name| format!("{name} -h"));
    for line in lines.chain(["-h".to_owned()]) {
        for columns in [80, 100] {
            let help = says(&line, columns);
            assert!(help.lines().count() <= 60, "{line}: {help}");
            for line in help.lines() {
                assert!(line.chars().count() <= columns, "{line}");
                assert!(
                    !line.starts_with("          "),
                    "a text of two lines: {help}"
                );
            }
        }
    }
}

#[test]
fn the_long_help_has_all_of_it_under_headings() {
    let help = says("send --help", 80);
    let mut rest = help.as_str();
    for heading in [
        "Campaign:",
        "Channel:",
        "Pace:",
        "Hours and money:",
        "Retries:",
        "Input and output:",
        "Connection:",
        "General:",
        "Examples:",
        "Exit codes:",
        "Topics",
    ] {
        let found = rest.split_once(&format!("\n\n{heading}"));
        rest = found
            .unwrap_or_else(|| panic!("no {heading} in its place"))
            .1;
    }
    for text in [
        "[env: KOOKOO_SENDER_ID]",
        "[default: 10/s]",
        "--connect-timeout <DUR>",
    ] {
        assert!(help.contains(text), "{text}");
    }
    let dir = Workdir::new();
    let set = dir.line("send --help").env("KOOKOO_SENDER_ID", "SECRET");
    assert!(!set.ends(0).stdout.contains("SECRET"));
}

#[test]
fn help_of_a_command_is_its_long_help() {
    for name in commands() {
        let asked = says(&format!("help {name}"), 80);
        // The sandbox is a topic, too.
        if TOPICS.iter().all(|topic| topic.name != name) {
            assert_eq!(asked, says(&format!("{name} --help"), 80));
        }
    }
    assert_eq!(says("help", 80), says("--help", 80));
}

#[test]
fn help_lists_the_topics_and_names_the_nearest() {
    let help = says("help", 80);
    for topic in TOPICS {
        let page = says(&format!("help {}", topic.name), 80);
        let title = topic.text.lines().next().unwrap().trim_start_matches("# ");
        assert!(page.starts_with(&title.to_uppercase()), "{page}");
        let listed = format!("  {:<14} {}\n", topic.name, topic.about);
        assert!(help.contains(&listed), "{listed}");
    }
    let dir = Workdir::new();
    for (line, words) in [
        ("help verdict", "did you mean verdicts?"),
        ("help exit-code", "did you mean exit-codes?"),
        ("help 1234", "there are: campaign, formats,"),
    ] {
        let ran = dir.line(line).ends(2);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

#[test]
fn the_manual_page_has_every_command_and_topic() {
    let page = says("man", 80);
    for name in commands() {
        assert!(
            page.contains(&format!(".SH \"OTPDRIVE {}\"", name.to_uppercase())),
            "{name}"
        );
    }
    let groff = Command::new("groff")
        .args(["-k", "-man", "-Tutf8", "-ww", "-P-cbou"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Where there is none the source says enough.
    let shown = match groff {
        Err(_) => page.clone(),
        Ok(mut groff) => {
            groff
                .stdin
                .take()
                .unwrap()
                .write_all(page.as_bytes())
                .unwrap();
            let out = groff.wait_with_output().unwrap();
            let complaints = String::from_utf8(out.stderr).unwrap();
            assert_eq!(complaints, "", "groff");
            String::from_utf8(out.stdout).unwrap()
        }
    };
    for topic in TOPICS {
        let title = topic.text.lines().next().unwrap().trim_start_matches("# ");
        assert!(shown.contains(&title.to_uppercase()), "{title}");
    }
}

#[test]
fn a_flag_that_is_not_there_is_answered_with_what_is_meant() {
    let dir = Workdir::new();
    for (line, words) in [
        ("send x.csv --key 1", "--api-key-file"),
        ("--api-key 1", "KOOKOO_API_KEY"),
        ("send x.csv --dry-run", "otpdrive check"),
        ("send x.csv --resume", "the same command again"),
        ("send x.csv --concurency 3", "did you mean --concurrency?"),
        ("verify x.csv --fallback call", "a flag of: send"),
        (
            "--campaign x send y.csv",
            "behind the command: otpdrive send --campaign",
        ),
    ] {
        let ran = dir.line(line).ends(2);
        assert!(ran.stderr.contains(words), "{line}: {}", ran.stderr);
        assert!(!ran.stderr.contains("as a value"), "{}", ran.stderr);
    }
    let ran = dir.line("send x.csv -n 3").ends(2);
    assert!(!ran.stderr.contains("tip:"), "{}", ran.stderr);
}

#[test]
fn a_word_where_a_command_should_be_is_answered_with_the_right_command() {
    let dir = Workdir::new();
    for (line, says) in [
        ("formats", "tip: it is a topic: otpdrive help formats"),
        ("exit-codes", "tip: it is a topic: otpdrive help exit-codes"),
        ("contacts.csv", "such as: otpdrive check contacts.csv"),
        ("9876543210.csv", "otpdrive check '+98******10.csv'"),
        ("sned", "'send'"),
    ] {
        let said = dir.line(line).ends(2).stderr;
        assert!(said.contains(says), "{line}: {said}");
        assert!(!said.contains("9876543210"), "{said}");
    }
}
