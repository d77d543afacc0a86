//! `serve FOLDER [PORT]`: serves a built page on 127.0.0.1 (port 8080 by default) until it is interrupted.

use std::path::PathBuf;
use std::process::ExitCode;

use server::{Server, Site};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "dist".to_owned()));
    let port = arguments.next().unwrap_or_else(|| "8080".to_owned());
    let Ok(port) = port.parse::<u16>() else {
        eprintln!("error: '{port}' is not a port: give a number from 1 to 65535");
        return ExitCode::from(2);
    };
    match Site::new(&folder).and_then(|site| Server::start(site, port)) {
        Ok(server) => {
            println!("\nInlay is at {} (Ctrl-C stops it)", server.origin());
            server.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
