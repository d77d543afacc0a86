//! Tables as spreadsheets and databases export them: quotes, titles, empty columns, encodings.

use encoding_rs::{
    Encoding, GB18030, ISO_8859_2, KOI8_R, SHIFT_JIS, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
    WINDOWS_1253, WINDOWS_1254,
};
use protocol::Failure;
use serde_json::json;

use super::{
    packing::zip,
    records::{fixture, notes, read_one},
};

#[test]
fn a_lone_quote_is_part_of_its_text() {
    let records = read_one("rows.tsv", "prompt\tcompletion\nFirst\tfirst\n\"Second\tsecond\nThird \"word\"\tthird\nFourth\tfourth\nFifth\tfifth\n").unwrap();
    assert_eq!(
        records.field("prompt"),
        ["First", "\"Second", "Third \"word\"", "Fourth", "Fifth"]
    );
    assert_eq!(
        records.field("completion"),
        ["first", "second", "third", "fourth", "fifth"]
    );
    // Inches, in a table that quotes other cells.
    let records = read_one("rows.csv", "item,note\n\"5 inch, flat\",\"a \"\"b\"\"\"\n\"6 inch disk,old\nother,\"say \"\"x\"\"\"\nlast,one\n").unwrap();
    assert_eq!(
        records.field("item"),
        ["5 inch, flat", "\"6 inch disk", "other", "last"]
    );
    assert_eq!(
        records.field("note"),
        ["a \"b\"", "old", "say \"x\"", "one"]
    );
    // An answer that begins with words in quotes, and the last line of a file.
    let records = read_one("rows.csv", "q,a\nWho?,\"Nobody\" said so\nWhy?,\"because\n").unwrap();
    assert_eq!(records.field("a"), ["\"Nobody\" said so", "\"because"]);
    records.assert_faults(&[]);
    // Quotes that nothing closes cost one row where its cells are too few, and no time.
    let rows: String = (0..20_000)
        .map(|row| format!("\"open {row}, and more\n\"closed {row},x\n"))
        .collect();
    let records = read_one("rows.csv", format!("q,a\n{rows}")).unwrap();
    assert_eq!(records.rows.len(), 40_000);
}

#[test]
fn texts_over_lines_stay_whole() {
    let text = "Question,Answer\n\"Hello, world\nsecond line\",x\n\"One \"\"two\"\"\n\nthree, four\",\"a\nb\"\nplain,y\n";
    let records = read_one("rows.csv", text).unwrap();
    assert_eq!(
        records.field("Question"),
        [
            "Hello, world\nsecond line",
            "One \"two\"\n\nthree, four",
            "plain"
        ]
    );
    assert_eq!(records.field("Answer"), ["x", "a\nb", "y"]);
    let spaced = read_one(
        "rows.csv",
        "\"q\", \"a\"\n\"one, two\", \"b\"\n\"c\", \"d\"\n",
    )
    .unwrap();
    assert_eq!(
        spaced.values(),
        [
            &json!({"q": "one, two", "a": "b"}),
            &json!({"q": "c", "a": "d"})
        ]
    );
    let long = vec!["line"; 3000].join("\n");
    let records = read_one("rows.csv", format!("q,a\n\"{long}\",x\nb,y\n")).unwrap();
    assert_eq!(records.field("q"), [long.as_str(), "b"]);
}

#[test]
fn empty_columns_at_the_right_are_dropped() {
    let text = "v1,v2,,,\nham,\"Shall we meet, then\",,,\nspam,Claim a prize of \u{a3}90 today,,,\nham,Fine by me, see you,,,\nspam,You were picked, call now,,,\n";
    let records = read_one("spam.csv", WINDOWS_1252.encode(text).0).unwrap();
    assert_eq!(records.kind(), ("CSV", "windows-1252"));
    assert_eq!(
        records.values(),
        [
            &json!({"v1": "ham", "v2": "Shall we meet, then"}),
            &json!({"v1": "spam", "v2": "Claim a prize of \u{a3}90 today"}),
            &json!({"v1": "ham", "v2": "Fine by me, see you"}),
            &json!({"v1": "spam", "v2": "You were picked, call now"}),
        ]
    );
    assert_eq!(
        notes(&records),
        [
            "2 rows (the first in line 4) had more cells than named columns; the extra ones were joined to the text of \"v2\"."
        ]
    );
    let records = read_one(
        "rows.csv",
        "Frage;Antwort;;\nWo?;Hier;;\nWann?;Jetzt\n;;;\n;;;\n",
    )
    .unwrap();
    assert_eq!(
        records.values(),
        [
            &json!({"Frage": "Wo?", "Antwort": "Hier"}),
            &json!({"Frage": "Wann?", "Antwort": "Jetzt"})
        ]
    );
    records.assert_faults(&[]);
    // A column without a name that holds something is one.
    let records = read_one("rows.csv", "q,a,\nb,c,d\ne,f,g\n").unwrap();
    assert_eq!(
        *records.values()[0],
        json!({"q": "b", "a": "c", "column 3": "d"})
    );
}

