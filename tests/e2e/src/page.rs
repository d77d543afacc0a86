//! The page as a person meets it: controls are found by role and accessible name, never by class or structure.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::browser::Kind;
use crate::webdriver::{Element, Session, WebDriverError};

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error(transparent)]
    WebDriver(#[from] WebDriverError),
    #[error("no {role} named '{name}'; there are: {present}")]
    Missing {
        role: &'static str,
        name: String,
        present: String,
    },
    #[error("'{what}' did not come in {waited_secs} s; last seen: {last}")]
    TimedOut {
        what: String,
        waited_secs: u64,
        last: String,
    },
    #[error("the browser's picture is not base64: {0}")]
    Picture(#[from] base64::DecodeError),
    #[error("the run failed: {0}")]
    RunFailed(String),
    #[error("no line of the console may be an error, but: {0}")]
    Console(String),
    #[error("{0} cannot be read or written: {1}")]
    File(std::path::PathBuf, std::io::Error),
}

/// What a person takes a control for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Button,
    Link,
    FileInput,
    /// Anything that a value is typed into or chosen from.
    Field,
    Status,
    /// Whatever else has a name: regions, outputs, readouts.
    Named,
}

impl Role {
    /// The elements that may have this role; the computed name then decides.
    fn candidates(self) -> &'static str {
        match self {
            Self::Button => "button, [role=button], summary",
            Self::Link => "a[href]",
            Self::FileInput => "input[type=file]",
            Self::Field => {
                "input:not([type=file]), select, textarea, fieldset, [role=group], [role=textbox], [role=spinbutton], \
                 [role=combobox], [role=listbox], [role=slider], [role=radiogroup]"
            }
            Self::Status => "[role=status], output",
            Self::Named => {
                "[aria-label], [aria-labelledby], output, section, figure, table, dialog, meter, progress, [role]"
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Button => "button",
            Self::Link => "link",
            Self::FileInput => "file input",
            Self::Field => "field",
            Self::Status => "status region",
            Self::Named => "element",
        }
    }
}

/// How often a condition is looked at while waiting.
const POLL: Duration = Duration::from_millis(200);
/// How long a control may take to appear after what brings it about.
const PATIENCE: Duration = Duration::from_secs(15);

/// Records errors of the page if the driver has no log of its console, in the format of Chromium's log.
const WATCH_ERRORS: &str = "
    self.seenErrors ??= [];
    const note = (message) => seenErrors.push({ level: 'SEVERE', message: String(message) });
    const { error } = console;
    console.error = (...words) => { note(words.join(' ')); error.apply(console, words); };
    addEventListener('error', (event) => note(event.message ?? 'a file did not load'), true);
    addEventListener('unhandledrejection', (event) => note(event.reason));
    addEventListener('securitypolicyviolation',
        (event) => note(`${event.effectiveDirective} forbids ${event.blockedURI}`));";

/// The elements that a selector finds: first those whose text or label contains a name.
const LIKELY_FIRST: &str = "
    const [selector, name] = arguments;
    const texts = (element) => [
        element.getAttribute('aria-label'),
        element.textContent,
        ...(element.getAttribute('aria-labelledby') ?? '').split(/\\s+/).map((id) => document.getElementById(id)?.textContent),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
    ];
    const isLikely = (element) => texts(element).some((text) => text?.includes(name));
    const all = [...document.querySelectorAll(selector)];
    return [...all.filter(isLikely), ...all.filter((element) => !isLikely(element))];";

/// What was found where a control was looked for.
#[derive(Default)]
struct Sought {
    found: Option<Element>,
    /// The names of others.
    others: Vec<String>,
    /// Whether some went away meanwhile: what came in their place was not looked at.
    has_lost: bool,
}

/// One loaded page.
pub struct Page<'a> {
    session: &'a Session,
}

impl<'a> Page<'a> {
    /// Opens an address.
    ///
    /// # Errors
    /// Where the browser cannot load it.
    pub fn open(session: &'a Session, url: &str) -> Result<Self, PageError> {
        session.navigate(url)?;
        if session.kind != Kind::Chromium {
            session.script(WATCH_ERRORS, json!([]))?;
        }
        Ok(Self { session })
    }

