//! Code shared by the journeys: the built page in a browser, generated datasets, and the zip that the page exports.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::browser::{Browser, BrowserError, Kind, Window};
use e2e::page::{Page, PageError, Role, Seen};
use e2e::server::{Isolation, SiteServer};
use serde_json::Value;

pub type Outcome = Result<(), Box<dyn Error>>;

/// For what a person expects to see at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
/// For reading the model, and the self-test of a device.
pub const LOADING: Duration = Duration::from_secs(240);
/// For a run of a few steps on a busy CPU.
pub const RUN: Duration = Duration::from_secs(900);

const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The bundled model's file, as the built page carries it.
pub fn model_file() -> PathBuf {
    root().join("dist/models").join(MODEL)
}

/// A fixture's whole path, which the driver wants.
pub fn fixture(name: &str) -> Result<PathBuf, std::io::Error> {
    root().join("tests/fixtures").join(name).canonicalize()
}

/// The files of the tiny model.
pub const TINY: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// The whole paths of the tiny model's files.
pub fn tiny_model() -> Result<Vec<PathBuf>, std::io::Error> {
    let path = |name| fixture(&format!("model/tiny/{name}"));
    TINY.into_iter().map(path).collect()
}

/// The whole paths of an adapter that PEFT made.
pub fn adapter(case: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let path = |name| fixture(&format!("strangers/{case}/{name}"));
    let names = ["adapter_config.json", "adapter_model.safetensors"];
    names.into_iter().map(path).collect()
}

/// Whether the tests are to take their time: they have more rounds, and judge how long things take.
pub fn is_drill() -> bool {
    std::env::var_os("INLAY_DRILLS").is_some()
}

/// The built page in its own browser.
pub struct Visit {
    pub browser: Browser,
    pub origin: String,
    pub folder: PathBuf,
    pub server: SiteServer,
}

impl Visit {
    /// Opens the page, or says why this test cannot run here.
    pub fn start(test: &str, window: Window) -> Result<Option<Self>, Box<dyn Error>> {
        Self::start_from(test, window, &root().join("dist"), Isolation::Isolated)
    }

    /// As [`Self::start`], with a record of what the page's thread does.
    pub fn start_traced(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        let site = root().join("dist");
        Self::start_with(test, Kind::Chromium, &site, Isolation::Isolated, |folder| {
            Browser::start_traced(folder, Window::default())
        })
    }

    /// As [`Self::start`], in a browser that does not wait for a page that it opens.
    pub fn start_hasty(test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        let site = root().join("dist");
        Self::start_with(test, Kind::Chromium, &site, Isolation::Isolated, |folder| {
            Browser::start_hasty(folder, Window::default())
        })
    }

    /// As [`Self::start`], in another browser.
    pub fn start_in(kind: Kind, test: &str) -> Result<Option<Self>, Box<dyn Error>> {
        let site = root().join("dist");
        Self::start_with(test, kind, &site, Isolation::Isolated, |folder| {
            Browser::start_kind(kind, folder, Window::default())
        })
    }

    /// As [`Self::start`], from another folder or as from another host.
    pub fn start_from(
        test: &str,
        window: Window,
        site: &Path,
        isolation: Isolation,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        Self::start_with(test, Kind::Chromium, site, isolation, |folder| {
            Browser::start(folder, window)
        })
    }

    fn start_with(
        test: &str,
        kind: Kind,
        site: &Path,
        isolation: Isolation,
        start: impl FnOnce(&Path) -> Result<Browser, BrowserError>,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        if let Some(program) = kind.missing() {
            println!(
                "SKIPPED {test}: {} needs {}, which is missing (make test installs it where it can be had)",
                kind.name(),
                program.display()
            );
            return Ok(None);
        }
        if !root().join("dist/index.html").exists() || !model_file().exists() {
            println!("SKIPPED {test}: the page is not built with the bundled model (make build)");
            return Ok(None);
        }
        let server = SiteServer::start_with(site, 0, isolation)?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let browser = start(&folder)?;
        Ok(Some(Self {
            browser,
            origin: server.origin(),
            folder,
            server,
        }))
    }

    pub fn page(&self) -> Result<Page<'_>, Box<dyn Error>> {
        let page = Page::open(&self.browser.session, &self.origin)?;
        page.wait_for_status(&["Idle", "Ready"], SOON)?;
        Ok(page)
    }

    /// Writes a file for the page to be given.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, contents)?;
        Ok(path)
    }
}

/// Leaves a picture of the page under `tests/e2e/artifacts`.
pub fn picture(page: &Page, name: &str) -> Outcome {
    Ok(page.screenshot(
        &root()
            .join("tests/e2e/artifacts")
            .join(format!("{name}.png")),
    )?)
}

/// Loads the bundled model and this dataset, and waits until training can start.
pub fn load(page: &Page, dataset: &Path) -> Outcome {
    page.press("Use the bundled model")?;
    page.choose_files("Dataset files", &[dataset])?;
    // The button can be pressed all the while: a run that is asked for early starts once all is loaded.
    page.wait_for_status(&["Ready"], LOADING)?;
    Ok(())
}

