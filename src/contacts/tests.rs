//! The whole room: bytes in, contacts out.

use std::fmt::Write as _;
use std::io::Write as _;

use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;

use super::columns::Hidden;
use super::survey::CELLS_MAX;
use super::*;
use crate::job::{GivenCode, Problem};

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".csv").unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn send() -> ReadOptions {
    ReadOptions::new(Operation::Send, Channel::Sms)
}

fn verify() -> ReadOptions {
    ReadOptions::new(Operation::Verify, Channel::Sms)
}

fn read(bytes: &[u8], options: ReadOptions) -> Result<(Survey, Vec<Contact>), ContactsError> {
    let mut input = open(file(bytes).path(), options)?;
    let survey = input.survey()?;
    let contacts = input.contacts(&survey)?.collect::<Result<_, _>>()?;
    Ok((survey, contacts))
}

fn fault(bytes: &[u8]) -> Fault {
    read(bytes, send()).unwrap_err().fault
}

/// `919876543210 sms`, or why not.
fn word(contact: &Contact) -> String {
    match &contact.request {
        Ok(request) => format!("{} {}", request.number.digits(), request.lane.name()),
        Err(Problem(why)) => (*why).to_owned(),
    }
}

#[test]
fn a_file_is_read_as_it_stands() {
    let text = "\u{feff}sep=;\r\n\r\nName;Mobile No.;otp_status;Channel\r\n\
        \"Rao, \"\"R\"\"\";9876543210;sent;\r\n;;;\r\n\
        Das;+91 98765 43211;;CALL \r\nshort\r\n\"two\r\nlines\";0;x;fax;more\r\n";
    let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
    assert_eq!((survey.rows, survey.delimiter), (4, ';'));
    assert_eq!(survey.phone_column, "Mobile No.");
    assert_eq!(survey.channel_column.as_deref(), Some("Channel"));
    assert_eq!(survey.header, "Name,Mobile No.,Channel,");
    assert_eq!(survey.sha256.len(), 64);
    let rows: Vec<_> = contacts
        .iter()
        .map(|c| (c.line, c.record.as_str(), word(c)))
        .collect();
    let row = |line, record, word: &str| (line, record, word.to_owned());
    assert_eq!(
        rows,
        [
            row(4, "\"Rao, \"\"R\"\"\",9876543210,,", "919876543210 sms"),
            row(6, "Das,+91 98765 43211,CALL ,", "919876543211 call"),
            row(7, "short,,,", "the row is too short: it has no phone cell"),
            row(
                8,
                "\"two\r\nlines\",0,fax,more",
                "more cells than the header: a separator that is not in quotes has shifted the row, most likely"
            ),
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_read_twice() {
    use std::os::fd::AsRawFd as _;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"phone\n9876543210\n").unwrap();
    drop(writer);
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let mut input = open(Path::new(&path), send()).unwrap();
    let survey = input.survey().unwrap();
    let contacts = input.contacts(&survey).unwrap().map(Result::unwrap);
    assert_eq!(
        contacts.map(|c| word(&c)).collect::<Vec<_>>(),
        ["919876543210 sms"]
    );
}

#[test]
fn codes_are_read_to_verify_and_never_kept() {
    let text = "phone,OTP Code,channel\n9876543210,004512,fax\n9876543210,******,\n\
        9876543210,,\n9876543210\n0,1234,\n9876543210,9876.0,";
    let (survey, contacts) = read(text.as_bytes(), verify()).unwrap();
    assert_eq!(survey.otp_column.as_deref(), Some("OTP Code"));
    assert_eq!(survey.channel_column, None);
    let codes: Vec<_> = contacts
        .iter()
        .map(
            |contact| match contact.request.as_ref().map(|request| &request.code) {
                Ok(Some(GivenCode::Plain(code))) => code.expose_secret().to_owned(),
                Ok(Some(GivenCode::Masked { line, .. })) => format!("masked {line:?}"),
                _ => word(contact),
            },
        )
        .collect();
    assert_eq!(codes[..2], ["004512", "masked None"]);
    assert_eq!(codes[2], "no code");
    assert_eq!(codes[3], "the row is too short: it has no otp cell");
    assert!(codes[4].contains("too few digits"), "{}", codes[4]);
    assert!(codes[5].contains("damaged"), "{}", codes[5]);
    assert_eq!(contacts[0].record, "9876543210,******,fax");
    assert_eq!(contacts[2].record, "9876543210,,");
    let all = format!("{contacts:?}");
    assert!(!all.contains("4512") && !all.contains("1234"), "{all}");
}

#[test]
fn a_row_to_verify_is_for_the_verify_lane_and_a_channel_is_the_default_when_empty() {
    let text = b"phone,otp,channel\n02223456789,1,\n";
    let (_, contacts) = read(text, verify()).unwrap();
    assert_eq!(word(&contacts[0]), "912223456789 verify");
    let mut options = send();
    options.channel = Channel::Call;
    let (_, contacts) = read(text, options).unwrap();
    assert_eq!(word(&contacts[0]), "912223456789 call");
    let (_, contacts) = read(text, send()).unwrap();
    assert!(
        word(&contacts[0]).contains("fixed line"),
        "{}",
        word(&contacts[0])
    );
}

#[test]
fn a_header_alone_is_refused_unless_the_list_may_be_of_nobody() {
    assert!(matches!(fault(b"phone\n\n"), Fault::NoRows));
    let (survey, contacts) = read(b"phone\n", ReadOptions::numbers_only(Region::IN)).unwrap();
    assert_eq!((survey.rows, contacts.len()), (0, 0));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_path() {
    let file = file(b"name\nx\n");
    let error = open(file.path(), send()).unwrap().survey().unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&file.path().display().to_string()),
        "{text}"
    );
    assert!(text.contains("no phone column among \"name\""), "{text}");
    let mut options = send();
    options.delimiter = Some(b'"');
    let error = open(file.path(), options).unwrap_err();
    assert!(matches!(error.fault, Fault::Delimiter), "{error}");
}

#[test]
fn faults_of_the_guard_come_through_the_parser() {
    assert!(matches!(
        fault(b"phone\n1\n\"2\n3\n"),
        Fault::UnclosedQuote { line: 3 }
    ));
    assert!(matches!(
        fault(b"\xef\xbb\xbfphone\n\xff\n"),
        Fault::NotUtf8 { line: 2, byte: 9 }
    ));
    assert!(matches!(
        fault(b"\xff\xfep\0h\0o\0n\0e\0\n\0\0\xd8\n\0"),
        Fault::NotUtf16
    ));
    assert!(matches!(
        fault(b"phone\n1\0\n"),
        Fault::Nul { line: 2, byte: 7 }
    ));
    assert!(matches!(
        fault(b"9876543210\n9876543211\n"),
        Fault::NoHeader { line: 1 }
    ));
}

#[test]
fn two_stray_quotes_cannot_swallow_the_rows_between_them() {
    for text in [
        "id,phone,note\n1,9876543210,\"\n2,9876543211,x\n3,9876543212,\"\n4,9876543213,\n",
        "id,phone,note\n1,9876543210,\"\n2,9876543211,\"\n",
        "name,phone\n\"A,9876543210\nB\",9876543211\n",
        "name,phone\n\"A,9876543210\n\"\n",
        "id,name,phone\n1,\"A,9876543210\nB\",9876543211\n",
        "phone,name\n\"9876543210,A\r\n9876543211,B\"\r\n",
        "phone\n\"9876543210\n9876543211\n9876543212\"\n",
        "name,phone\nA,\"1\nB\",9876543211\n",
        "phone,a\n9876543210,\"x\n9876543211\",y\n",
        "a,b,phone\nA,B,9876543210,\"\nx,\",9876543211\n",
    ] {
        let fault = fault(text.as_bytes());
        assert!(matches!(fault, Fault::SwallowedRow { line: 2 }), "{fault}");
    }
}

#[test]
fn a_quote_in_the_header_cannot_swallow_rows() {
    let fault_of = |text: &str| fault(text.as_bytes());
    for text in [
        "\"name\nA,9876543210\n\",phone\nB,9876543211\n",
        "phone,\"\n9876543210\n9876543211\n\"\n",
        "phone,\"note\n9876543210\"\n9876543211,x\n",
    ] {
        let fault = fault_of(text);
        assert!(matches!(fault, Fault::SwallowedRow { line: 1 }), "{fault}");
    }
    // Between semicolons the header would end on the second line.
    let fault = fault_of("phone,a,b,;\"x\n,\",y\n9876543210\n9876543211\n");
    assert!(matches!(fault, Fault::UnclosedQuote { line: 2 }), "{fault}");
    // A byte order mark in the middle is text, so the quote behind it opens nothing.
    let text = "\n\u{feff}\"x,phone\nA,9876543210\nB,9876543211\n\"\",\n";
    let (survey, _) = read(text.as_bytes(), send()).unwrap();
    assert_eq!(survey.rows, 2);
    let text = "\u{feff}\u{feff}\"a\",phone\nA,9876543210\n";
    let (survey, _) = read(text.as_bytes(), send()).unwrap();
    assert_eq!(survey.header, "a,phone");
}

#[test]
fn one_wide_row_does_not_fill_the_memory_with_cells_of_the_others() {
    let row = |cells| format!("phone\n9876543210\n{}x\n", ",".repeat(cells - 1));
    let fault = fault(row(CELLS_MAX + 1).as_bytes());
    assert!(matches!(fault, Fault::WideRow { line: 3, .. }), "{fault}");
    assert!(read(row(CELLS_MAX).as_bytes(), send()).is_ok());
}

#[test]
fn cells_over_several_lines_are_kept() {
    let text = "phone,address\n9876543210,\"12, MG Road\nPIN 560001, KA\n\"\n\
        \"9876543211\n\",\"a, b\n\nc\"\n\"9876543212\n9876543213\",x\n";
    let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
    assert_eq!(survey.rows, 3);
    let words: Vec<_> = contacts.iter().map(|c| (c.line, word(c))).collect();
    assert_eq!(words[0], (2, "919876543210 sms".to_owned()));
    assert_eq!(words[1], (5, "919876543211 sms".to_owned()));
    assert_eq!(
        words[2],
        (9, "more than one phone number in the cell".to_owned())
    );
    assert!(
        contacts[0]
            .record
            .ends_with("\"12, MG Road\nPIN 560001, KA\n\"")
    );
}

#[test]
fn a_file_that_changes_between_the_readings_is_refused_at_the_latest_at_its_end() {
    for (change, before) in [("9876543211\n", 2), ("\n", 1), ("a,b,c\n", 1)] {
        let mut file = file(b"phone\n9876543210\n");
        let mut input = open(file.path(), send()).unwrap();
        let survey = input.survey().unwrap();
        file.write_all(change.as_bytes()).unwrap();
        let mut contacts = input.contacts(&survey).unwrap();
        assert_eq!(contacts.by_ref().take_while(Result::is_ok).count(), before);
        assert!(contacts.next().is_none());
    }
    let mut file = file(b"phone\n9876543210\n");
    let mut input = open(file.path(), send()).unwrap();
    let survey = input.survey().unwrap();
    file.write_all(b"\n").unwrap();
    let last = input.contacts(&survey).unwrap().last().unwrap();
    assert!(matches!(last.unwrap_err().fault, Fault::Changed));
}

#[test]
fn no_row_is_lost_and_no_cell_changes_whatever_the_cells_hold() {
    const CELLS: [&str; 12] = [
        "9876543210",
        "+91 98765 43211",
        "",
        " a ",
        "x\"y",
        "a;b",
        "a,b",
        "\"q\"",
        "l1\nl2",
        "r\r\nn",
        "é\u{200b}",
        "'0012",
    ];
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..500 {
        let delimiter = random.choice([',', ';', '\t', '|']).unwrap();
        let end = random.choice(["\n", "\r\n", "\r"]).unwrap();
        let mut text = ["phone", "b", "c"].join(&delimiter.to_string());
        let mut expected = Vec::new();
        for _ in 0..random.usize(1..9) {
            let cells: Vec<_> = (0..random.usize(1..5))
                .map(|_| random.choice(CELLS).unwrap())
                .collect();
            text.push_str(end);
            for (i, cell) in cells.iter().enumerate() {
                let separator = if i > 0 {
                    delimiter.to_string()
                } else {
                    String::new()
                };
                write!(text, "{separator}\"{}\"", cell.replace('"', "\"\"")).unwrap();
            }
            if cells.iter().any(|cell| !cell.is_empty()) {
                expected.push(cells);
            }
        }
        if expected.is_empty() {
            assert!(matches!(fault(text.as_bytes()), Fault::NoRows));
            continue;
        }
        let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
        let width = expected.iter().map(Vec::len).max().unwrap_or(0).max(3);
        assert_eq!(survey.rows, expected.len() as u64, "{text:?}");
        assert_eq!(contacts.len(), expected.len(), "{text:?}");
        for (contact, mut cells) in contacts.iter().zip(expected) {
            cells.resize(width, "");
            let mut csv = csv::ReaderBuilder::new()
                .has_headers(false)
                .from_reader(contact.record.as_bytes());
            let record = csv.records().next().unwrap().unwrap();
            assert_eq!(record, cells, "{text:?}");
        }
    }
}

#[test]
fn random_bytes_never_panic_and_the_guard_changes_nothing_of_what_the_parser_reads() {
    let mut random = fastrand::Rng::with_seed(13);
    let mut accepted = 0;
    for _ in 0..3_000 {
        let mut text = b"phone,x\n".to_vec();
        let alphabet = if random.bool() {
            "9887,,\"\r\n\n a"
        } else {
            "98,;\"\r\n\u{e9}\0"
        };
        for _ in 0..random.usize(0..40) {
            text.push(*random.choice(alphabet.as_bytes()).unwrap());
        }
        let Ok((survey, contacts)) = read(&text, send()) else {
            continue;
        };
        if survey.encoding != "UTF-8" {
            continue;
        }
        let mut plain = csv::ReaderBuilder::new()
            .flexible(true)
            .from_reader(&text[..]);
        let rows = plain.records().map(Result::unwrap);
        let rows = rows.filter(|row| row.iter().any(|cell| !cell.trim().is_empty()));
        let records: Vec<_> = rows
            .map(|row| survey.columns.record(&row, survey.width, Hidden::Nothing))
            .collect();
        let read: Vec<_> = contacts.into_iter().map(|contact| contact.record).collect();
        assert_eq!(read, records, "{text:?}");
        assert_eq!(survey.rows, records.len() as u64);
        accepted += 1;
    }
    assert!(accepted > 300, "{accepted}");
}

/// What the rows of a text are read as.
fn words(text: &str, options: ReadOptions) -> Vec<String> {
    let (_, contacts) = read(text.as_bytes(), options).unwrap();
    contacts.iter().map(word).collect()
}

#[test]
fn a_country_code_beside_a_number_is_part_of_it() {
    let text = "country_code,mobile\n91,9876500101\n44,7400123456\n,9876500102\n44,9876500103\n";
    let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
    assert_eq!(survey.country_code_column.as_deref(), Some("country_code"));
    let read: Vec<_> = contacts.iter().map(word).collect();
    assert_eq!(
        read[..3],
        ["919876500101 sms", "447400123456 sms", "919876500102 sms"]
    );
    assert!(read[3].contains("do not make one number"), "{}", read[3]);
    let masked = |cell: &str, number: &str| (cell.to_owned(), number.to_owned());
    assert_eq!(
        survey.first_numbers[1],
        masked("44 74******56", "+4474******56")
    );
    let mut options = send();
    options.show_numbers = true;
    let (survey, _) = read_all(text, options);
    assert_eq!(survey.first_numbers.len(), 3);
    assert_eq!(
        survey.first_numbers[1],
        masked("44 7400123456", "+447400123456")
    );
    let mut options = send();
    options.country_code_column = Some("none".to_owned());
    assert_eq!(words(text, options)[3], "919876500103 sms");
}

fn read_all(text: &str, options: ReadOptions) -> (Survey, Vec<Contact>) {
    read(text.as_bytes(), options).unwrap()
}

#[test]
fn a_shifted_row_is_invalid_and_shows_no_code() {
    let text = "name,phone,note,otp\nA,9876543210,x,111111\nB, Kolkata,9876543211,ok,222222\n\
        C,9876543212,x,333333,,\n";
    let (_, contacts) = read_all(text, verify());
    assert_eq!(word(&contacts[0]), "919876543210 verify");
    assert!(word(&contacts[1]).contains("more cells than the header"));
    assert_eq!(word(&contacts[2]), "919876543212 verify");
    assert_eq!(contacts[1].record, "B, Kolkata,9876543211,******,******,");
    // It stays so when it comes back: what is beyond the header has no name there either.
    let (survey, contacts) = read_all(text, send());
    let rows: Vec<_> = contacts
        .iter()
        .map(|contact| match &contact.request {
            Ok(_) => contact.record.clone() + ",,,",
            Err(Problem(why)) => format!("{},,invalid,\"{why}\"", contact.record),
        })
        .collect();
    let back = survey.header + ",otp_phone,otp_status,otp_detail\n" + &rows.join("\n");
    let words = words(&back, send());
    assert!(words[1].contains("more cells than the header"), "{words:?}");
    // Whoever mends it there is believed, whatever stands behind it still.
    let mended = back.replacen(
        "B, Kolkata,9876543211,ok,222222",
        "B Kolkata,9876543211,ok,222222,",
        1,
    );
    assert_eq!(self::words(&mended, send())[1], "919876543211 sms");
}

#[test]
fn a_code_that_cannot_be_read_is_kept_to_be_repaired() {
    let text = "phone,otp\n9876543210,510.335\n9876543211,610335\n98765,710335\n9876543212,43215\n";
    let mut options = verify();
    options.otp_length = std::num::NonZeroUsize::new(6);
    let (_, contacts) = read_all(text, options);
    let records: Vec<_> = contacts
        .iter()
        .map(|contact| contact.record.as_str())
        .collect();
    assert_eq!(
        records,
        [
            "9876543210,510.335",
            "9876543211,******",
            "98765,******",
            "9876543212,43215"
        ]
    );
}

#[test]
fn a_column_of_channels_is_used_only_when_it_holds_nothing_else() {
    let crm =
        "phone,Channel\n9876533001,Facebook\n9876533002, call\n9876533003,\n\n9876533004,Ads\n";
    let (survey, contacts) = read_all(crm, send());
    assert_eq!(survey.channel_column, None);
    let note = Note::ChannelLeftAside {
        column: "Channel".to_owned(),
        cells: 2,
    };
    assert_eq!(survey.notes, [note]);
    assert!(
        contacts
            .iter()
            .all(|contact| word(contact).ends_with(" sms"))
    );
    let mut named = send();
    named.channel_column = Some("#2".to_owned());
    let (survey, contacts) = read_all(crm, named);
    assert_eq!(survey.channel_column.as_deref(), Some("Channel"));
    assert!(matches!(&survey.notes[..], [Note::BadChannels { .. }]));
    assert!(word(&contacts[0]).contains("--channel-column none"));
    assert_eq!(word(&contacts[1]), "919876533002 call");

    let channels = "phone,channel\n9876533001,Call\n9876533002,\n9876533003,SMS\n";
    let (survey, contacts) = read_all(channels, send());
    assert_eq!(
        (survey.channel_column.as_deref(), survey.notes.len()),
        (Some("channel"), 0)
    );
    assert_eq!(word(&contacts[0]), "919876533001 call");
    let mut aside = send();
    aside.channel_column = Some("none".to_owned());
    assert_eq!(words(channels, aside)[0], "919876533001 sms");
}

#[test]
fn codes_that_are_shorter_than_most_are_counted_unless_their_length_is_said() {
    let text = "phone,otp\n9876512345,543215\n9876512346,643-215\n9876512340,43215\n\
        9876512300,3215\n9876512301,x\n";
    let (survey, _) = read_all(text, verify());
    assert_eq!(
        survey.notes,
        [Note::ShortCodes {
            codes: 2,
            length: 6
        }]
    );
    let mut options = verify();
    options.otp_length = std::num::NonZeroUsize::new(6);
    let (survey, contacts) = read_all(text, options);
    assert_eq!(survey.notes, []);
    assert!(
        word(&contacts[2]).contains("--otp-length"),
        "{}",
        word(&contacts[2])
    );
}

#[test]
fn a_file_says_which_campaign_it_belongs_to() {
    let file = |one: &str, other: &str| {
        format!("phone,otp_campaign\n9876543210,{one}\n9876543211,\n9876543212,{other}\n")
    };
    let (survey, _) = read_all(&file("list", "list"), send());
    assert_eq!(survey.campaign.as_deref(), Some("list"));
    assert_eq!(survey.header, "phone");
    let two = file("list", "9876500000 b");
    let error = read(two.as_bytes(), send()).unwrap_err().to_string();
    assert!(error.contains("\"list\" and \"+98******00 b\""), "{error}");
    assert!(
        error.contains("--campaign") && error.contains("split"),
        "{error}"
    );
    let mut given = send();
    given.campaign = Some("b".to_owned());
    assert_eq!(read_all(&two, given).0.campaign, None);
}

#[test]
fn a_result_file_is_read_as_it_was_read_before() {
    let text = "fon,city,otp_line,otp_phone,otp_status\n\
        7400123456,A,2,+447400123456,sent\n9876543210,B,3,+919876543210,sent\n12,C,4,,invalid\n\
        9876543219,D,5,+919876543211,sent\n,E,6,919876543212,sent\n";
    let (survey, contacts) = read_all(text, send());
    assert_eq!(
        (survey.phone_column.as_str(), survey.header.as_str()),
        ("fon", "fon,city")
    );
    let column = "fon".to_owned();
    assert_eq!(survey.notes, [Note::PhoneColumnOfResults { column }]);
    let read: Vec<_> = contacts.iter().map(word).collect();
    assert_eq!(
        read,
        [
            "447400123456 sms",
            "919876543210 sms",
            "too few digits for a phone number",
            "919876543219 sms",
            "919876543212 sms",
        ]
    );
    // The column by name is not the one that was read.
    let text = "phone,alt,otp_phone,otp_status\n9876543210,9876543211,+919876543211,sent\n";
    assert_eq!(words(text, send()), ["919876543211 sms"]);
}

#[test]
fn what_a_result_file_says_of_a_row_counts_for_its_own_campaign() {
    let row = |campaign: &str, status: &str, settled: &str| {
        let text = format!(
            "phone,otp,otp_line,otp_campaign,otp_phone,otp_status,otp_settled_at\n\
             9876543210,***,7,{campaign},+919876543210,{status},{settled}\n"
        );
        let mut options = verify();
        options.campaign = Some("list".to_owned());
        let (_, contacts) = read_all(&text, options);
        match &contacts[0].request.as_ref().unwrap().code {
            Some(GivenCode::Masked { line, settled_at }) => (*line, settled_at.map(|at| at.0)),
            other => panic!("{other:?}"),
        }
    };
    let settled = "1970-01-01T00:00:01.500Z";
    assert_eq!(row("list", "verified", settled), (Some(7), Some(1_500_000)));
    assert_eq!(row("list", "pending", ""), (Some(7), None));
    assert_eq!(
        row("list", "unknown", settled),
        (Some(7), None),
        "no answer"
    );
    assert_eq!(
        row("list", "invalid", ""),
        (None, None),
        "there was no code"
    );
    assert_eq!(row("other", "verified", settled), (None, None));
    assert_eq!(row("", "verified", settled), (None, None));
}

#[test]
fn a_row_of_a_result_file_says_what_was_done_for_it_whatever_a_spreadsheet_spoilt() {
    const COLUMNS: &str = "otp_campaign,otp_phone,otp_channel,otp_status,otp_attempts";
    let told_in = |columns: &str, row: &str| {
        let text = format!("phone,{columns}\n{row}\n9876500000,list\n");
        read_all(&text, send()).1[0].told
    };
    let told = |row: &str| told_in(COLUMNS, row);
    assert_eq!(
        told("9876543210,list,+919876543210,sms,sent,1"),
        Told::Tried
    );
    assert_eq!(told("9876543210,list,9.19877E+11,sms,sent,1"), Told::Tried);
    assert_eq!(told("9876543210,list,,sms,sent,"), Told::Tried);
    assert_eq!(
        told("9876543210,list,+919876543210,sms,pending,0"),
        Told::Known
    );
    for nothing in [
        "9876543219,list,+919876543210,sms,sent,1",
        "9876543210,,+919876543210,sms,sent,1",
        "9876543210,list,+919876543210,,verified,1",
        "9876543210,list,,,invalid,0",
    ] {
        assert_eq!(told(nothing), Told::Nothing, "{nothing}");
    }
    assert_eq!(told_in("otp_campaign", "9876543210,list"), Told::Known);
    let short = "otp_campaign,otp_status";
    assert_eq!(told_in(short, "9876543210,list,unknown"), Told::Tried);
}

#[test]
fn text_is_read_whatever_its_encoding() {
    let text = "id\tfull_name\tphone_number\nl:1\tJosé\tp:+919876535003\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = "\u{feff}".to_owned() + text;
        text.encode_utf16().flat_map(bytes).collect()
    };
    let latin: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    for (bytes, encoding) in [
        (utf16(u16::to_le_bytes), "UTF-16"),
        (utf16(u16::to_be_bytes), "UTF-16"),
        (latin, "Windows-1252"),
        (text.as_bytes().to_vec(), "UTF-8"),
    ] {
        let (survey, contacts) = read(&bytes, send()).unwrap();
        assert_eq!((survey.encoding, survey.delimiter), (encoding, '\t'));
        assert_eq!(word(&contacts[0]), "919876535003 sms");
        assert_eq!(contacts[0].record, "l:1,José,p:+919876535003");
    }
}

