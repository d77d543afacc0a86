//! HF chat templates, rendered under limits.
//!
//! ```text
//! [{user "Hi"}, {assistant "Hello"}]  --ChatML-->   <|im_start|>user
//!                                                   Hi<|im_end|>
//!                                                   <|im_start|>assistant
//!                                                   Hello<|im_end|>
//! ```
//!
//! Templates are Jinja written for Python. They are rendered by minijinja set up as `transformers` sets up Jinja2
//! (`transformers.utils.chat_template_utils`: `trim_blocks`, `lstrip_blocks`, Python's string methods, its own
//! `tojson`). The text has to be the same to the byte: a model that was trained on another line break answers worse.
//!
//! A template is part of an untrusted file, and minijinja in a worker shares its memory and stack with the engine. So
//! there are bounds on everything that a template can make grow:
//!
//! | bound | where | against |
//! |---|---|---|
//! | 256 KB of source | [`ChatTemplate::with_tokens`] | long sources |
//! | depth of the source | `shape` | recursion in parser and compiler, which overflows the stack |
//! | [`MAX_FUEL`] steps | minijinja | long loops and texts |
//! | weight and depth of a value | `code`, `bounds` | lists that double for one step each |
//! | recursion of macros | minijinja | the stack |
//! | [`MAX_OUTPUT_BYTES`] | [`ChatTemplate::render`] | prompts that no model could read |
//!
//! ```text
//! source -> without_generation_marks -> shape::check -> Code (parsed, rebuilt with weighing filters) -> render
//! ```

mod bounds;
mod code;
mod conversation;
mod function;
mod shape;
mod writer;

use std::sync::Arc;

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context, machinery,
    syntax::SyntaxConfig,
};
use protocol::{Failure, FailureKind, Message};

use crate::{tokenizer::Tokenizer, weights::checkpoint::ModelFiles};
use bounds::TooLarge;
use code::Code;
use function::Raised;

pub use bounds::{MAX_VALUE_BYTES, MAX_VALUE_DEPTH};
pub use shape::{MAX_BLOCKS, MAX_BRACKETS, MAX_EXPRESSION_DEPTH};

/// Steps of the interpreter that one rendering may take; bytes of text and items of lists are paid for in steps, too.
pub const MAX_FUEL: u64 = 100_000;
/// Bytes that one rendering may write.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Bytes of a template's source; the longest in use have 20 KB. Checked before the source is scanned for anything.
const MAX_SOURCE_BYTES: usize = 1 << 18;
/// How deep macros may call each other, four for each call and one for each loop in them. A call takes some 4 KB of the
/// stack.
const MAX_RECURSION: usize = 200;
/// The name of the only template of an environment.
const NAME: &str = "chat_template";

/// A template that cannot be compiled or rendered. Lines count from 1 and are those of the template's source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The source is longer than any template in use, by far.
    #[error("the chat template has {num_bytes} bytes, more than the {MAX_SOURCE_BYTES} allowed")]
    SourceTooLong { num_bytes: usize },
    /// The source is too deep for the parser's recursion; `what` names what there is too much of.
    #[error(
        "the chat template has {what} (its line {line}): {count}, and at most {limit} are read"
    )]
    TooDeep {
        line: usize,
        what: &'static str,
        count: usize,
        limit: usize,
    },
    /// The source is no Jinja, or uses a part of it that minijinja lacks.
    #[error("the chat template cannot be compiled{}: {what}", in_line(.line))]
    Syntax { line: Option<usize>, what: String },
    /// The template called `raise_exception`, which is how templates refuse a conversation.
    #[error("the chat template rejects this conversation: {0}")]
    Refused(String),
    /// The rendering took more steps than it may.
    #[error("the chat template takes more than {MAX_FUEL} steps")]
    OutOfFuel,
    /// The conversation came out longer than a prompt may be.
    #[error("the chat template writes more than {MAX_OUTPUT_BYTES} bytes")]
    OutputTooLong,
    /// A value of the template went beyond the bounds of its weight or depth.
    #[error(
        "the chat template makes a value of more than {MAX_VALUE_BYTES} bytes or {MAX_VALUE_DEPTH} levels{}",
        in_line(.line)
    )]
    ValueTooLarge { line: Option<usize> },
    /// Anything else that goes wrong while rendering, such as a method that does not exist.
    #[error("the chat template cannot be rendered{}: {what}", in_line(.line))]
    Render { line: Option<usize>, what: String },
}

/// The place for a message: ` (its line 7)`, or nothing.
fn in_line(line: &Option<usize>) -> String {
    line.map(|line| format!(" (its line {line})"))
        .unwrap_or_default()
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        let remedy = match &error {
            TemplateError::Refused(_) => "Change the conversation to fit the template.",
            TemplateError::OutOfFuel
            | TemplateError::OutputTooLong
            | TemplateError::ValueTooLarge { .. } => "Shorten the conversation.",
            _ => "Use a model file with a working chat template, or one without any.",
        };
        Self::new(FailureKind::Template, error.to_string()).remedy(remedy)
    }
}

/// A compiled chat template. Clones share the compiled code, so they cost little.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// Filters, functions and limits.
    environment: Arc<Environment<'static>>,
    code: Code,
    /// `bos_token`, `eos_token` and so on, as far as the tokenizer has them, each with its text in the vocabulary.
    /// Templates test for some of them (`bos_token is defined`), so one that the tokenizer lacks is not there at all.
    tokens: Vec<(&'static str, String)>,
    /// The source as the model's file has it, before marks were replaced.
    source: String,
}