#[test]
fn titles_above_the_names_are_passed_over() {
    let rows = [
        json!({"Frage": "Wo?", "Antwort": "Hier."}),
        json!({"Frage": "Wann?", "Antwort": "Jetzt."}),
    ];
    for text in [
        "Fragenkatalog 2024;\n;\nFrage;Antwort\nWo?;Hier.\nWann?;Jetzt.\n",
        "Fragenkatalog 2024\n\nFrage;Antwort\nWo?;Hier.\nWann?;Jetzt.\n",
        "Fragenkatalog;;\nStand: Mai;;\nFrage;Antwort;\nWo?;Hier.;\nWann?;Jetzt.;\n",
    ] {
        let records = read_one("fragen.csv", text).unwrap();
        assert_eq!(records.values(), rows.iter().collect::<Vec<_>>(), "{text}");
        assert!(
            notes(&records)[0].contains("above the column names was skipped"),
            "{:?}",
            records.notes
        );
    }
}

#[test]
fn exports_of_databases_are_read() {
    let text = "id\tquestion\tanswer\n1\tWhat is \\\\x?\tA \"quoted\nword\\nand more\n2\t\\N\tTab\\there\n3\t\"Why\tBecause\n".replace("quoted\nword", "quoted\" word");
    let records = read_one("dump.tsv", text).unwrap();
    assert_eq!(
        records.values(),
        [
            &json!({"id": "1", "question": "What is \\x?", "answer": "A \"quoted\" word\nand more"}),
            &json!({"id": "2", "question": null, "answer": "Tab\there"}),
            &json!({"id": "3", "question": "\"Why", "answer": "Because"}),
        ]
    );
    // Backslashes without a `\N` are the texts' own.
    let records = read_one("rows.tsv", "q\ta\n\\nabla\t\\times\nb\tc\n").unwrap();
    assert_eq!(records.field("q")[0], "\\nabla");
    let mysql = read_one(
        "dump.csv",
        "q,a\n\"He said \\\"hi\\\", then\",\\N\n\"b\",\"c\"\n",
    )
    .unwrap();
    assert_eq!(
        *mysql.values()[0],
        json!({"q": "He said \"hi\", then", "a": null})
    );
}

