//! Models that are small, but whose tokenizer or template asks for much.

use serde_json::{Value, json};

use super::{Answer, Input, Kind, Says, Step, kind};
use crate::visit::{TINY, fixture};

const LONGER: &str = "make a text more than 8 times as long";
const LARGE_PART: &str = "the part \"normalizer\" of tokenizer.json has more than 1048576 bytes";
const TOO_MANY: &str = "it has more than 32 normalizers";
const AROUND: &str = "puts more than 64 tokens around a text";
const CHAIN: &str = "an expression of too many steps (its line 1)";
const BRACKETS: &str = "too many brackets inside each other (its line 1)";
const BLOCKS: &str = "too many blocks inside each other, or `elif` after each other (its line 1)";
const VALUE: &str = "the chat template makes a value of more than 2097152 bytes";
const STEPS: &str = "the chat template takes more than 100000 steps";
const SYNTAX: &str = "the chat template cannot be compiled (its line 1)";

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        kind(
            "normalizers that lengthen a text, and lengthen that",
            vec![
                tokenizer("twelve replacements", LONGER, "normalizer", || {
                    sequence("normalizers", vec![replace("e", "eeeeeeee"); 12])
                }),
                tokenizer("replacements in turn, nested", LONGER, "normalizer", || {
                    (0..20).fold(replace("a", "bbb"), |inner, _| {
                        let steps = vec![inner, replace("b", "aaa"), replace("a", "bbb")];
                        sequence("normalizers", steps)
                    })
                }),
                tokenizer(
                    "a replacement of 1 MB",
                    "1000000 bytes",
                    "normalizer",
                    || replace("e", &"e".repeat(1_000_000)),
                ),
                tokenizer("an empty pattern", "an empty pattern", "normalizer", || {
                    replace("", "eeee")
                }),
                tokenizer("decoders that replace", LONGER, "decoder", || {
                    sequence("decoders", vec![replace("e", "eeeeeeee"); 12])
                }),
            ],
        ),
        kind(
            "components without end",
            vec![
                tokenizer("30,000 prepended", LARGE_PART, "normalizer", || {
                    let prepend = json!({ "type": "Prepend", "prepend": "aaaa" });
                    sequence("normalizers", vec![prepend; 30_000])
                }),
                tokenizer("1,000 prepended", TOO_MANY, "normalizer", || {
                    let prepend = json!({ "type": "Prepend", "prepend": "aaaa" });
                    sequence("normalizers", vec![prepend; 1_000])
                }),
                tokenizer(
                    "few that prepend much",
                    "put more than 256 bytes before a text",
                    "normalizer",
                    || {
                        let prepend = json!({ "type": "Prepend", "prepend": "a".repeat(64) });
                        sequence("normalizers", vec![prepend; 5])
                    },
                ),
                tokenizer(
                    "10,000 spaces put before words",
                    "it has more than 32 pre-tokenizers",
                    "pre_tokenizer",
                    || {
                        let space = json!({ "type": "Metaspace", "replacement": "a", "prepend_scheme": "always" });
                        sequence("pretokenizers", vec![space; 10_000])
                    },
                ),
                tokenizer(
                    "a sequence in a sequence",
                    "nested more than 64 deep",
                    "normalizer",
                    || {
                        (0..100).fold(json!({ "type": "NFC" }), |inner, _| {
                            sequence("normalizers", vec![inner])
                        })
                    },
                ),
                tokenizer(
                    "a pattern that repeats repetitions",
                    "repeats a pattern more than 1000 times",
                    "pre_tokenizer",
                    || {
                        json!({
                            "type": "Split", "pattern": { "Regex": "((\\p{L}{99}){99}){99}" },
                            "behavior": "Isolated", "invert": false,
                        })
                    },
                ),
            ],
        ),
        kind(
            "post-processors that surround a text",
            vec![
                tokenizer("40,000 x 20,000 ids", AROUND, "post_processor", || {
                    surround(20_000, 40_000)
                }),
                tokenizer("8 x 8 ids, and one more", AROUND, "post_processor", || {
                    let one = surround(1, 1);
                    sequence("processors", vec![surround(8, 8), one])
                }),
                tokenizer("10,000 processors", AROUND, "post_processor", || {
                    let around =
                        json!({ "type": "RobertaProcessing", "sep": ["a", 1], "cls": ["a", 1] });
                    sequence("processors", vec![around; 10_000])
                }),
            ],
        ),
        kind(
            "templates that are too deep",
            vec![
                template("sums", CHAIN, || chain("{{ 1", "+1", " }}", 5_000)),
                template("attributes", CHAIN, || chain("{{ a", ".a", " }}", 5_000)),
                template("filters", CHAIN, || chain("{{ a", "|trim", " }}", 2_000)),
                template("elifs", BLOCKS, || {
                    chain("{% if a %}", "{% elif a %}", "{% endif %}", 2_000)
                }),
                template("negations", CHAIN, || chain("{{ ", "not ", "a }}", 3_000)),
                template("calls", CHAIN, || chain("{{ a", "()", " }}", 5_000)),
                template("parentheses", BRACKETS, || {
                    format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000))
                }),
                template("open brackets", BRACKETS, || chain("{{ ", "[", "", 10_000)),
                template("loops in loops", BLOCKS, || {
                    "{% for m in messages %}".repeat(400) + &"{% endfor %}".repeat(400)
                }),
            ],
        ),
        kind(
            "templates that cannot be compiled",
            vec![
                template("an open tag", SYNTAX, || {
                    "{% for m in messages %}{{ m.content }".to_owned()
                }),
                template("a loop without its end", SYNTAX, || {
                    "{% for m in messages %}{{ m.content }}".to_owned()
                }),
                template("an unknown tag", SYNTAX, || "{% loop forever %}".to_owned()),
                template(
                    "300 KB",
                    "has 300000 bytes, more than the 262144 allowed",
                    || "{{ messages[0]  }} ".repeat(15_000) + &" ".repeat(15_000),
                ),
                template("10 MB", "is too large: 10000000 bytes", || {
                    "{{ 1 }}   ".repeat(1_000_000)
                }),
            ],
        ),
    ]
}

