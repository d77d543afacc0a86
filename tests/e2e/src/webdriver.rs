//! The part of the W3C WebDriver protocol that the tests use, and some additions of Chromium and Firefox.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::browser::Kind;

#[derive(Debug, thiserror::Error)]
pub enum WebDriverError {
    #[error("the driver did not answer {command}: {source}")]
    Transport {
        command: String,
        source: Box<ureq::Error>,
    },
    #[error("the driver's answer to {command} is not WebDriver: {answer}")]
    Answer { command: String, answer: String },
    #[error("{command}: {code}: {message}")]
    Refused {
        command: String,
        code: String,
        message: String,
    },
}

impl WebDriverError {
    /// Whether something else was drawn over the element just then, or it was outside the window.
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Refused { code, .. }
            if code == "element click intercepted" || code == "element not interactable")
    }

    /// Whether the element went away between being found and being asked: the page was redrawn meanwhile.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "stale element reference" || code == "no such element")
    }
}

/// The key under which WebDriver names an element in JSON.
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";

/// An element of the page, as the driver names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(String);

/// One browser window; ended when dropped.
pub struct Session {
    agent: Agent,
    /// `http://127.0.0.1:PORT/session/ID`
    base: String,
    pub kind: Kind,
}

impl Session {
    /// Opens a browser through the driver at `driver_url` with these capabilities.
    ///
    /// # Errors
    /// Where the driver does not answer or cannot start a browser.
    pub fn open(driver_url: &str, kind: Kind, capabilities: Value) -> Result<Self, WebDriverError> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(300)))
            .build()
            .into();
        let mut session = Self {
            agent,
            base: driver_url.to_owned(),
            kind,
        };
        let answer = session.post(
            "session",
            json!({ "capabilities": { "alwaysMatch": capabilities } }),
        )?;
        let Some(id) = answer["sessionId"].as_str() else {
            return Err(WebDriverError::Answer {
                command: "session".to_owned(),
                answer: answer.to_string(),
            });
        };
        session.base = format!("{driver_url}/session/{id}");
        Ok(session)
    }

    /// Sends a GET command; `path` is relative to the session.
    ///
    /// # Errors
    /// Where the driver refuses, as for every command below.
    pub fn get(&self, path: &str) -> Result<Value, WebDriverError> {
        let answer = self.agent.get(format!("{}/{path}", self.base)).call();
        decoded(path, answer)
    }

    /// Sends a POST command.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn post(&self, path: &str, body: Value) -> Result<Value, WebDriverError> {
        let request = self
            .agent
            .post(format!("{}/{path}", self.base))
            .header("Content-Type", "application/json");
        decoded(path, request.send(body.to_string()))
    }

    /// Loads a page and waits for its `load` event.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn navigate(&self, url: &str) -> Result<(), WebDriverError> {
        self.post("url", json!({ "url": url })).map(drop)
    }

    /// Every element that matches, in document order.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn find_all(&self, css: &str) -> Result<Vec<Element>, WebDriverError> {
        let found = self.post("elements", json!({ "using": "css selector", "value": css }))?;
        Ok(elements(&found))
    }

    /// The elements that a script's body returns.
    ///
    /// # Errors
    /// Where the script throws.
    pub fn elements_of(
        &self,
        body: &str,
        arguments: Value,
    ) -> Result<Vec<Element>, WebDriverError> {
        Ok(elements(&self.script(body, arguments)?))
    }

    /// A text property of an element: `text`, `computedlabel`, `computedrole`, `property/value`, `attribute/id` ...
    ///
    /// # Errors
    /// Where the driver refuses; see [`WebDriverError::is_stale`].
    pub fn text_of(&self, element: &Element, what: &str) -> Result<String, WebDriverError> {
        Ok(match self.get(&format!("element/{}/{what}", element.0))? {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        })
    }

    /// Does something to an element: `click`, `clear`.
    ///
    /// # Errors
    /// Where the driver refuses, e.g. because something else covers the element.
    pub fn act_on(&self, element: &Element, action: &str) -> Result<(), WebDriverError> {
        self.post(&format!("element/{}/{action}", element.0), json!({}))
            .map(drop)
    }

    /// Types into an element; for a file input, the paths of the files, one a line.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn type_into(&self, element: &Element, text: &str) -> Result<(), WebDriverError> {
        self.post(
            &format!("element/{}/value", element.0),
            json!({ "text": text }),
        )
        .map(drop)
    }

    /// Runs a script's body in the page and returns what it returns.
    ///
    /// # Errors
    /// Where the script throws.
    pub fn script(&self, body: &str, arguments: Value) -> Result<Value, WebDriverError> {
        self.post("execute/sync", json!({ "script": body, "args": arguments }))
    }

    /// The argument of [`Session::script`] that stands for an element.
    pub fn reference(element: &Element) -> Value {
        json!({ ELEMENT_KEY: element.0 })
    }

    /// A picture of the whole page as PNG, in base64; for WebKitGTK, of the visible window.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn picture(&self) -> Result<String, WebDriverError> {
        let picture = match self.kind {
            Kind::Chromium => self.devtools(
                "Page.captureScreenshot",
                json!({ "format": "png", "captureBeyondViewport": true }),
            )?["data"]
                .take(),
            Kind::Firefox => self.get("moz/screenshot/full")?,
            Kind::WebKitGtk => self.get("screenshot")?,
        };
        match picture {
            Value::String(base64) => Ok(base64),
            other => Err(WebDriverError::Answer {
                command: "screenshot".to_owned(),
                answer: other.to_string(),
            }),
        }
    }

    /// A command of the Chrome DevTools Protocol, which only Chromium supports.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub fn devtools(&self, command: &str, parameters: Value) -> Result<Value, WebDriverError> {
        self.post(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
    }

    /// The lines of one of Chromium's logs since the last call. `browser` is the console, workers included: objects
    /// with `level`, `message`, `source`.
    ///
    /// # Errors
    /// Where the driver refuses.
    pub fn log(&self, kind: &str) -> Result<Vec<Value>, WebDriverError> {
        let lines = self.post("se/log", json!({ "type": kind }))?;
        Ok(lines.as_array().cloned().unwrap_or_default())
    }

    /// Closes the browser and waits until it has written its files.
    ///
    /// # Errors
    /// Where the driver does not answer.
    pub fn close(&self) -> Result<(), WebDriverError> {
        let answer = self.agent.delete(&self.base).call();
        decoded("close", answer).map(drop)
    }
}

fn elements(list: &Value) -> Vec<Element> {
    let list = list.as_array().into_iter().flatten();
    let ids = list.filter_map(|element| element[ELEMENT_KEY].as_str());
    ids.map(|id| Element(id.to_owned())).collect()
}

fn decoded(
    command: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Value, WebDriverError> {
    let transport = |source| WebDriverError::Transport {
        command: command.to_owned(),
        source: Box::new(source),
    };
    let mut answer = answer.map_err(transport)?;
    // Screenshots and logs of a long run pass the default cap of 10 MB.
    let text = answer
        .body_mut()
        .with_config()
        .limit(256 << 20)
        .read_to_string()
        .map_err(transport)?;
    let Ok(Value::Object(mut body)) = serde_json::from_str(&text) else {
        return Err(WebDriverError::Answer {
            command: command.to_owned(),
            answer: text,
        });
    };
    let value = body.remove("value").unwrap_or(Value::Null);
    if answer.status().is_success() {
        return Ok(value);
    }
    let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    // Only the first line: the rest is the driver's own stack.
    let message = field("message")
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    Err(WebDriverError::Refused {
        command: command.to_owned(),
        code: field("error"),
        message,
    })
}
