//! What cannot start: a wrong command line, file, key file or place, each with a secret in it.

use super::super::loud;
use super::super::needles::{KEY, KOOKOO_KEY, Needles};
use super::{in_parallel, list, needles, number};
use crate::support::workdir::{Otpdrive, Workdir};

/// A command line, and whether no number may be said either: a user's own may be, in its column's
/// name.
type Case = (Vec<String>, bool);

fn case(args: &[&str]) -> Case {
    (args.iter().map(ToString::to_string).collect(), true)
}

/// The key where an address is asked for.
fn addresses() -> Vec<Case> {
    let urls = [
        format!("https://kookoo.in/api?api_key={KEY}"),
        format!("https://kookoo.in/api?api_key={KOOKOO_KEY}"),
        format!("https://me:{KEY}@kookoo.in/"),
        format!("https://kookoo.in:{KEY}/"),
        format!("{KEY}://x"),
        format!("https://[{KOOKOO_KEY}]/"),
        KEY.to_owned(),
        KOOKOO_KEY.to_owned(),
        format!("http://{KOOKOO_KEY}.example/"),
    ];
    let of = |url: &String| {
        let outage = ["--endpoint", "http://127.0.0.1:9/", "--max-outage", "1ms"];
        let proxy = [&["verify", "list.csv", "--proxy", url], &outage[..]].concat();
        [case(&["send", "list.csv", "--endpoint", url]), case(&proxy)]
    };
    urls.iter().flat_map(of).collect()
}

/// The key in any other argument.
fn arguments() -> Vec<Case> {
    let of = |key: &str| {
        [
            &["send", "list.csv", "--api-key", key][..],
            &["send", "list.csv", key],
            &["send", key],
            &["send", "list.csv", "--rate", key],
            &["send", "list.csv", "--region", key],
            &["send", "list.csv", "--channel", key],
            &["send", "list.csv", "--phone-column", key],
            &["send", "list.csv", "--campaign", key, "--endpoint", "x"],
            &["send", "list.csv", "--ledger", "no/no", "--sender-id", key],
            &["verify", key],
            &["check", "list.csv", "--delimiter", key],
            &["report", key],
            &["status", "--log-format", key],
            &["sandbox", "--listen", key],
            &[key],
        ]
        .map(case)
    };
    let mut cases = [of(KEY), of(KOOKOO_KEY)].concat();
    cases.push(case(&["sandbox", "--faults", KOOKOO_KEY]));
    // Given the key instead of the name of its file.
    cases.push(case(&[
        "send",
        "list.csv",
        "--api-key-file",
        "kEy+Q7-9x&Wv~3-pL%2",
    ]));
    cases
}

/// Files that cannot be used, by what is wrong with them; see [`lay_out`].
fn files() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in ["newline", "empty", "binary", "folder", "none"] {
        cases.push(case(&["send", "list.csv", "--api-key-file", key]));
        let listen = ["sandbox", "--listen", "127.0.0.1:0"];
        cases.push(case(&[&listen[..], &["--api-key-file", key]].concat()));
    }
    for file in ["two", "quote", "wrong", "bin", "useless", "folder"] {
        for command in ["send", "verify", "check"] {
            cases.push(case(&[command, file]));
        }
        let (args, _) = case(&["check", file, "--phone-column", &number(3)]);
        cases.push((args, false));
    }
    let places = [
        &["send", "list.csv", "--ledger", "folder"][..],
        &["send", "list.csv", "--ledger", "list.csv"],
        &["send", "list.csv", "--out", "list.csv"],
        &["report", "--ledger", "list.csv"],
        &["report", "--campaign", KOOKOO_KEY],
        &["status"],
    ];
    cases.extend(places.map(case));
    cases
}

/// No refusals, but texts.
fn helps() -> Vec<Case> {
    let helps = [
        &["--help"][..],
        &["--version"],
        &["send", "--help"],
        &["report", "--schema"],
    ];
    helps.map(case).to_vec()
}

/// The files that the cases name.
fn lay_out() -> Workdir {
    let dir = Workdir::with(list());
    let odd = number(3);
    dir.write("two", format!("phone,mobile\n{odd},{odd}\n"));
    dir.write("quote", format!("phone,name\n{odd},\"x\n{odd},y\n"));
    let wrong = format!("name,x {odd},{odd}1,98437 2615,9843726\na,b,c,d,e\n");
    dir.write("wrong", wrong);
    let binary = [b"phone\n".as_slice(), odd.as_bytes(), b"\xff\xfe\n"].concat();
    dir.write("bin", binary);
    let useless = format!("phone\n{odd}9\n{odd}8\n{odd}7,{odd}\n");
    dir.write("useless", useless);
    dir.write("newline", format!("{}\n{}\n", &KEY[..12], &KEY[12..]));
    dir.write("empty", "\n");
    dir.write("binary", [b"\xff", KEY.as_bytes()].concat());
    std::fs::create_dir(dir.path("folder")).unwrap();
    dir
}

fn command(dir: &Workdir, args: &[String]) -> Otpdrive {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let command = loud(dir.otpdrive(&args), dir);
    if args[0] == "send" {
        command.default("--sender-id", "OTPDRV")
    } else {
        command
    }
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_refusal_to_start_repeats_a_secret() {
    let needles = needles();
    let cases = [addresses(), arguments(), files(), helps()].concat();
    in_parallel(cases.len(), |n| {
        let (args, no_numbers) = &cases[n];
        let dir = lay_out();
        let ran = command(&dir, args).run();
        let what = format!("{args:?}");
        assert!((0..=3).contains(&ran.code), "{what}: {}", ran.stderr);
        for text in [&ran.stdout, &ran.stderr] {
            needles.are_not_in(&what, text.as_bytes(), *no_numbers);
        }
        for name in dir.names().iter().filter(|name| name.contains(".db")) {
            // Codes are in it: nothing was checked.
            let bytes = std::fs::read(dir.path(name)).unwrap();
            Needles::new(&[], &[]).are_not_in(&what, &bytes, false);
        }
    });
    println!("{} refusals and helps: no secret in any", cases.len());
}