/// Given a few characters, the detector takes them for letters of other languages; given sentences, it knows the language.
#[test]
fn encodings_are_guessed_by_what_people_write() {
    let cases: [(&str, &'static Encoding); 18] = [
        (
            "spam,You may collect £293 cash or a £80 voucher\nham,See you\n",
            WINDOWS_1252,
        ),
        (
            "a,It costs 5 € or £4 – “cheap”, isn’t it?\nb,plain text\n",
            WINDOWS_1252,
        ),
        (
            "q,Temperature is 20 °C, see § 5\na,½ cup of sugar\n",
            WINDOWS_1252,
        ),
        (
            "frage,Wie heißt du?\nantwort,Günter Größe aus Köln\n",
            WINDOWS_1252,
        ),
        ("Straße,Übung\nfür,schön\n", WINDOWS_1252),
        (
            "q,Où est le café ? Ça coûte 3 €, déjà.\na,Là-bas, près de l’église.\n",
            WINDOWS_1252,
        ),
        ("q,¿Dónde está el niño?\na,¡Aquí, señor!\n", WINDOWS_1252),
        ("q,Não há pão\na,É amanhã, então\n", WINDOWS_1252),
        (
            "q,Hvor er bøgerne på hylden?\na,Øverst, ved æblerne.\n",
            WINDOWS_1252,
        ),
        (
            "q,Gdzie leży żółta łódź i źdźbło?\na,Nad rzeką, proszę pana, koło mostu świętego.\n",
            WINDOWS_1250,
        ),
        (
            "q,Příliš žluťoučký kůň úpěl ďábelské ódy, že?\na,Ano, děkuji, to je hezké přísloví.\n",
            WINDOWS_1250,
        ),
        (
            "q,Hol van a könyvtár főbejárata, kérem?\na,A tűzoltóság mögött, a következő utcában található, jobbra.\n",
            ISO_8859_2,
        ),
        (
            "q,Где находится библиотека?\na,Она стоит на углу, рядом с почтой.\n",
            WINDOWS_1251,
        ),
        (
            "q,Сколько стоит этот билет?\na,Пятьсот рублей, пожалуйста.\n",
            KOI8_R,
        ),
        (
            "q,Πού είναι η βιβλιοθήκη;\na,Δίπλα στο ταχυδρομείο, παρακαλώ.\n",
            WINDOWS_1253,
        ),
        (
            "q,İstanbul’da kütüphane nerede, değil mi?\na,Şurada, ağaçların arasında, ışığın altında.\n",
            WINDOWS_1254,
        ),
        (
            "質問,図書館はどこですか。\n回答,郵便局の隣にあります。\n",
            SHIFT_JIS,
        ),
        (
            "问题,图书馆在哪里？\n答案,在邮局旁边，请往前走。\n",
            GB18030,
        ),
    ];
    for (text, encoding) in cases {
        let (bytes, _, is_lossy) = encoding.encode(text);
        assert!(!is_lossy, "{text}");
        let records = read_one(
            "rows.txt",
            "x,y\n"
                .to_owned()
                .into_bytes()
                .into_iter()
                .chain(bytes.iter().copied())
                .collect::<Vec<u8>>(),
        )
        .unwrap();
        let read: Vec<String> = records
            .rows
            .iter()
            .map(|(_, row)| row.as_ref().unwrap().to_string())
            .collect();
        let first = text.lines().next().unwrap().split_once(',').unwrap().1;
        assert!(
            read.concat().contains(&first.replace('"', "\\\"")),
            "{}: {read:?}",
            records.kind().1
        );
    }
}

/// Five spreadsheets as people export them; see `tests/reference/spreadsheets.py`.
#[test]
fn five_spreadsheets_come_out_as_they_were_filled_in() {
    let german = [
        json!({"Frage": "Wie hoch ist die Grundgebühr?", "Antwort": "Sie beträgt 4,90 € im Monat.", "Bewertung": "4,5"}),
        json!({"Frage": "Darf ich früher kündigen?", "Antwort": "Ja; schreiben Sie uns \"formlos\" eine E-Mail.", "Bewertung": "3,0"}),
        json!({"Frage": "Wo finde ich das Gerät?", "Antwort": "Im Schuppen, hinter der Tür – links.", "Bewertung": "5,0"}),
    ];
    let english = [
        json!({"Question": "How do I reset it?", "Answer": "Hold the button for ten seconds,\nthen let go.", "Source": "manual"}),
        json!({"Question": "Does it \"bite\"?", "Answer": "No, it doesn’t.", "Source": "forum"}),
        json!({"Question": "What is the fee?", "Answer": "£4.50 a month", "Source": ""}),
    ];
    for (name, expected, format, encoding) in [
        (
            "german_excel.csv",
            &german[..],
            "CSV with semicolons",
            "windows-1252",
        ),
        ("libreoffice.csv", &german[..], "CSV", "UTF-8"),
        ("google_sheets.csv", &english[..], "CSV", "UTF-8"),
    ] {
        let records = read_one(name, fixture(&format!("spreadsheets/{name}"))).unwrap();
        assert_eq!(records.kind(), (format, encoding), "{name}");
        assert_eq!(
            records.values(),
            expected.iter().collect::<Vec<_>>(),
            "{name}"
        );
        records.assert_faults(&[]);
    }
    let records = read_one("database.tsv", fixture("spreadsheets/database.tsv")).unwrap();
    assert_eq!(
        records.values(),
        [
            &json!({"id": "1", "question": "Where is \"it\"?", "answer": "On the shelf,\nsecond from the left.", "editor": null}),
            &json!({"id": "2", "question": "\"Quoted start", "answer": "Yes", "editor": "ann"}),
            &json!({"id": "3", "question": "Was heißt das?", "answer": "C:\\temp ist ein Ordner.", "editor": "bob"}),
        ]
    );
    let utf16 = read_one("unicode.txt", fixture("spreadsheets/excel_unicode.txt")).unwrap();
    assert_eq!(utf16.kind(), ("TSV", "UTF-16LE"));
    assert_eq!(utf16.values(), german.iter().collect::<Vec<_>>());
    let separated = read_one("separated.csv", fixture("spreadsheets/excel_sep.csv")).unwrap();
    assert_eq!(separated.values(), german.iter().collect::<Vec<_>>());
}

#[test]
fn workbooks_are_read_from_their_first_sheet_with_rows() {
    let records = read_one("title.xlsx", fixture("spreadsheets/title.xlsx")).unwrap();
    assert_eq!(records.files[0].1, "Excel, sheet \"Fragen\"");
    let row = |topic: &str, question: &str, answer: &str, date: &str| json!({"Thema": topic, "Frage": question, "Antwort": answer, "Stand": date});
    assert_eq!(
        records.values(),
        [
            &row(
                "Gebühren",
                "Wie hoch ist die Grundgebühr?",
                "Sie beträgt 4,90 € im Monat.",
                "2024-02-29"
            ),
            &row(
                "Gebühren",
                "Darf ich früher kündigen?",
                "Ja; \"formlos\" genügt.",
                "2024-03-01 12:30:00"
            ),
            &row(
                "Geräte",
                "Wo finde ich das Gerät?",
                "Im Schuppen,\nhinter der Tür – links.",
                ""
            ),
            &row("Geräte", "Wie viele sind es?", "3.5", ""),
        ]
    );
    let lines: Vec<_> = records.rows.iter().map(|(place, _)| place.line).collect();
    assert_eq!(lines, [3, 4, 5, 7].map(Some));
    assert_eq!(
        notes(&records),
        [
            "The title \"Fragenkatalog 2024\" above the column names was skipped.",
            "The sheet \"Notizen\" was not read; save it as a file of its own.",
        ]
    );
    let records = read_one("plain.xlsx", fixture("spreadsheets/plain.xlsx")).unwrap();
    assert_eq!(
        records.values(),
        [
            &json!({"Question": "How many?", "Answer": "12", "Share": "12.5%", "Checked": "TRUE"}),
            &json!({"Question": "What's <this> & that?", "Answer": "A \"test\"", "Share": "100.0%", "Checked": "FALSE"}),
        ]
    );
}

/// As other programs write workbooks: texts inside the cells, prefixes, no styles, cells without places.
#[test]
fn workbooks_of_other_programs_are_read() {
    let workbook = "<?xml version=\"1.0\"?><x:workbook xmlns:x=\"a\" xmlns:r=\"b\"><x:sheets><x:sheet name=\"S &amp; T\" sheetId=\"1\" r:id=\"rId7\"/></x:sheets></x:workbook>";
    let relations = "<Relationships><Relationship Id=\"rId7\" Type=\"t\" Target=\"/xl/worksheets/one.xml\"/></Relationships>";
    let cell = |text: &str| {
        format!(
            "<x:c t='inlineStr'><x:is><x:r><x:t xml:space=\"preserve\">{text}</x:t></x:r></x:is></x:c>"
        )
    };
    let row = |cells: &[&str]| {
        format!(
            "<x:row>{}</x:row>",
            cells.iter().map(|text| cell(text)).collect::<String>()
        )
    };
    let sheet = format!(
        "<x:worksheet><x:sheetData>{}{}<!-- > -->{}</x:sheetData></x:worksheet>",
        row(&["q", "a"]),
        row(&["1 &lt; 2?_x000D_\n", "<![CDATA[yes & no]]>"]),
        row(&["&#xE9;t&#233;?", "_x00e9__"])
    );
    let parts = |sheet: &str| {
        zip(
            &[
                ("xl/workbook.xml", workbook.as_bytes()),
                ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
                ("xl/worksheets/one.xml", sheet.as_bytes()),
            ],
            ::zip::CompressionMethod::Deflated,
        )
    };
    let records = read_one("book.xlsx", parts(&sheet)).unwrap();
    assert_eq!(
        records.values(),
        [
            &json!({"q": "1 < 2?\n", "a": "yes & no"}),
            &json!({"q": "été?", "a": "é_"})
        ]
    );
    assert_eq!(records.files[0].1, "Excel, sheet \"S & T\"");
    for sheet in [
        "<worksheet><sheetData/></worksheet>",
        // A tag that never ends.
        "<worksheet><c r=\"a>",
        "<worksheet><sheetData><row><c r=\"XFD1\"><v>1</v></c></row></sheetData></worksheet>",
    ] {
        assert!(read_one("book.xlsx", parts(sheet)).is_err(), "{sheet}");
    }
    // Older and other spreadsheets are refused by their names.
    for (bytes, what) in [
        (
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(),
            "old Office document",
        ),
        (
            zip(
                &[("META-INF/manifest.xml", b"<a/>"), ("content.xml", b"<a/>")],
                ::zip::CompressionMethod::Stored,
            ),
            "OpenDocument",
        ),
    ] {
        let failure = Failure::from(read_one("book", bytes).err().unwrap());
        assert!(failure.what.contains(what), "{failure:?}");
        assert!(failure.remedy.unwrap().contains(".xlsx"));
    }
}
