//! Files that were made to take all time or all memory: the page answers each of them soon or lets go of it, in bounded
//! memory, and works on as if it had never seen them.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::{Value, json};

use crate::visit::{LOADING, Outcome, RUN, SOON, Visit, fill, root, sentences};

/// What the page has to answer within, or to let go of.
const ANSWER: Duration = Duration::from_secs(5);
/// The driver's own time, on a busy machine.
const SLACK: Duration = Duration::from_secs(3);
/// What a file may take besides four times its size, and what a browser takes for a worker and for looking at the page.
const FREE_BYTES: u64 = 64 << 20;
const BROWSER_BYTES: u64 = 96 << 20;

fn fixture(name: &str) -> Result<PathBuf, std::io::Error> {
    root().join("tests/fixtures").join(name).canonicalize()
}

/// The files of one hostile input, and where they are given to the page.
struct Input {
    name: &'static str,
    field: &'static str,
    files: Vec<PathBuf>,
}

/// The tiny model with another tokenizer, or with a template.
fn model(
    visit: &Visit,
    name: &'static str,
    file: &str,
    contents: &str,
) -> Result<Input, Box<dyn Error>> {
    let mut files = vec![visit.write(&format!("{name}/{file}"), contents)?];
    for own in ["config.json", "model.safetensors", "tokenizer.json"] {
        if own != file {
            files.push(fixture(&format!("model/tiny/{own}"))?);
        }
    }
    let field = "Model files";
    Ok(Input { name, field, files })
}

fn tokenizer(change: impl FnOnce(&mut Value)) -> Result<String, Box<dyn Error>> {
    let text = std::fs::read_to_string(fixture("model/tiny/tokenizer.json")?)?;
    let mut tokenizer: Value = serde_json::from_str(&text)?;
    change(&mut tokenizer);
    Ok(tokenizer.to_string())
}

fn normalizers(each: Value, count: usize) -> Result<String, Box<dyn Error>> {
    tokenizer(|tokenizer| {
        tokenizer["normalizer"] = json!({ "type": "Sequence", "normalizers": vec![each; count] });
    })
}

fn models(visit: &Visit) -> Result<Vec<Input>, Box<dyn Error>> {
    let doubling =
        json!({ "type": "Replace", "pattern": { "String": "e" }, "content": "eeeeeeee" });
    let ids: Vec<u32> = (0..40_000).map(|at| at % 300).collect();
    let template = "chat_template.jinja";
    Ok(vec![
        model(
            visit,
            "replaces",
            "tokenizer.json",
            &normalizers(doubling, 12)?,
        )?,
        model(
            visit,
            "prepends",
            "tokenizer.json",
            &normalizers(json!({ "type": "Prepend", "prepend": "aaaa" }), 30_000)?,
        )?,
        model(
            visit,
            "post-processor",
            "tokenizer.json",
            &tokenizer(|tokenizer| {
                let part = json!({ "SpecialToken": { "id": "many", "type_id": 0 } });
                tokenizer["post_processor"] = json!({
                    "type": "TemplateProcessing",
                    "single": vec![part.clone(); 20_000],
                    "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }],
                    "special_tokens": { "many": { "id": "many", "ids": ids, "tokens": vec!["a"; 40_000] } },
                });
            })?,
        )?,
        model(
            visit,
            "sum",
            template,
            &format!("{{{{ {}1 }}}}", "1+".repeat(5_000)),
        )?,
        model(
            visit,
            "attributes",
            template,
            &format!("{{{{ a{} }}}}", ".a".repeat(5_000)),
        )?,
        model(
            visit,
            "filters",
            template,
            &format!("{{{{ a{} }}}}", "|trim".repeat(2_000)),
        )?,
        model(
            visit,
            "elifs",
            template,
            &format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(2_000)),
        )?,
        model(
            visit,
            "uncompiled",
            template,
            "{% for m in messages %}{{ m.content }",
        )?,
    ])
}

/// Its rendering would double a list forty times.
fn doubling(visit: &Visit) -> Result<Input, Box<dyn Error>> {
    let template = format!(
        "{{% set x = [1] %}}{}{{{{ x|length }}}}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}",
        "{% set x = x + x %}".repeat(40)
    );
    model(visit, "doubling", "chat_template.jinja", &template)
}