/// They do load: what they are used for is refused.
pub(super) fn loaded() -> Kind {
    kind(
        "templates that double",
        vec![
            template("lists", VALUE, || {
                doubled("[1]", "{% set x = x + x %}", "x|length")
            }),
            template("texts", STEPS, || {
                doubled("'ab'", "{% set x = x ~ x %}", "x|length")
            }),
            template("joined texts", VALUE, || {
                doubled("'ab'", "{% set x = [x, x]|join %}", "x|length")
            }),
            template("replaced texts", STEPS, || {
                doubled("'aa'", "{% set x = x|replace('a', 'aa') %}", "x|length")
            }),
            template("a list of itself", VALUE, || {
                doubled("[1]", "{% set x = [x, x] %}", "x")
            }),
            template("macros in macros", STEPS, || {
                let macros = (1..30).map(|at| {
                        let inner = at - 1;
                        format!("{{% macro m{at}() %}}{{{{ m{inner}() }}}}{{{{ m{inner}() }}}}{{% endmacro %}}")
                    });
                format!(
                    "{{% macro m0() %}}ab{{% endmacro %}}{}{{{{ m29() }}}}",
                    macros.collect::<String>()
                )
            }),
            template("ranges in ranges", STEPS, || {
                "{% for i in range(10000) %}".repeat(5) + "a" + &"{% endfor %}".repeat(5)
            }),
        ],
    )
}

/// The tiny model with another part of its tokenizer.
fn tokenizer(
    name: &'static str,
    says: &'static str,
    part: &'static str,
    value: impl Fn() -> Value + 'static,
) -> Input {
    tiny(name, Says(says), "tokenizer.json", move || {
        let text = std::fs::read_to_string(fixture("model/tiny/tokenizer.json")?)?;
        let mut tokenizer: Value = serde_json::from_str(&text)?;
        tokenizer[part] = value();
        Ok(tokenizer.to_string())
    })
}

/// The tiny model with a chat template.
fn template(
    name: &'static str,
    says: &'static str,
    source: impl Fn() -> String + 'static,
) -> Input {
    tiny(
        name,
        Says(says),
        "chat_template.jinja",
        move || Ok(source()),
    )
}

/// The tiny model with one file of our own.
fn tiny(
    name: &'static str,
    answer: Answer,
    file: &'static str,
    contents: impl Fn() -> Result<String, Box<dyn std::error::Error>> + 'static,
) -> Input {
    Input::new(Step::Model, name, answer, move |visit| {
        let mut files = vec![visit.write(&format!("{name}/{file}"), contents()?)?];
        for own in TINY.into_iter().filter(|own| *own != file) {
            files.push(fixture(&format!("model/tiny/{own}"))?);
        }
        Ok(files)
    })
}

fn sequence(key: &str, steps: Vec<Value>) -> Value {
    json!({ "type": "Sequence", key: steps })
}

fn replace(from: &str, to: &str) -> Value {
    json!({ "type": "Replace", "pattern": { "String": from }, "content": to })
}

/// Puts a special token of so many ids before a text so many times.
fn surround(times: usize, ids: u32) -> Value {
    let part = json!({ "SpecialToken": { "id": "many", "type_id": 0 } });
    let ids: Vec<u32> = (0..ids).map(|at| at % 300).collect();
    json!({
        "type": "TemplateProcessing",
        "single": vec![part; times],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }],
        "special_tokens": { "many": { "id": "many", "ids": ids, "tokens": ["a"] } },
    })
}

fn chain(before: &str, repeated: &str, after: &str, count: usize) -> String {
    format!("{before}{}{after}", repeated.repeat(count))
}

/// Doubles a value forty times, shows something of it, and writes the conversation.
fn doubled(start: &str, step: &str, shown: &str) -> String {
    format!(
        "{{% set x = {start} %}}{}{{{{ {shown} }}}}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}",
        step.repeat(40)
    )
}
