//! The harness that drives the built page in a real browser.
//!
//! ```text
//! server   the server of `make run`, with answers that go wrong on request
//! browser  a headless Chromium with its driver, started and ended with the test
//! page the page as a person sees it: controls found by role and accessible name
//! axe      what is wrong with the page for those who use a keyboard, a magnifier or a screen reader
//! netlog   the browser's own record of every request, to see that none leaves the origin
//! trace    the browser's own record of what the page's thread did, to see that it never does much at a time
//! ```
//!
//! The WebDriver protocol is a dozen JSON requests over HTTP to one's own machine; [`webdriver`] speaks them directly,
//! which keeps the tests synchronous and quick to build.

pub mod axe;
pub mod browser;
pub mod netlog;
pub mod page;
pub mod server;
pub mod trace;
pub mod webdriver;