/// The names of the loaded adapters, as a person chooses among them.
pub fn adapters(page: &Page) -> Result<Vec<String>, PageError> {
    let fields = page.names(Role::Field)?.into_iter();
    let name = |(_, label): (_, String)| label.strip_prefix("Use ").map(str::to_owned);
    Ok(fields.filter_map(name).collect())
}

/// Waits until so many adapters are loaded.
pub fn wait_for_adapters(page: &Page, count: usize) -> Outcome {
    page.wait(&format!("{count} adapters"), LOADING, || {
        let names = adapters(page)?;
        Ok(if names.len() == count {
            Seen::Yes(())
        } else {
            Seen::NotYet(format!("{names:?}"))
        })
    })?;
    Ok(())
}

/// Dismisses every message, so that the next one is news.
pub fn dismiss_messages(page: &Page) -> Outcome {
    // A step may have several, whose buttons are named alike.
    for (_, name) in page.names(Role::Button)? {
        // One may take others along.
        if name.starts_with("Dismiss the message in") && page.is_enabled(&name)? {
            page.press(&name)?;
        }
    }
    Ok(())
}

/// Waits until whatever carries this name shows these words.
pub fn wait_for(page: &Page, name: &str, words: &[&str]) -> Outcome {
    page.wait(&format!("{words:?} in {name}"), LOADING, || {
        let text = page.text(name)?;
        Ok(if words.iter().all(|word| text.contains(word)) {
            Seen::Yes(())
        } else {
            Seen::NotYet(text)
        })
    })?;
    Ok(())
}

/// Fills several fields.
pub fn fill(page: &Page, fields: &[(&str, &str)]) -> Outcome {
    for (field, value) in fields {
        page.fill(field, value)?;
    }
    Ok(())
}

/// Fresh, printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    println!("seed {nanos}");
    nanos.into()
}

/// SplitMix64: random enough for test data.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    pub fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// JSONL rows of questions that are all answered in the same unusual manner, which the base model does not know.
pub fn questions(num_rows: usize, seed: u64) -> String {
    let mut chance = Chance(seed);
    let mut rows = String::new();
    for row in 0..num_rows {
        let thing = chance.pick(&[
            "kettle", "bicycle", "lantern", "window", "garden", "violin", "harbour", "pencil",
        ]);
        let color = chance.pick(&["red", "blue", "green", "silver", "amber"]);
        let number = chance.below(90) + 10;
        let _ = writeln!(
            rows,
            r#"{{"prompt": "Where is the {color} {thing} {number}?", "completion": "Zounds! Shelf {number}, row {row}."}}"#
        );
    }
    rows
}

/// JSONL rows of short plain text.
pub fn sentences(num_rows: usize, seed: u64) -> String {
    let mut chance = Chance(seed);
    let mut rows = String::new();
    for _ in 0..num_rows {
        let thing = chance.pick(&["kettle", "bicycle", "lantern", "window", "garden"]);
        let place = chance.pick(&[
            "in the hall",
            "by the sea",
            "on the shelf",
            "under the bridge",
        ]);
        let _ = writeln!(
            rows,
            r#"{{"text": "The {thing} {} is {place}."}}"#,
            chance.below(1000)
        );
    }
    rows
}

/// The files of a zip by name.
pub fn unzipped(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path)?)?;
    let mut files = BTreeMap::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at)?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(entry.name()?.into_owned(), bytes);
    }
    Ok(files)
}

/// The exported zip's file of this name; it may lie in a folder.
pub fn file<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    name: &str,
) -> Result<&'a [u8], Box<dyn Error>> {
    let found = files
        .iter()
        .find(|(path, _)| path.rsplit('/').next() == Some(name));
    found
        .map(|(_, bytes)| bytes.as_slice())
        .ok_or_else(|| format!("no {name} in {:?}", files.keys()).into())
}

/// The lines of `log.jsonl`.
pub fn log_lines(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Value>, Box<dyn Error>> {
    let text = std::str::from_utf8(file(files, "log.jsonl")?)?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}

/// The number before `MB`.
pub fn megabytes(text: &str) -> Result<f64, Box<dyn Error>> {
    let before = text.split("MB").next().unwrap_or_default();
    let number = before.split_whitespace().last().unwrap_or_default();
    number
        .parse()
        .map_err(|_| format!("no megabytes in '{text}'").into())
}

/// A copy of the site without one file. It shares the files, where the file system can: links would lead out of it.
pub fn copy_site(from: &Path, to: &Path, missing: &str) -> Outcome {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let mut folders: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(to.join(&folder))?;
        for entry in std::fs::read_dir(from.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if entry.file_name() != missing {
                let (from, to) = (entry.path().canonicalize()?, to.join(path));
                std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop))?;
            }
        }
    }
    Ok(())
}