/// A GGUF of 7 GB, as far as its header and its length tell; its file takes no room.
fn large(visit: &Visit) -> Result<Input, Box<dyn Error>> {
    let path = visit.write("large.gguf", large_header())?;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)?
        .set_len(7 << 30)?;
    Ok(Input {
        name: "7 GB",
        field: "Model files",
        files: vec![path],
    })
}

/// The front of a Llama whose embedding alone has more than 7 GB.
fn large_header() -> Vec<u8> {
    const HIDDEN: u32 = 4096;
    const VOCABULARY: u32 = 458_000;
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    let numbers = [
        ("llama.context_length", 2048),
        ("llama.embedding_length", HIDDEN),
        ("llama.block_count", 1),
        ("llama.feed_forward_length", 8192),
        ("llama.attention.head_count", 32),
        ("llama.attention.head_count_kv", 32),
        ("llama.vocab_size", VOCABULARY),
    ];
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(1u64.to_le_bytes());
    bytes.extend((numbers.len() as u64 + 2).to_le_bytes());
    text(&mut bytes, "general.architecture");
    bytes.extend(8u32.to_le_bytes());
    text(&mut bytes, "llama");
    text(&mut bytes, "llama.attention.layer_norm_rms_epsilon");
    bytes.extend(6u32.to_le_bytes());
    bytes.extend(1e-5f32.to_le_bytes());
    for (key, number) in numbers {
        text(&mut bytes, key);
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
    }
    text(&mut bytes, "token_embd.weight");
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(u64::from(HIDDEN).to_le_bytes());
    bytes.extend(u64::from(VOCABULARY).to_le_bytes());
    // F32, at the start of the data.
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes
}

fn dataset(
    visit: &Visit,
    name: &'static str,
    file: &str,
    contents: &[u8],
) -> Result<Input, Box<dyn Error>> {
    let files = vec![visit.write(file, contents)?];
    Ok(Input {
        name,
        field: "Dataset files",
        files,
    })
}

fn datasets(visit: &Visit) -> Result<Vec<Input>, Box<dyn Error>> {
    let mut open_quote = b"prompt,completion\n\"a,b\n".to_vec();
    open_quote.extend(b"a,b\n".repeat(3_000_000));
    let mut tiny_rows = b"[".to_vec();
    tiny_rows.extend(b"{},".repeat(2_000_000));
    tiny_rows.extend(b"{}]");
    Ok(vec![
        dataset(visit, "an open quote", "open-quote.csv", &open_quote)?,
        dataset(
            visit,
            "two million empty rows",
            "empty-rows.json",
            &tiny_rows,
        )?,
        dataset(visit, "a zip bomb", "bomb.zip", &bomb(300)?)?,
        dataset(
            visit,
            "a bomb of several files",
            "bombs.zip",
            &bombs(40, 50)?,
        )?,
    ])
}

/// A zip with one file of so many megabytes of zeros.
fn bomb(megabytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    bombs(1, megabytes)
}

fn bombs(files: usize, megabytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(1));
    for file in 0..files {
        zip.start_file(format!("rows-{file}.jsonl"), options)?;
        let zeros = vec![b' '; 1 << 20];
        for _ in 0..megabytes {
            zip.write_all(&zeros)?;
        }
    }
    Ok(zip.finish()?.into_inner())
}