    /// The control of this role whose computed accessible name is `name`; waits for it a little.
    ///
    /// # Errors
    /// Where there is none; the message lists the names that are there.
    pub fn by_name(&self, role: Role, name: &str) -> Result<Element, PageError> {
        let start = Instant::now();
        loop {
            let sought = self.seek(role, name)?;
            if let Some(element) = sought.found {
                return Ok(element);
            }
            if start.elapsed() > PATIENCE {
                return Err(PageError::Missing {
                    role: role.word(),
                    name: name.to_owned(),
                    present: sought.others.join(", "),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether a computed label is that of the control `name`. Firefox and WebKitGTK append the text of the button
    /// inside a file input.
    fn is_name(&self, role: Role, name: &str, label: &str) -> bool {
        let adds = role == Role::FileInput && self.session.kind != Kind::Chromium;
        match label.strip_prefix(name) {
            Some(rest) => rest.is_empty() || adds && rest.starts_with(' '),
            None => false,
        }
    }

    /// All elements of a role with their computed accessible names, but for those that go away meanwhile.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn names(&self, role: Role) -> Result<Vec<(Element, String)>, PageError> {
        let mut named = Vec::new();
        for element in self.session.find_all(role.candidates())? {
            if let Some(label) = self.label(&element)? {
                named.push((element, label));
            }
        }
        Ok(named)
    }

    /// The computed accessible name; `None` where the element went away.
    fn label(&self, element: &Element) -> Result<Option<String>, PageError> {
        match self.session.text_of(element, "computedlabel") {
            Ok(label) => Ok(Some(label)),
            Err(error) if error.is_stale() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks once for a control by its computed name. The driver computes one name per request, so elements whose text or
    /// label contains the name come first.
    fn seek(&self, role: Role, name: &str) -> Result<Sought, PageError> {
        let candidates = json!([role.candidates(), name]);
        let mut sought = Sought::default();
        for element in self.session.elements_of(LIKELY_FIRST, candidates)? {
            match self.label(&element)? {
                Some(label) if self.is_name(role, name, &label) => {
                    sought.found = Some(element);
                    break;
                }
                Some(label) => sought.others.push(label),
                None => sought.has_lost = true,
            }
        }
        Ok(sought)
    }

    /// The result of `act`, which is repeated while elements go away because the page is redrawn.
    fn settled<T>(&self, mut act: impl FnMut() -> Result<T, PageError>) -> Result<T, PageError> {
        self.wait("the page to stand still", PATIENCE, || {
            Ok(Seen::Yes(act()?))
        })
    }

    /// Clicks a button, as soon as it can be reached.
    ///
    /// # Errors
    /// Where there is no such button, or it cannot be clicked.
    pub fn press(&self, button: &str) -> Result<(), PageError> {
        self.click(Role::Button, button)
    }

    /// Clicks a link, as soon as it can be reached.
    ///
    /// # Errors
    /// Where there is no such link, or it cannot be clicked.
    pub fn follow(&self, link: &str) -> Result<(), PageError> {
        self.click(Role::Link, link)
    }

    /// Clicks a checkbox or a radio button, as soon as it can be reached.
    ///
    /// # Errors
    /// Where there is no such field, or it cannot be clicked.
    pub fn tick(&self, field: &str) -> Result<(), PageError> {
        self.click(Role::Field, field)
    }

    fn click(&self, role: Role, name: &str) -> Result<(), PageError> {
        self.wait(&format!("a click on {name}"), PATIENCE, || {
            let element = self.by_name(role, name)?;
            match self.session.act_on(&element, "click") {
                Ok(()) => Ok(Seen::Yes(())),
                // The driver looks at a link again after the click, when it may have led away from it.
                Err(error) if role == Role::Link && error.is_stale() => Ok(Seen::Yes(())),
                Err(error) if error.is_out_of_reach() => {
                    // The driver scrolls it to the window's edge, where the page's head may stand before it. WebKitGTK's
                    // does not scroll at all to what is below the window by less than the page's scroll padding.
                    let center = "arguments[0].scrollIntoView({ block: 'center' })";
                    self.session
                        .script(center, json!([Session::reference(&element)]))?;
                    Ok(Seen::NotYet(error.to_string()))
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Whether a button of this name is there and can be pressed.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn is_enabled(&self, button: &str) -> Result<bool, PageError> {
        self.wait(&format!("the state of {button}"), PATIENCE, || {
            let sought = self.seek(Role::Button, button)?;
            let Some(element) = &sought.found else {
                return Ok(if sought.has_lost {
                    Seen::NotYet("buttons that went away".to_owned())
                } else {
                    Seen::Yes(false)
                });
            };
            // A button may stay in the order of focus while it has nothing to do, and say so.
            let is_enabled = self.session.text_of(element, "enabled")? == "true";
            let is_refused = self.session.text_of(element, "attribute/aria-disabled")? == "true";
            Ok(Seen::Yes(is_enabled && !is_refused))
        })
    }

    /// Waits until a button can be pressed.
    ///
    /// # Errors
    /// Where it cannot in time.
    pub fn wait_until_enabled(&self, button: &str, patience: Duration) -> Result<(), PageError> {
        self.wait(&format!("{button} enabled"), patience, || {
            Ok(if self.is_enabled(button)? {
                Seen::Yes(())
            } else {
                Seen::NotYet(self.status()?)
            })
        })
    }

    /// Opens every disclosure, those inside others too.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn unfold(&self) -> Result<(), PageError> {
        let folded = "const folded = [...document.querySelectorAll('details:not([open]) > summary')]; \
                      folded.forEach((summary) => summary.click()); return folded.length";
        self.wait("every disclosure open", PATIENCE, || {
            Ok(match self.session.script(folded, json!([]))?.as_u64() {
                Some(0) => Seen::Yes(()),
                more => Seen::NotYet(format!("{more:?} were folded")),
            })
        })
    }

    /// Replaces a field's value by typing.
    ///
    /// # Errors
    /// Where there is no such field, or it takes no text.
    pub fn fill(&self, field: &str, value: &str) -> Result<(), PageError> {
        self.settled(|| {
            let element = self.by_name(Role::Field, field)?;
            self.session.act_on(&element, "clear")?;
            self.session.type_into(&element, value)?;
            // Leaving the field commits it.
            Ok(self.session.type_into(&element, "\u{e004}")?)
        })
    }

    /// Types into a field as a person does, key by key. [`Self::fill`] sends all keys at once, and the browser handles
    /// whatever waits in one task.
    ///
    /// # Errors
    /// Where there is no such field, or it takes no text.
    pub fn type_by_key(&self, field: &str, text: &str) -> Result<(), PageError> {
        let element = self.by_name(Role::Field, field)?;
        for key in text.chars() {
            self.session.type_into(&element, &key.to_string())?;
        }
        Ok(())
    }

    /// Takes the first option of a choice whose text holds `part`, in any case.
    ///
    /// # Errors
    /// Where there is no such field or option.
    pub fn choose(&self, field: &str, part: &str) -> Result<(), PageError> {
        self.settled(|| {
            let element = self.by_name(Role::Field, field)?;
            let options = "return [...arguments[0].options].map((option) => option.text.trim())";
            let options = self
                .session
                .script(options, json!([Session::reference(&element)]))?;
            let texts: Vec<&str> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            match texts
                .iter()
                .find(|text| text.to_lowercase().contains(&part.to_lowercase()))
            {
                Some(text) => Ok(self.session.type_into(&element, text)?),
                None => Err(PageError::Missing {
                    role: "option",
                    name: part.to_owned(),
                    present: texts.join(", "),
                }),
            }
        })
    }

    /// A field's present value.
    ///
    /// # Errors
    /// Where there is no such field.
    pub fn value(&self, field: &str) -> Result<String, PageError> {
        self.settled(|| {
            let element = self.by_name(Role::Field, field)?;
            Ok(self.session.text_of(&element, "property/value")?)
        })
    }

    /// Gives files to a file input, by whole paths.
    ///
    /// # Errors
    /// Where there is no such input.
    pub fn choose_files(&self, input: &str, files: &[impl AsRef<Path>]) -> Result<(), PageError> {
        let element = self.by_name(Role::FileInput, input)?;
        let paths: Vec<String> = files
            .iter()
            .map(|file| file.as_ref().display().to_string())
            .collect();
        Ok(self.session.type_into(&element, &paths.join("\n"))?)
    }

    /// The visible text of whatever carries this name.
    ///
    /// # Errors
    /// Where nothing does.
    pub fn text(&self, name: &str) -> Result<String, PageError> {
        self.settled(|| {
            let element = self.by_name(Role::Named, name)?;
            self.shown_text(&element)
        })
    }

    /// What an element shows as text. WebKitGTK's driver takes an element with `overflow: hidden` for a hidden one if all
    /// that it holds is text, so the browser itself is asked there.
    fn shown_text(&self, element: &Element) -> Result<String, PageError> {
        let text = match self.session.kind {
            Kind::Chromium | Kind::Firefox => "text",
            Kind::WebKitGtk => "property/innerText",
        };
        Ok(self.session.text_of(element, text)?)
    }

    /// The first number in a readout, e.g. `Training loss`; `None` while it shows none.
    ///
    /// # Errors
    /// Where nothing carries this name.
    pub fn readout(&self, name: &str) -> Result<Option<f64>, PageError> {
        Ok(first_number(&self.text(name)?))
    }

    /// The text of the status region `Run status`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn status(&self) -> Result<String, PageError> {
        self.settled(|| {
            let element = self.by_name(Role::Status, "Run status")?;
            self.shown_text(&element)
        })
    }

    /// Waits until the status begins with one of `wanted` and returns it.
    ///
    /// # Errors
    /// Where it does not in time, or the status says `Failed` and that is not wanted.
    pub fn wait_for_status(
        &self,
        wanted: &[&str],
        patience: Duration,
    ) -> Result<String, PageError> {
        self.wait(
            &format!("Run status {}", wanted.join(" or ")),
            patience,
            || {
                let status = self.status()?;
                if wanted.iter().any(|prefix| status.starts_with(prefix)) {
                    return Ok(Seen::Yes(status));
                }
                if status.starts_with("Failed") {
                    return Err(PageError::RunFailed(status));
                }
                Ok(Seen::NotYet(status))
            },
        )
    }

    /// Waits until the page shows `text` anywhere.
    ///
    /// # Errors
    /// Where it does not in time.
    pub fn wait_for_text(&self, text: &str, patience: Duration) -> Result<(), PageError> {
        let wanted = text.to_lowercase();
        self.wait(text, patience, || {
            let body = self.body_text()?;
            Ok(if body.to_lowercase().contains(&wanted) {
                Seen::Yes(())
            } else {
                Seen::NotYet(body)
            })
        })
    }

    /// The whole page's visible text.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn body_text(&self) -> Result<String, PageError> {
        let text = self
            .session
            .script("return document.body.innerText", json!([]))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// How far the page can be scrolled sideways, in CSS pixels.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn sideways_scroll_px(&self) -> Result<i64, PageError> {
        let root =
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        Ok(self
            .session
            .script(root, json!([]))?
            .as_i64()
            .unwrap_or_default())
    }

    /// Writes a picture of the whole page, as PNG.
    ///
    /// # Errors
    /// Where the picture cannot be taken or written.
    pub fn screenshot(&self, path: &Path) -> Result<(), PageError> {
        // What sticks to the window's edge is drawn where the window stands.
        self.session.script("scrollTo(0, 0)", json!([]))?;
        let bytes = BASE64_STANDARD.decode(self.session.picture()?)?;
        let file_error = |error| PageError::File(path.to_owned(), error);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(file_error)?;
        }
        std::fs::write(path, bytes).map_err(file_error)
    }

    /// Fails where the page or a worker wrote an error to the console since the last call: panics, broken rules of the
    /// Content-Security-Policy and rejected shaders among them. In browsers other than Chromium, the output of workers,
    /// and of the page while it was being opened, is not seen.
    ///
    /// # Errors
    /// With the first such line.
    pub fn expect_quiet_console(&self) -> Result<(), PageError> {
        let lines = match self.session.kind {
            Kind::Chromium => self.session.log("browser")?,
            Kind::Firefox | Kind::WebKitGtk => {
                let lines = "return (self.seenErrors ?? []).splice(0)";
                let lines = self.session.script(lines, json!([]))?;
                lines.as_array().cloned().unwrap_or_default()
            }
        };
        match lines.iter().find(|line| line["level"] == "SEVERE") {
            Some(line) => Err(PageError::Console(
                line["message"].as_str().unwrap_or_default().to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Waits until `look` sees what it wants.
    ///
    /// # Errors
    /// Where it does not in time; elements that are not there yet, or went away while it looked, are looked for again.
    pub fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut() -> Result<Seen<T>, PageError>,
    ) -> Result<T, PageError> {
        let start = Instant::now();
        loop {
            let last = match look() {
                Ok(Seen::Yes(value)) => return Ok(value),
                Ok(Seen::NotYet(last)) => last,
                Err(PageError::WebDriver(error)) if error.is_stale() => {
                    "an element that went away".to_owned()
                }
                // On a busy machine it may come later than one look takes.
                Err(missing @ PageError::Missing { .. }) => missing.to_string(),
                Err(error) => return Err(error),
            };
            if start.elapsed() > patience {
                return Err(PageError::TimedOut {
                    what: what.to_owned(),
                    waited_secs: patience.as_secs(),
                    last,
                });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// What a look at the page found.
pub enum Seen<T> {
    Yes(T),
    /// With what was there instead, for the message.
    NotYet(String),
}

fn first_number(text: &str) -> Option<f64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .find_map(|word| word.trim_matches(['.', '-']).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_readouts() {
        assert_eq!(first_number("3.533"), Some(3.533));
        assert_eq!(first_number("Training loss\n1.003 (step 20)"), Some(1.003));
        assert_eq!(first_number("\u{2014}"), None);
        assert_eq!(first_number("12 tokens/s"), Some(12.0));
    }
}
