//! Browsers that lack something, or refuse it: each costs the one thing that needs it, is said once, and nothing else.
//!
//! They are played by Chromium, whose page and workers run a script first that takes things away.

use std::path::Path;

use e2e::browser::Window;
use e2e::server::Isolation;

use crate::browsers::journey;
use crate::visit::{LOADING, Outcome, SOON, Visit, copy_site, root};

const NO_STORAGE: &str =
    "This browser doesn't let the page keep files: the model is downloaded again next time.";
const NO_SPACE: &str =
    "This browser has no room left to keep the model: it is downloaded again next time.";

/// Opens the page with this script before those of the page and of every worker; `None` where the test cannot run.
pub fn visit_with(test: &str, script: &str) -> Result<Option<Visit>, Box<dyn std::error::Error>> {
    let dist = root().join("dist");
    if !dist.join("start.js").exists() {
        println!("SKIPPED {test}: the page is not built (make build)");
        return Ok(None);
    }
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-site"));
    copy_site(&dist, &site, "")?;
    std::fs::write(site.join("lack.js"), script)?;
    for entry in std::fs::read_dir(&dist)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name == "start.js" || name.ends_with("_loader.js") {
            // Modules run in the order of their imports, which come before the module's own lines.
            let own = std::fs::read_to_string(dist.join(&*name))?;
            std::fs::remove_file(site.join(&*name))?;
            std::fs::write(site.join(&*name), format!("import \"./lack.js\";\n{own}"))?;
        }
    }
    Visit::start_from(test, Window::default(), &site, Isolation::Isolated)
}

#[test]
fn storage_that_throws_costs_nothing_but_keeping() -> Outcome {
    let script = "StorageManager.prototype.getDirectory = () => { throw new DOMException('not here', 'SecurityError'); };";
    let Some(visit) = visit_with("storage-throws", script)? else {
        return Ok(());
    };
    let page = visit.page()?;
    journey(&visit, &page)?;
    assert_eq!(page.body_text()?.matches(NO_STORAGE).count(), 1);
    page.expect_quiet_console()?;
    Ok(())
}

/// Each way in which keeping the model can fail, early and late: it is loaded all the same.
#[test]
fn a_model_that_cannot_be_kept_is_held_in_memory() -> Outcome {
    for (test, script, said) in [
        (
            "storage-missing",
            "Object.defineProperty(WorkerNavigator.prototype, 'storage', { value: undefined });",
            Some(NO_STORAGE),
        ),
        (
            "storage-rejects",
            "StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('private', 'NotAllowedError'));",
            Some(NO_STORAGE),
        ),
        (
            "storage-unwritable",
            "delete FileSystemFileHandle.prototype.createSyncAccessHandle;",
            Some(NO_STORAGE),
        ),
        (
            "storage-full",
            "const write = FileSystemSyncAccessHandle.prototype.write; let room = 30e6;
             FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
               room -= bytes.byteLength;
               if (room < 0) throw new DOMException('full', 'QuotaExceededError');
               return write.call(this, bytes, options);
             };",
            Some(NO_SPACE),
        ),
        (
            "storage-unreadable",
            "FileSystemFileHandle.prototype.getFile = () => Promise.reject(new DOMException('gone', 'NotReadableError'));",
            Some(NO_STORAGE),
        ),
        (
            "storage-taken",
            "FileSystemFileHandle.prototype.createSyncAccessHandle =
               () => Promise.reject(new DOMException('another tab', 'NoModificationAllowedError'));",
            None,
        ),
    ] {
        // Some of these classes are the workers' alone.
        let script = format!("if (self.WorkerGlobalScope) {{ {script} }}");
        let Some(visit) = visit_with(test, &script)? else {
            return Ok(());
        };
        let page = visit.page()?;
        page.press("Use the bundled model")?;
        page.wait_for_status(&["Ready", "Idle"], SOON)?;
        page.wait_for_text("SHA-256", LOADING)?;
        let body = page.body_text()?;
        for sentence in [NO_STORAGE, NO_SPACE] {
            let times = usize::from(said == Some(sentence));
            assert_eq!(body.matches(sentence).count(), times, "{test}: {sentence}");
        }
        page.expect_quiet_console()?;
    }
    Ok(())
}

/// As in an old browser, or one that is set to tell and keep as little as it can.
#[test]
fn a_browser_that_lacks_all_that_can_be_done_without_finishes_the_journey() -> Outcome {
    let script = "
        const lack = (object, ...names) => {
          for (const name of names) if (object && name in object) Object.defineProperty(object, name, { value: undefined });
        };
        lack(self, 'SharedArrayBuffer', 'BroadcastChannel', 'Notification', 'localStorage', 'sessionStorage', 'indexedDB');
        lack(Object.getPrototypeOf(navigator), 'storage', 'gpu', 'wakeLock', 'serviceWorker', 'clipboard', 'hardwareConcurrency');
        lack(Atomics, 'waitAsync');";
    let Some(visit) = visit_with("bare", script)? else {
        return Ok(());
    };
    let page = visit.page()?;
    journey(&visit, &page)?;
    let body = page.body_text()?;
    assert!(body.contains("1 thread of 1 core"), "{body}");
    assert_eq!(body.matches(NO_STORAGE).count(), 1);
    page.expect_quiet_console()?;
    Ok(())
}