#[test]
fn a_title_is_called_one_and_the_header_below_is_named() {
    for (text, expected) in [
        ("Leads of November\nname,phone\nA,9876543210\n", 2),
        ("Our list,,\nname;phone;x;y\n1;2;3;4\n", 2),
        (
            "Leads, June\n\nHelpline 9876543210\nname;phone;x\nA;9876543210;B\n",
            4,
        ),
        ("Helpline,9876543210,\nname,phone,city\nA,9876543210,B\n", 2),
    ] {
        match fault(text.as_bytes()) {
            Fault::HeaderBelow {
                line: 1, header, ..
            } => assert_eq!(header, expected, "{text}"),
            other => panic!("{other}, of {text}"),
        }
    }
    let unknown = "Leads of November\nname,fon\nA,9876543210\n";
    assert!(matches!(
        fault(unknown.as_bytes()),
        Fault::Title { line: 1, .. }
    ));
    assert!(matches!(fault(b"name\nA\n"), Fault::NoColumn { .. }));
    // A cell of a row may be the name of a column, too.
    let google = "name,fon,type\nA,9876543210,Mobile\n,,Mobile\n";
    assert!(matches!(
        fault(google.as_bytes()),
        Fault::UnknownPhoneColumn { .. }
    ));
}

#[test]
fn a_header_is_read_on_the_line_that_was_named() {
    let under = |line, text: &str| {
        let mut options = send();
        options.header_line = NonZeroU64::new(line);
        let read = read(text.as_bytes(), options);
        read.map(|(_, rows)| rows.iter().map(|c| (c.line, word(c))).collect::<Vec<_>>())
    };
    let row = |line| (line, "919876543210 sms".to_owned());
    for (line, text) in [
        (3, "A \"title, and\r\n\r\nname,phone\r\nA,9876543210\r\n"),
        (2, "phone,phone\nphone,x\n\n9876543210,1\n"),
        (3, "sep=;\n\na,b;phone\n1;9876543210\n"),
        (1, "phone\n\n\n9876543210\n"),
    ] {
        assert_eq!(under(line, text).unwrap(), [row(4)], "{text:?}");
    }
    for (line, text) in [
        (2, "title\n\nphone\n9876543210\n"),
        (9, "title\nphone\n9876543210\n"),
        (3, "title\nphone\n"),
    ] {
        let fault = under(line, text).unwrap_err().fault;
        assert!(
            matches!(fault, Fault::HeaderLine { .. }),
            "{text:?}: {fault}"
        );
    }
}

