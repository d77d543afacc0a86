//! HF chat templates, rendered under limits.
//!
//! Templates are Jinja written for Python. They are rendered by minijinja set up as `transformers` sets up Jinja2
//! (`trim_blocks`, `lstrip_blocks`, Python's string methods, its own `tojson`). A template is part of an untrusted file,
//! so there are bounds on how deep its source is ([`shape`]), on the work ([`MAX_FUEL`]), on what its values may hold
//! ([`bounds`]) and on the length of the output.

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

/// Steps of the interpreter that one rendering may take.
pub const MAX_FUEL: u64 = 100_000;
/// Bytes that one rendering may write.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Bytes of a template's source; the longest in use have 20 KB.
const MAX_SOURCE_BYTES: usize = 1 << 18;
/// How deep macros may call each other, four for each call and one for each loop in them. A call takes some 4 KB of the
/// stack.
const MAX_RECURSION: usize = 200;
const NAME: &str = "chat_template";

/// A template that cannot be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the chat template has {num_bytes} bytes, more than the {MAX_SOURCE_BYTES} allowed")]
    SourceTooLong { num_bytes: usize },
    #[error(
        "the chat template has {what} (its line {line}): {count}, and at most {limit} are read"
    )]
    TooDeep {
        line: usize,
        what: &'static str,
        count: usize,
        limit: usize,
    },
    #[error("the chat template cannot be compiled{}: {what}", in_line(.line))]
    Syntax { line: Option<usize>, what: String },
    /// The template called `raise_exception`, which is how templates refuse a conversation.
    #[error("the chat template rejects this conversation: {0}")]
    Refused(String),
    #[error("the chat template takes more than {MAX_FUEL} steps")]
    OutOfFuel,
    #[error("the chat template writes more than {MAX_OUTPUT_BYTES} bytes")]
    OutputTooLong,
    #[error(
        "the chat template makes a value of more than {MAX_VALUE_BYTES} bytes or {MAX_VALUE_DEPTH} levels{}",
        in_line(.line)
    )]
    ValueTooLarge { line: Option<usize> },
    #[error("the chat template cannot be rendered{}: {what}", in_line(.line))]
    Render { line: Option<usize>, what: String },
}

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

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    code: Code,
    /// `bos_token`, `eos_token` and so on, as far as the tokenizer has them.
    tokens: Vec<(&'static str, String)>,
    source: String,
}

/// The tokenizer of an opened model, and its template where it has one.
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

    /// As [`Self::new`], with the special tokens spelled out.
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

    /// Renders a conversation; `add_generation_prompt` opens the assistant's next turn. `tools` are JSON.
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

/// The environment that `transformers` gives its templates.
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

fn text(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Replaces HF's `{% generation %}` and `{% endgeneration %}`, which only mark what the assistant says and which Jinja
/// does not know, by a block that changes nothing. Spans are found without them (`data::turn`).
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
