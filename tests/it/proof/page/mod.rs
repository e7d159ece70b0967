//! `report.html` in a real browser: pages that the program made in several situations, at several
//! widths, light, dark and on paper. Nothing is complained of or fetched, nothing is wider than the
//! window, and every number is the one in `report.json`.

mod browser;
mod numbers;
mod situations;

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use browser::{Browser, Look};
use situations::pages;

/// What is to be seen on a page.
const SEEN: &str = include_str!("seen.js");

const WIDTHS: [u32; 4] = [320, 375, 800, 1_280];

/// Sheets of paper that the longest page takes.
const SHEETS: usize = 6;

const LIGHT: Look = Look {
    width: 1_280,
    media: "screen",
    scheme: "light",
    forced_colors: "none",
};

/// All that is wrong with a page.
fn faults(browser: &mut Browser, path: &Path, report: &Value) -> Vec<String> {
    let mut faults = browser.open(path);
    for width in WIDTHS {
        for (scheme, forced_colors) in [("light", "none"), ("dark", "none"), ("light", "active")] {
            let look = Look {
                width,
                scheme,
                forced_colors,
                ..LIGHT
            };
            browser.look(look);
            let seen = browser.tell(SEEN);
            if seen["overflow"].as_f64() > Some(0.0) || seen["outside"][0].is_string() {
                let (by, what) = (&seen["overflow"], &seen["outside"]);
                faults.push(format!("wider than {look:?} by {by}: {what}"));
            }
        }
    }
    browser.look(LIGHT);
    faults.extend(numbers::differ(&browser.tell(SEEN), report));
    faults.extend(on_paper(browser));
    faults.extend(without_style(browser));
    faults
}

/// Ten millions fit where there were fewer.
fn large(browser: &mut Browser, path: &Path) -> Vec<String> {
    browser.open(path);
    browser.tell(
        "document.querySelectorAll('.facts b, .todo .c').forEach((it) => it.textContent = '10,000,000')",
    );
    let narrow = WIDTHS.map(|width| {
        browser.look(Look { width, ..LIGHT });
        let seen = browser.tell(SEEN);
        let is_wide = seen["overflow"].as_f64() > Some(0.0) || seen["outside"][0].is_string();
        is_wide.then(|| format!("10,000,000 at {width}: {}", seen["outside"]))
    });
    narrow.into_iter().flatten().collect()
}

/// Paper is light whatever the screen is, has all settings and none of the tables beside charts.
fn on_paper(browser: &mut Browser) -> Vec<String> {
    browser.look(Look {
        width: 794,
        media: "print",
        scheme: "dark",
        forced_colors: "none",
    });
    let seen = browser.tell(SEEN);
    let faults = [
        (seen["paper"] == "rgb(255, 255, 255)", "paper is dark"),
        (seen["settings"].as_u64() > Some(20), "settings are folded"),
        (seen["tables"] == 0, "tables beside charts are printed"),
        (!browser.prints_sheet(SHEETS + 1), "too many sheets"),
    ];
    let faults = faults.into_iter().filter(|(is_right, _)| !is_right);
    faults.map(|(_, fault)| fault.to_owned()).collect()
}

/// Where no style is let in, all of the text stands there in its order.
fn without_style(browser: &mut Browser) -> Vec<String> {
    browser.look(LIGHT);
    let styled = browser.tell(SEEN);
    browser.tell("document.querySelector('style').remove()");
    let plain = browser.tell(SEEN);
    let is_same = ["headings", "facts", "sections"].map(|what| styled[what] == plain[what]);
    let is_same = is_same.iter().all(|is_same| *is_same);
    (!is_same)
        .then(|| "something is missing without style".to_owned())
        .into_iter()
        .collect()
}

#[test]
#[ignore = "tests/prove page"]
fn every_page_fits_and_tells_what_the_report_tells() {
    let start = Instant::now();
    let pages = pages();
    println!("{} pages made in {:.1?}", pages.len(), start.elapsed());
    let start = Instant::now();
    let mut browser = Browser::start();
    let mut wrong = Vec::new();
    for page in &pages {
        wrong.extend(large(&mut browser, &page.path()));
        for fault in faults(&mut browser, &page.path(), &page.report()) {
            wrong.push(format!("{}: {fault}", page.name));
        }
    }
    println!("looked at in {:.1?}", start.elapsed());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "tests/prove page"]
fn a_page_that_is_broken_is_found() {
    let dir = crate::support::workdir::Workdir::with(crate::support::contacts(0..9));
    dir.line("send list.csv --sandbox --rate unlimited --out list-results")
        .ends(0);
    let (page, report) = (dir.read("list-results/report.html"), dir.report());
    let mut browser = Browser::start();
    for (was, now, fault) in [
        ("</h1>", "</h1><p style=width:2000px>", "wider than"),
        ("<td>9</td>", "<td>8</td>", "sent"),
        ("</h1>", "</h1><script>1</script>", "script"),
        (
            "</h1>",
            "</h1><img src=\"https://localhost:9/x\">",
            "localhost:9",
        ),
        (
            "color-scheme:light;--bg:#ffffff",
            "--bg:#000000",
            "paper is dark",
        ),
    ] {
        assert!(page.contains(was), "{was}");
        dir.write("broken.html", page.replacen(was, now, 1));
        let found = faults(&mut browser, &dir.path("broken.html"), &report).join("\n");
        assert!(found.contains(fault), "{now}: {found}");
    }
}