/// Makes the tokenizer of an opened model, and its template where it has one. A template of the model's own files comes
/// before one in the tokenizer's settings.
///
/// # Errors
/// What is wrong with either.
pub fn of_model(files: &ModelFiles) -> Result<(Tokenizer, Option<ChatTemplate>), Failure> {
    let config = &files.config;
    let tokenizer = Tokenizer::from_source(&files.tokenizer)?
        .with_model_ids(config.bos_token_id, &config.eos_token_ids)
        .with_num_embeddings(config.vocab_size);
    let source = files.chat_template.as_deref().or(tokenizer.chat_template());
    let template = source.map(|source| ChatTemplate::new(source, &tokenizer));
    let template = template.transpose()?;
    Ok((tokenizer, template))
}

impl ChatTemplate {
    /// Compiles a template, which sees the tokenizer's special tokens by their HF names.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`], [`TemplateError::TooDeep`] or [`TemplateError::SourceTooLong`].
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let special = tokenizer.special_ids();
        let tokens = [
            ("bos_token", special.bos),
            ("eos_token", special.eos),
            ("unk_token", special.unk),
            ("pad_token", special.pad),
        ];
        let tokens = tokens
            .into_iter()
            .filter(|(_, id)| id.is_some())
            .map(|(name, id)| (name, tokenizer.special_text(id)))
            .collect();
        Self::with_tokens(source, tokens)
    }

    /// As [`Self::new`], with the special tokens spelled out: pairs of a variable's name and its text.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tokens(
        source: &str,
        tokens: Vec<(&'static str, String)>,
    ) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(TemplateError::SourceTooLong {
                num_bytes: source.len(),
            });
        }
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(render_error)?;
        let compiled = without_generation_marks(source);
        shape::check(&compiled, &syntax)?;
        let code = Code::new(NAME, compiled, syntax).map_err(|error| TemplateError::Syntax {
            line: error.line(),
            what: text(&error),
        })?;
        Ok(Self {
            environment: Arc::new(environment()),
            code,
            tokens,
            source: source.to_owned(),
        })
    }

    /// The template as it came, for the exported files.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation; `add_generation_prompt` opens the assistant's next turn. `tools` are JSON schemas, each
    /// as text.
    ///
    /// A template sees `messages`, `tools` (none if there are none), `documents` (none), `add_generation_prompt`, and
    /// the special tokens by their HF names.
    ///
    /// # Errors
    /// Every variant of [`TemplateError`] but those of compiling.
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[String],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let tokens = self
            .tokens
            .iter()
            .map(|(name, token)| (*name, token.as_str()));
        let tokens = Value::from_pairs(tokens);
        let conversation: Value = messages.iter().map(conversation::message).collect();
        let tools = match tools {
            [] => Value::from(()),
            tools => tools.iter().map(|tool| conversation::json(tool)).collect(),
        };
        let context = context! {
            messages => conversation,
            tools,
            documents => (),
            add_generation_prompt,
            ..tokens
        };
        let code = self.code.compiled();
        let mut text = String::new();
        let mut output = machinery::make_string_output(&mut text);
        machinery::eval(
            &self.environment,
            &code.instructions,
            context,
            &code.blocks,
            &mut output,
            // Prompts are plain text: escaping `<` would break control tokens.
            AutoEscape::None,
        )
        .map_err(render_error)?;
        // Fuel bounds what was written to a few times this.
        match text.len() > MAX_OUTPUT_BYTES {
            true => Err(TemplateError::OutputTooLong),
            false => Ok(text),
        }
    }
}

/// The environment that `transformers` gives its templates: undefined variables print nothing and are false, and
/// nothing is escaped.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(function::method);
    environment.set_formatter(function::format);
    environment.set_fuel(Some(MAX_FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    bounds::install(&mut environment);
    environment.add_filter("tojson", function::tojson);
    environment.add_filter("trim", function::trim);
    environment.add_function("raise_exception", function::raise_exception);
    environment.add_function("strftime_now", function::strftime_now);
    environment
}

/// Sorts minijinja's errors. Our own refusals are recognized by the type of an error's source, never by its text.
fn render_error(error: minijinja::Error) -> TemplateError {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        if cause.is::<TooLarge>() {
            return TemplateError::ValueTooLarge { line: error.line() };
        }
        source = cause.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::OutOfFuel,
        _ => TemplateError::Render {
            line: error.line(),
            what: text(&error),
        },
    }
}

/// What minijinja says, without the place, which is told separately.
fn text(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Replaces HF's `{% generation %}` and `{% endgeneration %}`, which only mark what the assistant says and which Jinja
/// does not know, by a block that changes nothing. Spans are found without them (`data::turn`).
///
/// ```text
/// {%- generation %}{{ message.content }}{%- endgeneration %}
/// {%- if true %}{{ message.content }}{%- endif %}
/// ```
///
/// Signs that trim (`-`, `+`) stay, and no line is added, so that places in messages are those of the source.
fn without_generation_marks(source: &str) -> String {
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        output.push_str(before);
        let name = tag
            .trim_start_matches(['{', '%', '-', '+'])
            .trim_end_matches(['}', '%', '-', '+'])
            .trim();
        match name {
            "generation" => output.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => output.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => output.push_str(tag),
        }
        rest = after;
    }
    output.push_str(rest);
    output
}
