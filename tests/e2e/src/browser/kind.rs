//! The browsers used by the tests: where their programs are, and the options for their drivers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Window;

/// A browser with one of the three engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
    /// The browser that comes with WebKitGTK, Safari's engine on Linux. It has no headless mode, so it gets its own
    /// display (Xvfb).
    WebKitGtk,
}

/// WebGPU without a GPU (SwiftShader), and a browser that makes no requests of its own.
const CHROMIUM_FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// The programs of a browser.
pub struct Programs {
    pub browser: PathBuf,
    pub driver: PathBuf,
    /// The display of the browser, if it needs one.
    pub display: Option<PathBuf>,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
            Self::WebKitGtk => "WebKitGTK",
        }
    }

    /// The programs named by the environment, or else Debian's, and geckodriver from `.tools`.
    pub fn programs(self) -> Programs {
        let program = |variable: &str, path: &str| {
            std::env::var_os(variable).map_or_else(|| path.into(), PathBuf::from)
        };
        match self {
            Self::Chromium => Programs {
                browser: program("CHROMIUM", "/usr/bin/chromium"),
                driver: program("CHROMEDRIVER", "/usr/bin/chromedriver"),
                display: None,
            },
            Self::Firefox => Programs {
                browser: program("FIREFOX", "/usr/bin/firefox-esr"),
                driver: program(
                    "GECKODRIVER",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/bin/geckodriver"),
                ),
                display: None,
            },
            Self::WebKitGtk => Programs {
                browser: std::env::var_os("MINIBROWSER")
                    .map(PathBuf::from)
                    .or_else(mini_browser)
                    .unwrap_or_else(|| "/usr/lib/webkit2gtk-4.1/MiniBrowser".into()),
                driver: program("WEBKITWEBDRIVER", "/usr/bin/WebKitWebDriver"),
                display: Some(program("XVFB", "/usr/bin/Xvfb")),
            },
        }
    }

    /// The first program that is missing on this machine.
    pub fn missing(self) -> Option<PathBuf> {
        let Programs {
            browser,
            driver,
            display,
        } = self.programs();
        [Some(browser), Some(driver), display]
            .into_iter()
            .flatten()
            .find(|program| !program.exists())
    }

    /// The capabilities requested from the driver: this browser, quiet, with downloads going into `folder`.
    pub(super) fn capabilities(self, folder: &Path, window: Window) -> Value {
        let Programs { browser, .. } = self.programs();
        match self {
            Self::Chromium => chromium(&browser, folder, window),
            Self::Firefox => firefox(&browser, folder, window),
            // Downloads go where the desktop's settings say; see `prepare_home`.
            Self::WebKitGtk => json!({
                "browserName": "MiniBrowser",
                "webkitgtk:browserOptions": {
                    "binary": browser,
                    "args": ["--automation"],
                },
            }),
        }
    }
}

/// Debian installs it among the libraries, in a folder named after the machine's architecture.
fn mini_browser() -> Option<PathBuf> {
    let architectures = std::fs::read_dir("/usr/lib").ok()?;
    architectures
        .map_while(Result::ok)
        .flat_map(|architecture| {
            ["webkit2gtk-4.1", "webkit2gtk-4.0"]
                .map(|version| architecture.path().join(version).join("MiniBrowser"))
        })
        .find(|program| program.exists())
}

fn chromium(browser: &Path, folder: &Path, window: Window) -> Value {
    let mut flags: Vec<String> = CHROMIUM_FLAGS.map(str::to_owned).into();
    flags.push(format!("--window-size={},{}", window.width, window.height));
    flags.push(format!(
        "--log-net-log={}",
        folder.join("netlog.json").display()
    ));
    json!({
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": {
            "binary": browser,
            "args": flags,
            "prefs": {
                "download.default_directory": folder.join("downloads"),
                "download.prompt_for_download": false,
            },
        },
    })
}

fn firefox(browser: &Path, folder: &Path, window: Window) -> Value {
    json!({
        "browserName": "firefox",
        "moz:firefoxOptions": {
            "binary": browser,
            "args": ["-headless"],
            "prefs": {
                // Into a given folder, without asking.
                "browser.download.folderList": 2,
                "browser.download.dir": folder.join("downloads"),
                "browser.download.always_ask_before_handling_new_types": false,
                "browser.helperApps.neverAsk.saveToDisk": "application/zip,application/octet-stream",
                // The page's console output goes into the driver's log, to help find the cause of a failure.
                "devtools.console.stdout.content": true,
                "ui.prefersReducedMotion": 1,
                "ui.systemUsesDarkTheme": i32::from(window.is_dark),
            },
        },
    })
}

/// Writes the desktop's settings into `folder`, which serves as the user's home: where downloads go, and that nothing
/// is animated.
pub(super) fn prepare_home(folder: &Path) -> std::io::Result<()> {
    let settings = folder.join("home/.config");
    std::fs::create_dir_all(settings.join("gtk-3.0"))?;
    let downloads = folder.join("downloads");
    std::fs::write(
        settings.join("user-dirs.dirs"),
        format!("XDG_DOWNLOAD_DIR=\"{}\"\n", downloads.display()),
    )?;
    std::fs::write(
        settings.join("gtk-3.0/settings.ini"),
        "[Settings]\ngtk-enable-animations=0\n",
    )
}
