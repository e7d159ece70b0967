//! What cannot start: a wrong command line, file, key file or place, each with a secret in it.

use super::battery::{list, needles};
use super::needles::{Allowed, KEY, KOOKOO_KEY};
use super::{in_parallel, loud};
use crate::support::phone;
use crate::support::workdir::Workdir;

/// A key where an address is asked for, in place of `$`.
const ADDRESSES: &str = "https://kookoo.in/api?api_key=$
https://me:$@kookoo.in/
https://kookoo.in:$/
$://x
https://[$]/
$
http://$.example/";
const WITH_ADDRESS: &str = "send list.csv --endpoint $
verify list.csv --proxy $ --endpoint http://127.0.0.1:9/ --max-outage 1ms";

/// A key in any other argument.
const WITH_KEY: &str = "send list.csv --api-key $
send list.csv $
send $
send list.csv --rate $
send list.csv --region $
send list.csv --channel $
send list.csv --phone-column $
send list.csv --campaign $ --endpoint x
send list.csv --ledger no/no --sender-id $
send list.csv --api-key-file $
verify $
check list.csv --delimiter $
report $
report --campaign $
status --log-format $
sandbox --listen $
$";

/// Files that cannot be used; see [`lay_out`].
const KEY_FILES: &str = "newline\nempty\nbinary\nfolder\nnone";
const WITH_KEY_FILE: &str = "send list.csv --api-key-file $
sandbox --listen 127.0.0.1:0 --api-key-file $";
const LISTS: &str = "two\nquote\nwrong\nbin\nuseless\nfolder";
const WITH_LIST: &str = "send $\nverify $\ncheck $\ncheck $ --phone-column NUMBER";

/// Places that cannot be used; and no refusals, but texts.
const OTHERS: &str = "send list.csv --ledger folder
send list.csv --ledger list.csv
send list.csv --out list.csv
report --ledger list.csv
status
--help
--version
send --help
report --schema";

/// The files that the cases name.
fn lay_out() -> Workdir {
    let dir = Workdir::with(list());
    let odd = phone(3);
    let wrong = format!("name,x {odd},{odd}1,98765 0000,9876500\na,b,c,d,e\n");
    dir.write("two", format!("phone,mobile\n{odd},{odd}\n"));
    dir.write("quote", format!("phone,name\n{odd},\"x\n{odd},y\n"));
    dir.write("wrong", wrong);
    dir.write("bin", [b"phone\n", odd.as_bytes(), b"\xff\xfe\n"].concat());
    dir.write("useless", format!("phone\n{odd}9\n{odd}8\n{odd}7,{odd}\n"));
    dir.write("newline", format!("{}\n{}\n", &KEY[..12], &KEY[12..]));
    dir.write("empty", "\n");
    dir.write("binary", [b"\xff", KEY.as_bytes()].concat());
    std::fs::create_dir(dir.path("folder")).unwrap();
    dir
}

/// Each line with each of those in the place of `$`.
fn with(lines: &str, those: &str) -> Vec<String> {
    let with = |line: &str| -> Vec<String> {
        let those = those.lines().map(|one| line.replace('$', one));
        those.collect()
    };
    lines.lines().flat_map(with).collect()
}

#[test]
#[ignore = "tests/prove secrets"]
fn no_refusal_to_start_repeats_a_secret() {
    let needles = needles();
    let keys = format!("{KEY}\n{KOOKOO_KEY}");
    let cases = [
        with(&with(WITH_ADDRESS, ADDRESSES).join("\n"), &keys),
        with(WITH_KEY, &keys),
        with("sandbox --faults $", KOOKOO_KEY),
        with(WITH_KEY_FILE, KEY_FILES),
        with(WITH_LIST, LISTS),
        OTHERS.lines().map(str::to_owned).collect(),
    ];
    let cases = cases.concat();
    in_parallel(cases.len(), |n| {
        let (what, dir) = (&cases[n], lay_out());
        let args = what.replace("NUMBER", &phone(3));
        let args: Vec<&str> = args.split(' ').collect();
        let mut command = loud(dir.otpdrive(&args), &dir);
        if args[0] == "send" {
            command = command.default("--sender-id", "OTPDRV");
        }
        let ran = command.run();
        assert!((0..=4).contains(&ran.code), "{what}: {}", ran.stderr);
        // A user's own number may be said when it was given as a column's name.
        let own = what.contains("NUMBER");
        let allowed = if own {
            Allowed::Numbers
        } else {
            Allowed::Nothing
        };
        for text in [&ran.stdout, &ran.stderr] {
            needles.are_not_in(what, text.as_bytes(), allowed);
        }
        for (name, bytes) in dir.files() {
            if name.contains(".db") {
                // Codes are in it: nothing was checked.
                needles.are_not_in(what, &bytes, Allowed::NumbersAndCodes);
            }
        }
        0
    });
    println!("{} refusals and helps: no secret in any", cases.len());
}
