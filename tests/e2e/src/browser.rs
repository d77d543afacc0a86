//! A browser and its driver, started for one test and ended with it: Chromium, unless another kind is requested.

mod driver;
mod kind;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::netlog::{self, NetLogError};
use crate::trace::{self, Record};
use crate::webdriver::{Session, WebDriverError};

use driver::Driver;

pub use kind::{Kind, Programs};

#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    #[error("{0} could not be started: {1}")]
    Start(PathBuf, std::io::Error),
    #[error("{0} ended without saying which port it listens on")]
    NoPort(PathBuf),
    #[error("the browser's folder could not be prepared: {0}")]
    Folder(std::io::Error),
    #[error("the system does not tell of its processes: {0}")]
    Processes(std::io::Error),
    #[error("no file *{suffix} was downloaded in {waited_secs} s")]
    NoDownload { suffix: String, waited_secs: u64 },
    #[error(transparent)]
    WebDriver(#[from] WebDriverError),
    #[error(transparent)]
    NetLog(#[from] NetLogError),
}

/// How the window looks to the page.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub is_dark: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 1000,
            is_dark: false,
        }
    }
}

/// A browser window, the folder it downloads into and the record of its requests.
pub struct Browser {
    pub session: Session,
    folder: PathBuf,
    driver: Driver,
    /// The profile, which often stays behind when a driver is ended: some 100 MB each. Dropped last, after those who use it.
    _temporary: TempDir,
}

impl Browser {
    /// Starts a browser; downloads and logs go into `folder`, which is emptied first.
    ///
    /// # Errors
    /// Where the driver or the browser is missing or does not start.
    pub fn start(folder: &Path, window: Window) -> Result<Self, BrowserError> {
        Self::launch(Kind::Chromium, folder, window, |_| {})
    }

