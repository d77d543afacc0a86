//! The driver's process, and the display of its browser.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::kind::{Kind, Programs, prepare_home};
use super::{BrowserError, Window};

/// How long a driver may take to start listening.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening driver; ended when dropped.
pub(super) struct Driver {
    process: Child,
    display: Option<Child>,
    pub url: String,
}

impl Driver {
    /// Starts the driver on a free port. The output of the driver and its browser goes into `driver.log`, and their temporary
    /// files into `temporary`.
    pub fn start(
        kind: Kind,
        folder: &Path,
        temporary: &Path,
        window: Window,
    ) -> Result<Self, BrowserError> {
        let Programs {
            driver, display, ..
        } = kind.programs();
        let mut command = Command::new(&driver);
        command.env("TMPDIR", temporary);
        if kind != Kind::Chromium {
            prepare_home(folder).map_err(BrowserError::Folder)?;
            let home = folder.join("home");
            command
                .env("HOME", &home)
                .env("XDG_CONFIG_HOME", home.join(".config"))
                .env("XDG_DATA_HOME", home.join(".local/share"))
                .env("XDG_CACHE_HOME", home.join(".cache"));
        }
        let display = match display {
            Some(program) => {
                let (display, name) = start_display(&program, window)?;
                command.env("DISPLAY", name);
                Some(display)
            }
            None => None,
        };
        // WebKitGTK's driver neither chooses a port nor reports one; if another program takes this one first, only the
        // test fails.
        let port = match kind {
            Kind::WebKitGtk => free_port().map_err(BrowserError::Folder)?,
            Kind::Chromium | Kind::Firefox => 0,
        };
        let log = File::create(folder.join("driver.log")).map_err(BrowserError::Folder)?;
        let errors = log.try_clone().map_err(BrowserError::Folder)?;
        let process = command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|error| BrowserError::Start(driver.clone(), error))?;
        let mut driver_process = Self {
            process,
            display,
            url: String::new(),
        };
        let told = driver_process.log_output(log, port);
        let port = if port == 0 {
            told.recv_timeout(PATIENCE).ok()
        } else {
            wait_for_port(port).then_some(port)
        };
        let port = port.ok_or(BrowserError::NoPort(driver))?;
        driver_process.url = format!("http://127.0.0.1:{port}");
        Ok(driver_process)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Copies its output into the log as long as it lives, since a driver that writes into a closed pipe would end.
    /// Returns the port that it reports, unless it is known.
    fn log_output(&mut self, mut log: File, known: u16) -> std::sync::mpsc::Receiver<u16> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let output = self.process.stdout.take();
        std::thread::spawn(move || {
            let lines = output
                .map(BufReader::new)
                .into_iter()
                .flat_map(BufRead::lines);
            for line in lines.map_while(Result::ok) {
                if known == 0
                    && let Some(port) = port_in(&line)
                {
                    let _ = sender.send(port);
                }
                let _ = writeln!(log, "{line}");
            }
        });
        receiver
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for process in [Some(&mut self.process), self.display.as_mut()]
            .into_iter()
            .flatten()
        {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The port that a driver says it listens on: "... started successfully on port 1234.", "Listening on 127.0.0.1:1234".
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line
        .split_once("successfully on port ")
        .or_else(|| line.split_once("Listening on 127.0.0.1:"))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn wait_for_port(port: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Starts a display with a free number, large enough for the window, and returns its name.
fn start_display(program: &Path, window: Window) -> Result<(Child, String), BrowserError> {
    // Room for a window that is enlarged later.
    let (width, height) = (window.width.max(1600), window.height.max(1200));
    let mut display = Command::new(program)
        .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
        .arg(format!("{width}x{height}x24"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| BrowserError::Start(program.to_owned(), error))?;
    // It writes its number once it is listening.
    let number = display.stdout.take().and_then(|output| {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).ok()?;
        line.trim().parse::<u32>().ok()
    });
    match number {
        Some(number) => Ok((display, format!(":{number}"))),
        None => {
            let _ = display.kill();
            let _ = display.wait();
            Err(BrowserError::NoPort(program.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_say_where_they_listen() {
        for (line, port) in [
            (
                "ChromeDriver was started successfully on port 41235.",
                Some(41235),
            ),
            (
                "1795988442580\tgeckodriver\tINFO\tListening on 127.0.0.1:4477",
                Some(4477),
            ),
            ("Starting ChromeDriver 156.0 on port 0", None),
        ] {
            assert_eq!(port_in(line), port, "{line}");
        }
    }
}
