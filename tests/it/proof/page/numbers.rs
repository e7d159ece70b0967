//! The numbers on a page against those in `report.json`.

use serde_json::Value;

/// What `24,318 rows` begins with.
fn number(text: &str) -> Option<f64> {
    let digits = text.split(' ').next()?.replace(',', "");
    digits.parse().ok()
}

/// `47 min 6 s`, `115 ms`: seconds, and how exact that is.
fn seconds(text: &str) -> Option<(f64, f64)> {
    let words: Vec<&str> = text.split(' ').collect();
    let mut all = (0.0, 0.0);
    for pair in words.chunks(2) {
        let unit = match *pair.last()? {
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        let decimals = pair[0].split_once('.').map_or(0, |(_, part)| part.len());
        let exact = unit * 0.1_f64.powi(i32::try_from(decimals).ok()?);
        all = (all.0 + number(pair[0])? * unit, exact);
    }
    Some(all)
}

/// The head of the table of the parts of the time.
const TIME: &str = "where the time went";

/// What does not agree, in words.
struct Differences<'a> {
    seen: &'a Value,
    report: &'a Value,
    found: Vec<String>,
}

/// All that a page tells otherwise than the report.
pub fn differ(seen: &Value, report: &Value) -> Vec<String> {
    let mut differences = Differences {
        seen,
        report,
        found: Vec::new(),
    };
    differences.account();
    differences.facts();
    differences.over_time();
    differences.answers();
    differences.tables();
    differences.plan();
    differences.found
}

impl<'a> Differences<'a> {
    fn is(&mut self, what: &str, shown: Option<f64>, told: &Value) {
        if shown != told.as_f64() {
            self.found.push(format!("{what}: shown {shown:?}, {told}"));
        }
    }

    fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.found.push(what.to_owned());
        }
    }

    /// The user's own column: its largest values, the others together, and all.
    fn groups(&mut self, funnel: &Value) {
        let Some(by) = funnel["by"].as_object() else {
            return;
        };
        let (mut named, mut sent, mut verified) = (0, 0.0, 0.0);
        for row in self.table("funnel", 1).iter().skip(1) {
            let [name, shown @ ..] = &row[..] else {
                continue;
            };
            let shown = [number(shown[0]), number(shown[1])];
            let (fates, is_named) = match *name {
                "all" => (funnel, false),
                "(empty)" => (&by[""], true),
                name => (by.get(name).unwrap_or(&Value::Null), by.contains_key(name)),
            };
            if is_named || *name == "all" {
                self.is(&format!("{name}: sent"), shown[0], &fates["sent"]);
                self.is(&format!("{name}: verified"), shown[1], &fates["verified"]);
            }
            if *name != "all" {
                named += usize::from(is_named);
                sent += shown[0].unwrap();
                verified += shown[1].unwrap();
            }
        }
        self.is("sent by column", Some(sent), &funnel["sent"]);
        self.is("verified by column", Some(verified), &funnel["verified"]);
        self.holds(
            "the six largest and none are named",
            named == by.len().min(7),
        );
    }

    /// A table of a section, as rows of cells.
    fn table(&self, section: &str, nth: usize) -> Vec<Vec<&'a str>> {
        let table = self.seen["sections"][section]["tables"][nth].as_array();
        let rows = table.into_iter().flatten().filter_map(Value::as_array);
        rows.map(|row| row.iter().filter_map(Value::as_str).collect())
            .collect()
    }

    /// The number in the second cell of the row that begins so; 0 where there is none.
    fn cell(&self, section: &str, nth: usize, head: &str) -> Option<f64> {
        let table = self.table(section, nth);
        match table.iter().find(|row| row.first() == Some(&head)) {
            Some(row) => number(row.get(1)?),
            None => Some(0.0),
        }
    }

    fn account(&mut self) {
        let counts = self.report["counts"].as_object().unwrap();
        for (status, count) in counts {
            self.is(status, self.cell("account", 0, status), count);
        }
        let rows = &self.report["rows"];
        self.is("rows", self.cell("account", 0, "rows in the file"), rows);
        let person = &self.seen["sections"]["person"]["notes"];
        for status in ["unknown", "failed", "rejected", "invalid", "pending"] {
            let notes: Vec<&str> = person
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let place = notes.iter().position(|note| *note == status);
            let shown = place.map_or(Some(0.0), |place| number(notes[place - 1]));
            // While a run is on nobody has to do anything about what is pending.
            if status != "pending" || self.report["state"] != "running" {
                self.is(&format!("person: {status}"), shown, &counts[status]);
            }
        }
        let earlier = self.report["earlier"]["counts"].as_object().unwrap();
        for (status, count) in earlier {
            let shown = self.cell("earlier", 0, status);
            self.is(&format!("earlier: {status}"), shown, count);
        }
        let headline = self.seen["headline"].as_str().unwrap();
        let title = self.seen["title"].as_str().unwrap();
        self.holds("the title is the verdict", title.contains(headline));
    }

    fn fact(&self, name: &str) -> Option<&'a str> {
        self.seen["facts"][name][0].as_str()
    }

    fn facts(&mut self) {
        let counts = &self.report["counts"];
        let (label, of) = match self.report["operation"].as_str() {
            Some("verify") => ("Verified", "verified"),
            _ => ("Sent", "sent"),
        };
        self.is(label, self.fact(label).and_then(number), &counts[of]);
        let needing =
            ["rejected", "failed", "unknown", "invalid"].map(|status| counts[status].as_u64());
        let needing: u64 = needing.into_iter().flatten().sum();
        let shown = self.fact("Need a person").and_then(number);
        self.is("need a person", shown, &needing.into());
        let attempts = &self.report["attempts"];
        self.is(
            "requests",
            self.fact("Requests").and_then(number),
            &attempts["total"],
        );
        let retries = self.seen["facts"]["Requests"][1]
            .as_str()
            .unwrap_or_default();
        let retries = retries.split(' ').nth(1).and_then(number);
        self.is("retries", retries, &attempts["retries"]);
        if let Some(pending) = self.fact("Pending") {
            self.is("pending", number(pending), &counts["pending"]);
        }
        if let (Some(took), Some(told)) = (self.fact("Took"), self.report["duration_s"].as_f64()) {
            let took = seconds(took);
            let is_right = took.is_some_and(|(took, exact)| (took - told).abs() <= exact);
            self.holds(&format!("took {took:?}, {told}"), is_right);
        }
        if let Some(spent) = self.fact("Spent") {
            let told = self.report["campaign_totals"]["spent"].as_f64();
            let same = number(spent).zip(told);
            let is_right = same.is_some_and(|(shown, told)| (shown - told).abs() < 0.006);
            self.holds(&format!("spent {spent}, {told:?}"), is_right);
        }
    }

    fn over_time(&mut self) {
        let columns = self.report["over_time"]["columns"].as_array().unwrap();
        let sum = |key: &str| {
            columns
                .iter()
                .filter_map(|column| column[key].as_u64())
                .sum::<u64>()
        };
        let table = self.table("time", 0);
        let (Some(heads), Some(sums)) = (table.first(), table.last()) else {
            return;
        };
        let lines = &table[1..table.len() - 1];
        for (place, head) in heads.iter().enumerate().skip(1) {
            let told = match *head {
                "requests" => sum("requests"),
                "busiest second" => self.report["rate"]["peak_1s"].as_u64().unwrap(),
                "sent" | "verified" => sum("accepted"),
                "not_verified" => sum("wrong"),
                "to try again" => sum("again"),
                "refused" => sum("refused"),
                "unknown" => sum("unknown"),
                "under way" => sum("in_flight"),
                other => panic!("a column {other}"),
            };
            let shown = number(sums[place]);
            let in_lines = lines.iter().filter_map(|line| number(line[place]));
            let in_lines = match *head {
                "busiest second" => in_lines.fold(0.0, f64::max),
                _ => in_lines.sum(),
            };
            self.holds(
                &format!("{head} by line: {in_lines}"),
                shown == Some(in_lines),
            );
            self.is(head, shown, &told.into());
        }
    }

    fn answers(&mut self) {
        let Some(notes) = self.seen["sections"]["latency"]["charts"][0].as_array() else {
            return;
        };
        let latency = &self.report["latency_ms"];
        let mut marks = 0;
        for note in notes.iter().filter_map(Value::as_str) {
            let Some((name, time)) = note
                .split_once(' ')
                .filter(|(name, _)| name.starts_with('p'))
            else {
                continue;
            };
            marks += 1;
            let told = latency[name].as_f64().unwrap() / 1_000.0;
            let shown = seconds(time);
            let is_right = shown.is_some_and(|(shown, exact)| (shown - told).abs() <= exact);
            self.holds(&format!("{name}: {shown:?}, {told}"), is_right);
        }
        self.holds("p50, p95 and p99 are marked", marks == 3);
        let lines = self.table("latency", 0);
        let shown: f64 = lines
            .iter()
            .skip(1)
            .filter_map(|line| number(line[1]))
            .sum();
        let bins = self.report["answer_times"].as_array().unwrap();
        let told: u64 = bins.iter().filter_map(|bin| bin["answers"].as_u64()).sum();
        self.is("answers", Some(shown), &told.into());
    }

    /// Planned, actual and, where there is a limit, the parts of the time.
    fn plan(&mut self) {
        let (plan, actual) = (&self.report["plan"], &self.report["actual"]);
        let count = |key: &str| actual[key].as_u64().unwrap();
        let requests = count("numbers") + count("retries") + count("fallbacks");
        let columns = self.report["over_time"]["columns"].as_array().unwrap();
        let told = columns
            .iter()
            .filter_map(|column| column["requests"].as_f64());
        self.is("requests of the run", Some(told.sum()), &requests.into());
        let tables = [self.table("plan", 0), self.table("plan", 1)];
        let is_of_time =
            |table: &&Vec<Vec<&str>>| table.first().is_some_and(|head| head[0] == TIME);
        if let Some(parts) = tables.iter().find(is_of_time) {
            self.parts(&parts[1..]);
        }
        let others = tables.iter().filter(|table| !is_of_time(table));
        for line in others.flat_map(|table| table.iter().skip(1)) {
            let (planned, done) = match line[0] {
                "numbers to ask" | "codes to ask" => (&plan["numbers"], &actual["numbers"]),
                "requests" => (&plan["numbers"], &Value::from(requests)),
                "money" => {
                    let most = number(line[1].trim_start_matches("at most "));
                    self.is("money planned", most, &plan["cost_at_most"]);
                    self.is("money spent", number(line[2]), &actual["cost"]);
                    continue;
                }
                _ => continue,
            };
            self.is(&format!("{} planned", line[0]), number(line[1]), planned);
            self.is(line[0], number(line[2]), done);
        }
    }

    /// The parts of the time add up to all of it.
    fn parts(&mut self, parts: &[Vec<&str>]) {
        let Some((took, parts)) = parts.split_last() else {
            return;
        };
        let (mut sum, mut exact) = (0.0, 0.0);
        for part in parts {
            let (sign, time) = match part[1].strip_prefix('−') {
                Some(time) => (-1.0, time),
                None => (1.0, part[1].trim_start_matches('+')),
            };
            let (time, by) = seconds(time).unwrap();
            sum += sign * time;
            exact += by;
        }
        let took = seconds(took[1]);
        let is_right = took.is_some_and(|(took, by)| (took - sum).abs() <= exact + by);
        self.holds(&format!("the parts are {sum} of {took:?}"), is_right);
    }

    fn tables(&mut self) {
        let errors = self.report["errors"].as_array().unwrap();
        let shown = self.table("errors", 0);
        for (error, row) in errors.iter().zip(shown.iter().skip(1)) {
            let message = error["message"].as_str().unwrap();
            let is_right = row[0].chars().take(60).eq(message.chars().take(60));
            self.holds(&format!("errors: {row:?}, {error}"), is_right);
            self.is(message, number(row[1]), &error["count"]);
        }
        let rows = shown.len().saturating_sub(2);
        self.holds("all errors are shown", rows == errors.len());
        let funnel = &self.report["funnel"];
        self.groups(funnel);
        if let Some(funnel) = funnel.as_object() {
            for (channel, fates) in funnel["by_channel"].as_object().unwrap() {
                let table = self.table("funnel", 0);
                let row = table.iter().find(|row| row[0] == channel).unwrap().clone();
                for (cell, key) in row[1..]
                    .iter()
                    .zip(["sent", "verified", "wrong", "unanswered"])
                {
                    self.is(&format!("{channel} {key}"), number(cell), &fates[key]);
                }
            }
        }
    }
}