    /// As [`Self::start`], but pages are not waited for when they are opened: some never load whole.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_hasty(folder: &Path, window: Window) -> Result<Self, BrowserError> {
        Self::launch(Kind::Chromium, folder, window, |capabilities| {
            capabilities["pageLoadStrategy"] = json!("none");
        })
    }

    /// As [`Self::start`], with a record of what the page's thread does; see [`Self::collect_trace`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_traced(folder: &Path, window: Window) -> Result<Self, BrowserError> {
        Self::launch(Kind::Chromium, folder, window, |capabilities| {
            capabilities["goog:loggingPrefs"]["performance"] = json!("ALL");
            capabilities["goog:chromeOptions"]["perfLoggingPrefs"] = json!({
                "enableNetwork": false,
                "enablePage": false,
                "traceCategories": trace::CATEGORIES,
            });
        })
    }

    /// Like [`Self::start`], with another browser than Chromium.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_kind(kind: Kind, folder: &Path, window: Window) -> Result<Self, BrowserError> {
        Self::launch(kind, folder, window, |_| {})
    }

    fn launch(
        kind: Kind,
        folder: &Path,
        window: Window,
        adjust: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Self, BrowserError> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(BrowserError::Folder)?;
        }
        std::fs::create_dir_all(folder.join("downloads")).map_err(BrowserError::Folder)?;
        // Not inside `folder`: a browser's sockets lie in it, whose paths may have 107 bytes.
        let temporary = tempfile::Builder::new()
            .prefix("inlay-browser.")
            .tempdir()
            .map_err(BrowserError::Folder)?;
        let driver = Driver::start(kind, folder, temporary.path(), window)?;
        let mut capabilities = kind.capabilities(folder, window);
        adjust(&mut capabilities);
        let session = Session::open(&driver.url, kind, capabilities)?;
        let browser = Self {
            session,
            folder: folder.to_owned(),
            driver,
            _temporary: temporary,
        };
        browser.set_window(window)?;
        Ok(browser)
    }

    /// Gives the page another size and color scheme. Firefox and WebKitGTK have a minimum width (500 and 447 pixels)
    /// and keep their initial colors.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn set_window(&self, window: Window) -> Result<(), BrowserError> {
        let Window {
            width,
            height,
            is_dark,
        } = window;
        if self.session.kind != Kind::Chromium {
            let size = json!({ "width": width, "height": height });
            self.session.post("window/rect", size)?;
            return Ok(());
        }
        self.session.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        )?;
        let scheme = if is_dark { "dark" } else { "light" };
        // Without motion: a click is never aimed at where something was before the page scrolled on.
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.session
            .devtools("Emulation.setEmulatedMedia", features)?;
        Ok(())
    }

    /// Waits until a file whose name ends with `suffix` is downloaded whole, and returns its path.
    ///
    /// # Errors
    /// Where none comes in time.
    pub fn downloaded(&self, suffix: &str, patience: Duration) -> Result<PathBuf, BrowserError> {
        let start = Instant::now();
        loop {
            let entries =
                std::fs::read_dir(self.folder.join("downloads")).map_err(BrowserError::Folder)?;
            let paths: Vec<PathBuf> = entries
                .map_while(Result::ok)
                .map(|entry| entry.path())
                .collect();
            // A download in progress has a different name until it is complete (`.crdownload`, `.part`, `.wkdownload`).
            // Firefox also creates an empty file with the final name, and WebKitGTK may write into the final file.
            let is_whole = |path: &&PathBuf| {
                let name = path.to_string_lossy();
                let part = |other: &PathBuf| {
                    let other = other.to_string_lossy();
                    other.len() > name.len() && other.ends_with(".part")
                };
                name.ends_with(suffix) && !paths.iter().any(part)
            };
            if let Some(path) = paths.iter().find(is_whole)
                && std::fs::read(path).is_ok_and(|bytes| ends(path, &bytes))
            {
                return Ok(path.clone());
            }
            if start.elapsed() > patience {
                return Err(BrowserError::NoDownload {
                    suffix: suffix.to_owned(),
                    waited_secs: patience.as_secs(),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The most memory that the pages' processes have held so far, workers included, in bytes.
    ///
    /// # Errors
    /// Where the system does not tell (it is Linux's /proc that does).
    pub fn peak_page_bytes(&self) -> Result<u64, BrowserError> {
        let peaks = self.renderers()?;
        Ok(peaks.iter().map(|process| process.peak_bytes).sum())
    }

    /// Begins [`Self::peak_page_bytes`] anew, with what is held now.
    ///
    /// # Errors
    /// As [`Self::peak_page_bytes`].
    pub fn forget_peaks(&self) -> Result<(), BrowserError> {
        for process in self.renderers()? {
            // Linux: 5 resets the peak.
            let _ = std::fs::write(format!("/proc/{}/clear_refs", process.id), "5");
        }
        Ok(())
    }

    fn renderers(&self) -> Result<Vec<Process>, BrowserError> {
        let mut ours = vec![self.driver.id()];
        let mut renderers = Vec::new();
        let processes = processes().map_err(BrowserError::Processes)?;
        // Parents come before their children once sorted by when they were first reached.
        let mut next = 0;
        while let Some(&parent) = ours.get(next) {
            for process in processes.iter().filter(|process| process.parent == parent) {
                ours.push(process.id);
                if process.is_renderer {
                    renderers.push(process.clone());
                }
            }
            next += 1;
        }
        Ok(renderers)
    }

    /// Adds to the record of the page's thread what came since the last call, of a browser that was started with one. The
    /// driver may keep some of it for the next call.
    ///
    /// # Errors
    /// Where there is none.
    pub fn collect_trace(&self, record: &mut Record) -> Result<(), BrowserError> {
        record.extend(&self.session.log("performance")?);
        Ok(())
    }

    /// Closes the browser and returns every address that was requested on behalf of `origin`'s pages and workers.
    ///
    /// # Errors
    /// Where the browser's record cannot be read.
    pub fn close(self, origin: &str) -> Result<Vec<String>, BrowserError> {
        self.session.close()?;
        Ok(netlog::requests_of(
            &self.folder.join("netlog.json"),
            origin,
        )?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After a failed test the browser is still there; after `close` the driver answers that it is not.
        let _ = self.session.close();
    }
}

/// Whether a downloaded file has come to its end: a zip of ours ends with its directory's end record, without a comment.
fn ends(path: &Path, bytes: &[u8]) -> bool {
    const RECORD_BYTES: usize = 22;
    match path.extension() {
        Some(extension) if extension == "zip" => bytes
            .len()
            .checked_sub(RECORD_BYTES)
            .is_some_and(|start| bytes[start..].starts_with(b"PK\x05\x06")),
        _ => !bytes.is_empty(),
    }
}

/// A running process, as /proc tells of it.
#[derive(Clone)]
struct Process {
    id: u32,
    parent: u32,
    peak_bytes: u64,
    is_renderer: bool,
}

fn processes() -> std::io::Result<Vec<Process>> {
    let process = |folder: PathBuf| {
        // A process may end while it is looked at.
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let command = std::fs::read(folder.join("cmdline")).ok()?;
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Process {
            id: folder.file_name()?.to_str()?.parse().ok()?,
            parent: u32::try_from(number("PPid:")?).ok()?,
            peak_bytes: number("VmHWM:")? << 10,
            is_renderer: String::from_utf8_lossy(&command).contains("--type=renderer"),
        })
    };
    Ok(std::fs::read_dir("/proc")?
        .map_while(Result::ok)
        .filter_map(|entry| process(entry.path()))
        .collect())
}
