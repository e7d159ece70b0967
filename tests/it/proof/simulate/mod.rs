//! Whole campaigns in virtual time: the real engine, the real ledger on a file, the provider's words,
//! against a gateway that does everything it may do, with processes that end at any point and files
//! that are edited in between. One seed is one campaign, the same each time.
//!
//! `OTPDRIVE_SEED=7 tests/prove simulate` plays one seed again and tells what happened;
//! `OTPDRIVE_SEEDS=500` plays so many.

mod disk;
mod judge;
mod killer;
mod lists;
mod lookup;
mod mistakes;
mod process;
mod reached;
mod rows;
mod story;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use otpdrive::job::UnixMicros;
use otpdrive::number::Number;

use crate::proof::quick_or_long;
use judge::Case;
use process::Ended;
use story::{EDITED, LOOKED_UP, Story};
use world::World;

/// No process takes longer than this, waits for a gateway and all.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// What a campaign was made of, for the figures.
#[derive(Default)]
struct Told {
    processes: u64,
    requests: u64,
    virtual_time: Duration,
    /// How often processes were killed where.
    counts: BTreeMap<&'static str, u64>,
    reached: BTreeMap<&'static str, u64>,
    /// When which number was asked for, and whether it was accepted.
    course: Vec<(Duration, Number, bool)>,
}

/// Plays one seed; says what is wrong.
fn play(seed: u64, tell: bool) -> Result<Told, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(campaign(seed, tell))
}

async fn campaign(seed: u64, tell: bool) -> Result<Told, String> {
    let mut story = Story::new(seed);
    let world = World::new(Rng::with_seed(seed ^ 0x0dd5));
    let home = tempfile::Builder::new().tempdir_in(scratch()).unwrap();
    let mut disk = home.path().join("disk-0");
    std::fs::create_dir(&disk).unwrap();
    let began = tokio::time::Instant::now();
    let mut told = Told::default();
    let (mut crashes_in_flight, mut killed) = (0, false);
    for run in 0.. {
        let healthy = run >= story.runs;
        if run > 0 {
            tokio::time::sleep(story.pause()).await;
            let wall = story::BEGIN + began.elapsed();
            in_between(&world, &disk, &mut story, (run, killed), wall)?;
        }
        if story.now == story.lists.len() {
            break;
        }
        let age = began.elapsed();
        let orders = if healthy {
            story.last(run, age)
        } else {
            story.next(run, age)
        };
        if tell {
            println!("run {run} of {}: {:?}", orders.name, orders.settings);
        }
        let life = process::run(&world, &disk, story.list().input(), &orders);
        let Ok((ended, traces)) = tokio::time::timeout(LONGEST, life).await else {
            return Err(format!("run {run} does not end"));
        };
        told.processes += 1;
        let log = world.log.borrow();
        let case = Case {
            log: &log,
            world: &world,
            story: &story,
            orders: &orders,
            traces: &traces,
        };
        let in_run = |why| format!("run {run}: {why}");
        case.any_process().map_err(in_run)?;
        killed = matches!(ended, Ended::Killed { .. });
        match ended {
            Ended::Killed { at, image } => {
                *told.counts.entry(at).or_default() += 1;
                crashes_in_flight += orders.settings.concurrency.get();
                disk = image;
                if tell {
                    println!("  it was killed {at}");
                }
            }
            Ended::Finished(said) => {
                *told.counts.entry("ended by itself").or_default() += 1;
                if tell {
                    println!("  it ended {:?}, {:?}", said.end, said.facts);
                }
                case.a_process_that_ended(&said)
                    .and_then(|()| case.doubts_are_few(&said, crashes_in_flight))
                    .and_then(|()| said.all_is_done(healthy))
                    .map_err(in_run)?;
                let now = story.now;
                story.lists[now].keep_results(&said);
            }
        }
    }
    let log = world.log.borrow();
    told.requests = log.len() as u64;
    told.virtual_time = began.elapsed();
    told.reached = world.reached.take();
    told.course = log
        .iter()
        .map(|request| (request.at - began, request.number, request.accepted))
        .collect();
    Ok(told)
}

/// What somebody does before the process `run`; was the one before it killed? In the end each list is
/// worked off.
fn in_between(
    world: &World,
    disk: &Path,
    story: &mut Story,
    (run, killed): (usize, bool),
    wall: UnixMicros,
) -> judge::Verdicts {
    if run >= story.runs {
        story.now = run - story.runs;
        return Ok(());
    }
    let what = story.happens();
    world.reached.note(what);
    let accident = killed && what != EDITED;
    world
        .reached
        .note_if(accident, "an accident after a process was killed");
    if what == LOOKED_UP {
        lookup::settle(world, disk, story, run, wall)?;
    }
    Ok(())
}

/// Memory rather than a disk, where there is such a place: what is durable is simulated.
fn scratch() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Plays many seeds on all processors; says which ones went wrong, and how.
fn play_all(seeds: std::ops::Range<u64>, enough: usize) -> (Told, Vec<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Told::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop = all.lock().unwrap().1.len() >= enough;
                    if seed >= seeds.end || stop {
                        break;
                    }
                    let played = std::panic::catch_unwind(|| play(seed, false));
                    let played = played.unwrap_or_else(|_| Err("panicked".to_owned()));
                    let (sum, wrong) = &mut *all.lock().unwrap();
                    match played {
                        Ok(told) => {
                            sum.processes += told.processes;
                            sum.requests += told.requests;
                            sum.virtual_time += told.virtual_time;
                            add(&mut sum.counts, told.counts);
                            add(&mut sum.reached, told.reached);
                        }
                        Err(why) => wrong.push((seed, why)),
                    }
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn add(sum: &mut BTreeMap<&'static str, u64>, counts: BTreeMap<&'static str, u64>) {
    for (name, count) in counts {
        *sum.entry(name).or_default() += count;
    }
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
#[ignore = "tests/prove simulate"]
fn whatever_happens_nobody_is_sent_to_twice_and_nobody_is_forgotten() {
    if let Some(seed) = number_in("OTPDRIVE_SEED") {
        play(seed, true).unwrap();
        return;
    }
    let seeds = number_in("OTPDRIVE_SEEDS").unwrap_or(quick_or_long(2_000, 100_000));
    // One is enough to catch a deliberate mistake.
    let enough = if std::env::var_os(mistakes::MADE).is_some() {
        1
    } else {
        10
    };
    let start = Instant::now();
    let (told, wrong) = play_all(0..seeds, enough);
    println!(
        "{seeds} seeds in {:.0} s: {} processes, {} requests, {} h of virtual time",
        start.elapsed().as_secs_f64(),
        told.processes,
        told.requests,
        told.virtual_time.as_secs() / 3_600
    );
    for (end, count) in &told.counts {
        println!("  {count:>7} {end}");
    }
    for (seed, why) in &wrong {
        println!("OTPDRIVE_SEED={seed} tests/prove simulate: {why}");
    }
    assert!(wrong.is_empty(), "{} seeds went wrong", wrong.len());
    let seldom = reached::too_seldom(&told.reached, seeds);
    assert!(seldom.is_empty(), "reached too seldom: {seldom:#?}");
}

#[test]
#[ignore = "tests/prove simulate"]
fn one_seed_is_one_course_of_events() {
    for seed in 0..40 {
        let plays = [(); 2].map(|()| play(seed, false).unwrap().course);
        assert_eq!(plays[0], plays[1], "seed {seed}");
    }
}