/// An adapter's zip with a thousand entries that share one stored file.
fn shared_entries(visit: &Visit) -> Result<Input, Box<dyn Error>> {
    const NUM_ENTRIES: u16 = 1_000;
    let content = vec![b'x'; 4 << 20];
    let size = u32::try_from(content.len())?.to_le_bytes();
    let name = b"adapter_model.safetensors";
    let mut bytes = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(size);
    bytes.extend(size);
    bytes.extend(u16::try_from(name.len())?.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(name);
    bytes.extend(&content);
    let directory = bytes.len();
    for _ in 0..NUM_ENTRIES {
        bytes.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(size);
        bytes.extend(size);
        bytes.extend(u16::try_from(name.len())?.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(name);
    }
    let length = bytes.len() - directory;
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(NUM_ENTRIES.to_le_bytes());
    bytes.extend(NUM_ENTRIES.to_le_bytes());
    bytes.extend(u32::try_from(length)?.to_le_bytes());
    bytes.extend(u32::try_from(directory)?.to_le_bytes());
    bytes.extend([0, 0]);
    let files = vec![visit.write("shared-lora.zip", &bytes)?];
    Ok(Input {
        name: "entries that share a file",
        field: "Adapter files",
        files,
    })
}

#[test]
fn files_made_to_wedge_the_page_do_not() -> Outcome {
    let Some(visit) = Visit::start("stuck", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let few = visit.write("few.jsonl", sentences(20, 7))?;
    page.choose_files("Dataset files", &[&few])?;
    page.wait_for_status(&["Ready", "Idle"], LOADING)?;
    page.press("Use the bundled model")?;
    page.wait_for_text("SHA-256", LOADING)?;

    let mut inputs = models(&visit)?;
    inputs.push(large(&visit)?);
    inputs.push(shared_entries(&visit)?);
    inputs.extend(datasets(&visit)?);
    // Last of the models, as it does load: what it is used for is refused.
    inputs.push(doubling(&visit)?);
    for input in &inputs {
        give(&visit, &page, input).map_err(|error| format!("{}: {error}", input.name))?;
    }

    // Without a reload, as if nothing had been.
    page.press("Use the bundled model")?;
    page.press("Load sample dataset")?;
    page.wait_for_status(&["Ready"], LOADING)?;
    fill(
        &page,
        &[
            ("Max steps", "2"),
            ("Batch size", "1"),
            ("Sequence length", "64"),
        ],
    )?;
    page.wait_until_enabled("Start training", SOON)?;
    page.press("Start training")?;
    page.wait_for_status(&["Finished"], RUN)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// Gives the page one input; it answers or lets go in time, and takes little memory.
fn give(visit: &Visit, page: &Page, input: &Input) -> Outcome {
    for (_, name) in page.names(e2e::page::Role::Button)? {
        if name.starts_with("Dismiss the message in") {
            page.press(&name)?;
        }
    }
    let mut num_bytes = 0;
    for file in &input.files {
        num_bytes += std::fs::metadata(file)?.len();
    }
    visit.browser.forget_peaks()?;
    let before = visit.browser.peak_page_bytes()?;
    let since = Instant::now();
    let files: Vec<&Path> = input.files.iter().map(PathBuf::as_path).collect();
    page.choose_files(input.field, &files)?;
    let is_told = is_over(page, ANSWER + SLACK);
    if !is_told {
        page.press(match input.field {
            "Model files" => "Cancel loading the model",
            "Adapter files" => "Cancel loading the adapter",
            _ => "Cancel reading the data",
        })?;
        if !is_over(page, ANSWER + SLACK) {
            return Err(format!("neither told nor cancelled: {}", page.status()?).into());
        }
    }
    let taken = visit.browser.peak_page_bytes()?.saturating_sub(before);
    println!(
        "{}: {num_bytes} bytes, {} after {:.1} s, {:.0} MB; {}",
        input.name,
        if is_told { "told" } else { "cancelled" },
        since.elapsed().as_secs_f64(),
        taken as f64 / 1e6,
        page.status()?
    );
    let most = num_bytes
        .saturating_mul(4)
        .saturating_add(FREE_BYTES + BROWSER_BYTES);
    if taken > most {
        return Err(format!("{taken} bytes, more than {most}").into());
    }
    Ok(())
}

/// Whether the page comes to rest in time.
fn is_over(page: &Page, patience: Duration) -> bool {
    let busy = ["Loading model", "Reading data", "Training", "Evaluating"];
    // A status may be shown a moment after the files were given.
    std::thread::sleep(Duration::from_millis(300));
    let over = page.wait("rest", patience, || {
        let status = page.status()?;
        Ok(if busy.iter().any(|busy| status.starts_with(busy)) {
            Seen::NotYet(status)
        } else {
            Seen::Yes(())
        })
    });
    over.is_ok()
}
