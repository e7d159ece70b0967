//! Keeps the work whose instructions `benches/run counts` counts in step with the house.

use std::fs;
use std::path::Path;

#[path = "../../benches/counts/src/rooms.rs"]
mod rooms;

use rooms::ROOMS;

#[test]
fn what_is_counted_is_done_and_each_room_has_its_count() {
    for (name, once, work) in ROOMS {
        work(65).unwrap_or_else(|error| panic!("{name}, {once}: {error}"));
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.txt");
    let kept = fs::read_to_string(kept).unwrap();
    let kept = kept.lines().filter(|line| !line.starts_with('#'));
    let kept = kept.map(|line| line.split(' ').next().unwrap());
    assert!(kept.eq(ROOMS.map(|(name, ..)| name)));
}