#[test]
fn lines_and_numbers_in_a_cell_are_no_rows() {
    for (text, expected) in [
        (
            "phone;note\n9876543210;\"Alternate:\n9123456789, call after 6\"\n",
            1,
        ),
        (
            "phone,note\n9876543210,\"Alternate:\n9123456789, call after 6\"\n",
            1,
        ),
        (
            "name,phone,address\nA,9876543210,\"12 MG Road\nPune 411001, 9123456789\"\nB,9876543211,x\n",
            2,
        ),
        (
            "name,phone\nAsha,\"9876543210,\n9123456789\"\nB,9876543211\nC,9876543212\n",
            3,
        ),
    ] {
        assert_eq!(words(text, send()).len(), expected, "{text:?}");
    }
}

#[test]
fn rows_that_are_shorter_than_the_header_cannot_be_swallowed_either() {
    for text in [
        "phone,name,note\n9876543210\n9876543211,\"\n9876543212\n9876543213\",x\n",
        "phone,name,note\n9876543210,A\n9876543211,\"B\n9876543212,C\n\"\n",
        "name,phone,x\nD,9876543215,y\n\"A,9876543210\nB,9876543211\nC\",9876543212\n",
        "phone,name\n9876543215,D\n\"9876543210\n9876543211\n9876543212\"\n",
        "name, phone\nA, 9876543211\n\"B, 9876543212\nC, 9876543213\"\n",
        "phone,name,note\n9876543215,D,y\n9876543210,A,\"x\n9876543211,B\n9876543212,C\"\n",
        "phone,name,note\n9876543215,D,y\n9876543210,A,\"x\n9876543211\n\"\n",
        "phone,a,b,c\n9876543215,D,y,z\n9876543210,A,y,\"x\n9876543211,B\n9876543212,C\"\n",
        "phone,name\n9876543215,D\n9876543210,\"A\n9.87E+09,B\"\n",
        "phone,name\n9876543215,D\n9876543210,\"A\n17025550143,B\"\n",
        "phone,note\n9876543211,x\n9876543210,\"call\n9123456789\n9123456780\"\n",
    ] {
        let fault = fault(text.as_bytes());
        assert!(
            matches!(fault, Fault::SwallowedRow { line: 3 }),
            "{text:?}: {fault}"
        );
    }
}

