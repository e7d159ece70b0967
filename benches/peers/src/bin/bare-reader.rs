//! `bare-reader FILE`: the rows of a list, their numbers taken apart and checked against the numbering
//! plans, and nothing else: no other ways to write a number, no duplicates, nothing kept.

use std::process::exit;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType, Region};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let path = std::env::args().nth(1).expect("FILE");
    let mut list = csv::Reader::from_path(path).expect("a list");
    let (mut record, mut mobiles) = (csv::StringRecord::new(), 0);
    while list.read_record(&mut record).expect("a row") {
        let Ok(number) = PHONE_NUMBER_UTIL.parse(&record[0], Some(Region::IN)) else {
            continue;
        };
        let kind = PHONE_NUMBER_UTIL.get_number_type(&number);
        mobiles += u64::from(matches!(
            kind,
            PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile
        ));
    }
    println!("{mobiles} mobiles");
    exit(i32::from(mobiles == 0));
}
