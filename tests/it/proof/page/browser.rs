//! Chromium without a window, spoken to by the `DevTools` protocol through two pipes.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program takes what it is told from handle 3 and answers on handle 4. It runs as root in a
/// container too, where it has no sandbox; the pages are our own.
const START: &str = r#"exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
    --remote-debugging-pipe --user-data-dir="$1" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Of the window, in pixels.
    pub width: u32,
    /// `screen` or `print`.
    pub media: &'static str,
    /// `light` or `dark`, as its user prefers.
    pub scheme: &'static str,
    /// `active` or `none`.
    pub forced_colors: &'static str,
}

/// A browser with one page; it ends when it is dropped.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    asked: u64,
    /// What it told without having been asked.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("bash")
            .args(["-c", START, "bash"])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self {
            child,
            to,
            from: BufReader::new(from),
            session: None,
            asked: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&message).unwrap()
    }

    fn say(&mut self, method: &str, params: &Value) -> io::Result<()> {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(message.to_string().as_bytes())?;
        self.to.write_all(&[0])
    }

    /// What it answers, or the error that it answers with.
    fn try_to(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.say(method, params).unwrap();
        loop {
            let mut answer = self.read();
            if answer["id"] != self.asked {
                self.events.push(answer);
            } else if answer["error"].is_null() {
                return Ok(answer["result"].take());
            } else {
                return Err(format!("{method}: {}", answer["error"]["message"]));
            }
        }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.try_to(method, params).unwrap()
    }

    /// Opens a file; gives what it complained of, and what was fetched besides.
    pub fn open(&mut self, page: &Path) -> Vec<String> {
        let url = format!("file://{}", page.display());
        self.events.clear();
        self.ask("Page.navigate", &json!({"url": url}));
        while !(self.events.iter()).any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
        let wrong = self.events.iter().filter(|event| {
            let asked = &event["params"]["request"]["url"];
            match event["method"].as_str().unwrap_or_default() {
                "Log.entryAdded" | "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => true,
                "Network.requestWillBeSent" => *asked != url && *asked != "data:,",
                _ => false,
            }
        });
        wrong.map(ToString::to_string).collect()
    }

    pub fn look(&mut self, look: Look) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": look.scheme},
            {"name": "forced-colors", "value": look.forced_colors},
        ]);
        let media = json!({"media": look.media, "features": features});
        self.ask("Emulation.setEmulatedMedia", &media);
        let size =
            json!({"width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What an expression of JavaScript comes to.
    pub fn tell(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut told = self.ask("Runtime.evaluate", &params);
        assert!(told["exceptionDetails"].is_null(), "{told}");
        told["result"]["value"].take()
    }

    /// Is there such a sheet, where the page is printed on A4?
    pub fn prints_sheet(&mut self, nth: usize) -> bool {
        let params =
            json!({"paperWidth": 8.27, "paperHeight": 11.69, "pageRanges": nth.to_string()});
        self.try_to("Page.printToPDF", &params).is_ok()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.session = None;
        let _ = self.say("Browser.close", &json!({}));
        let _ = self.child.wait();
    }
}
