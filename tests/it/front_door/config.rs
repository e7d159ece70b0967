//! The file of settings, and where each value comes from.

use crate::support::stub::Stub;
use crate::support::workdir::Workdir;
use crate::support::{KEY, contacts};

/// A list, and settings for it in a folder of their own.
fn settings(text: &str) -> Workdir {
    let dir = Workdir::with(contacts(0..4));
    std::fs::create_dir(dir.path("etc")).unwrap();
    dir.write("etc/june.toml", text);
    dir
}

#[test]
fn a_campaign_is_run_as_its_file_of_settings_says() {
    let stub = Stub::start();
    let dir = settings(&format!(
        "endpoint = \"{}\"\nsender_id = \"JUNEDR\"\ncampaign = \"june\"\nlimit = 3\n\
         ledger = \"june.db\"\nout = \"../june\"\nrate = \"100/s\"\n",
        stub.url()
    ));
    let run = || dir.line("send list.csv --config etc/june.toml");
    run().ends(3);
    assert_eq!(stub.count(), 3);
    assert!(stub.log()[0].target.contains("sender_id=JUNEDR"));
    assert!(dir.path("etc/june.db").exists() && dir.path("june/results.csv").exists());
    // Every flag and variable wins over the file, and a later flag over an earlier one.
    run()
        .env("KOOKOO_SENDER_ID", "OTHERS")
        .flags("--limit 9 --limit 1")
        .ends(0);
    assert!(stub.log()[3].target.contains("sender_id=OTHERS"));
    dir.line("status --config etc/june.toml").ends(0);
}

#[test]
fn each_value_is_shown_with_where_it_comes_from_and_can_be_used_again() {
    let dir = settings("rate = \"5/s\"\nexclude = [\"stop.csv\"]\nyes = true\n");
    let shown = dir
        .line("config --config etc/june.toml --concurrency 7")
        .env("KOOKOO_SENDER_ID", "JUNEDR")
        .ends(0)
        .stdout;
    for line in [
        "rate = \"5/s\" # etc/june.toml",
        "concurrency = 7 # flag",
        "sender_id = \"JUNEDR\" # environment",
        "backoff = \"500ms..30s\" # default",
        "yes = true # etc/june.toml",
        "exclude = [\"etc/stop.csv\"] # etc/june.toml",
        "# KOOKOO_API_KEY is set",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    assert!(!shown.contains(KEY), "{shown}");
    dir.write("again.toml", &shown);
    let again = dir.line("config --config again.toml").ends(0).stdout;
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(" # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(&again), values(&shown));
}

#[test]
fn a_file_that_is_wrong_is_refused_before_anything_is_read() {
    for (text, words) in [
        (
            "ratee = \"5/s\"",
            &["etc/june.toml", "did you mean rate?"][..],
        ),
        ("rate = \"5\"", &["--rate", "N/s"]),
        ("yes = \"no\"", &["yes", "true or false"]),
        ("rate = ", &["line 1"]),
        ("api_key = \"KK1\"", &["api_key_file"]),
    ] {
        let ran = settings(text)
            .line("send none.csv --config etc/june.toml")
            .ends(2);
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {}", ran.stderr);
        }
    }
    let ran = settings("")
        .line("send list.csv --config none.toml")
        .ends(2);
    assert!(
        ran.stderr
            .contains("none.toml: it cannot be read: No such file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn shells_and_readers_are_told_of_every_command() {
    let dir = Workdir::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = dir.line(&format!("completions {shell}")).ends(0).stdout;
        assert!(
            text.contains("max-outage") && text.contains("settle"),
            "{shell}"
        );
    }
    let ran = dir.line("completions tcsh").ends(2);
    assert!(ran.stderr.contains("bash, zsh or fish"), "{}", ran.stderr);
    let page = dir.line("man").ends(0).stdout;
    for words in [".TH otpdrive", "OTPDRIVE SETTLE", "\\-\\-max\\-outage"] {
        assert!(page.contains(words), "no {words}");
    }
}
