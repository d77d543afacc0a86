//! Spreadsheets as people export them: each becomes a dataset that is ready for training, with one click at most.

use e2e::browser::Window;
use e2e::page::{Page, Seen};

use crate::visit::{LOADING, Outcome, SOON, Visit, fixture, picture};

/// A table, and words of its rows that the table before has not; `tests/reference/spreadsheets.py` writes the
/// fixtures.
struct Sheet {
    file: &'static str,
    shows: &'static [&'static str],
}

const SHEETS: [Sheet; 5] = [
    Sheet {
        file: "german_excel.csv",
        shows: &["Grundgebühr?", "4,90 € im Monat.", "uns \"formlos\" eine"],
    },
    Sheet {
        file: "google_sheets.csv",
        shows: &["Does it \"bite\"?", "£4.50 a month", "for ten seconds,"],
    },
    Sheet {
        file: "libreoffice.csv",
        shows: &["früher kündigen?", "hinter der Tür – links."],
    },
    Sheet {
        file: "database.tsv",
        shows: &[
            "\"Quoted start",
            "On the shelf,",
            "C:\\temp ist ein Ordner.",
        ],
    },
    Sheet {
        file: "title.xlsx",
        shows: &["Wo finde ich das Gerät?", "4,90 € im Monat."],
    },
];

/// Waits until training can start on the rows that have these words.
fn wait_until_ready(page: &Page, shows: &[&str]) -> Outcome {
    page.wait(&format!("{shows:?}, ready"), LOADING, || {
        let (status, table) = (page.status()?, page.text("Rows of the dataset")?);
        let is_ready =
            status.starts_with("Ready") && status.ends_with("start training when you like");
        Ok(
            if is_ready && shows.iter().all(|words| table.contains(words)) {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{status}; {table}"))
            },
        )
    })?;
    Ok(())
}

#[test]
fn five_spreadsheets_are_ready_without_a_click() -> Outcome {
    let Some(visit) = Visit::start("spreadsheets", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    for Sheet { file, shows } in SHEETS {
        let sheet = fixture(&format!("datasets/spreadsheets/{file}"))?;
        page.choose_files("Dataset files", &[&sheet])?;
        wait_until_ready(&page, shows)?;
        assert!(!page.is_enabled("Yes, use these columns")?, "{file}");
    }
    picture(&page, "spreadsheet")?;

    // Headings that say nothing, in Excel's encoding for Western Europe: one click.
    let table = "Kundin;Wir\r\nWie hoch ist die Gebühr?;\"Sie beträgt 5 €; im Voraus.\"\r\n\
                 Wo ist das Büro?;Über dem \"\"Café\"\".\r\nWann öffnen Sie?;Um acht.\r\n";
    let windows_1252 = table.chars().map(|character| match character {
        '€' => 0x80,
        other => u8::try_from(other).expect("a sign of Western Europe"),
    });
    let export = visit.write("unnamed.csv", windows_1252.collect::<Vec<_>>())?;
    page.choose_files("Dataset files", &[&export])?;
    page.wait_for_text(
        "Is \u{201c}Kundin\u{201d} the question and \u{201c}Wir\u{201d} the answer?",
        LOADING,
    )?;
    page.press("Yes, use these columns")?;
    wait_until_ready(
        &page,
        &["Wie hoch ist die Gebühr?", "Sie beträgt 5 €; im Voraus."],
    )?;
    page.wait_for_text("2 for training, 1 held out", SOON)?;
    page.expect_quiet_console()?;
    Ok(())
}