#[test]
fn a_guess_about_swallowed_rows_can_be_overruled_and_is_not_made_of_results() {
    let long = format!("phone,note\n9876543210,\"{}\"\n", "x\n".repeat(200));
    for text in [
        "phone,name\n9876543210,\"A\n9876543211,B\"\n",
        "phone,\"note\n9876543210\"\n9876543211,x\n",
        &long,
    ] {
        let error = read(text.as_bytes(), send()).unwrap_err().to_string();
        assert!(error.contains("--accept-multiline-cells"), "{error}");
        let mut options = send();
        options.accept_multiline_cells = true;
        let (survey, contacts) = read_all(text, options);
        assert_eq!((survey.rows, contacts.len()), (1, 1));
        let back = format!(
            "{},otp_phone,otp_status\n{},,\n",
            survey.header, contacts[0].record
        );
        assert_eq!(words(&back, send()), words_of(&contacts));
    }
}

fn words_of(contacts: &[Contact]) -> Vec<String> {
    contacts.iter().map(word).collect()
}

#[test]
fn a_list_of_numbers_holds_any_kind_and_nothing_else_counts() {
    let text = "phone,channel,otp\n02223456789,fax,\n9876543210,,\n";
    let (survey, contacts) = read_all(text, ReadOptions::numbers_only(Region::IN));
    assert_eq!((survey.channel_column, survey.notes.len()), (None, 0));
    assert_eq!(
        words_of(&contacts),
        ["912223456789 verify", "919876543210 verify"]
    );
}
