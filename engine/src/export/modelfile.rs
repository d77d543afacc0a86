//! A Modelfile for Ollama: base, adapter, the chat template in Go's template language, and where answers stop.
//!
//! Jinja cannot be translated; what the template writes around each message can be found, by rendering short
//! conversations whose contents are marks, and written as Go's. A template that does not write messages one after the
//! other has no such parts: the Modelfile then says so, and Ollama takes the template of the base.
//!
//! What is found for ChatML, and what is written for it:
//!
//! ```text
//! start       "<|im_start|>system\nYou are ...<|im_end|>\n"    where the template adds a system message of its own
//! user        "<|im_start|>user\n"       and "<|im_end|>\n"
//! assistant   "<|im_start|>assistant\n"  and "<|im_end|>\n"
//!
//! {{- range $index, $message := .Messages }}
//! {{- if eq .Role "user" }}{{- "<|im_start|>user\n" }}{{ .Content }}{{- "<|im_end|>\n" }}
//! ...
//! {{- end }}{{- "<|im_start|>assistant\n" }}
//! ```
//!
//! What was found is used only if it renders whole conversations exactly as the template does.

use protocol::Message;

use crate::{
    template::{ChatTemplate, TemplateError},
    tokenizer::Tokenizer,
};

/// What a template writes around the contents of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    /// Before the first message where that is no system message.
    start: String,
    /// What comes before and after a system message, which comes first; `None` if the template takes no system message.
    system: Option<[String; 2]>,
    /// What comes before and after a user's message.
    user: [String; 2],
    /// What comes before and after an answer; the former also opens the next answer.
    assistant: [String; 2],
}

/// Marks of contents: private characters, which no template writes. The text around them is what the template adds.
const MARKS: [&str; 3] = ["\u{10FFFA}", "\u{10FFFB}", "\u{10FFFC}"];

impl Frame {
    /// Finds the frame of a template; `None` if it does not write messages one after the other.
    ///
    /// Four renderings are compared. With `A B C` for marks:
    ///
    /// ```text
    /// asked     start user[0] A user[1]
    /// opened    start user[0] A user[1] assistant[0]
    /// answered  start user[0] A user[1] assistant[0] B assistant[1]
    /// again     start user[0] A user[1] assistant[0] B assistant[1] user[0] C user[1] assistant[0]
    /// ```
    ///
    /// `again` separates `start` from `user[0]`, which stand together in the others.
    fn of(template: &ChatTemplate) -> Option<Self> {
        let [one, two, three] = MARKS;
        let render = |messages: &[(&str, &str)], opens_answer| {
            let messages: Vec<Message> = messages
                .iter()
                .map(|(role, content)| Message::new(*role, *content))
                .collect();
            template.render(&messages, &[], opens_answer).ok()
        };
        let asked = render(&[("user", one)], false)?;
        let opened = render(&[("user", one)], true)?;
        let answered = render(&[("user", one), ("assistant", two)], false)?;
        let again = [("user", one), ("assistant", two), ("user", three)];
        let again = render(&again, true)?;
        let (before, after_user) = asked.split_once(one)?;
        let assistant_prefix = opened.split_once(one)?.1.strip_prefix(after_user)?;
        let after_assistant = answered.split_once(two)?.1;
        let between = again.split_once(two)?.1.split_once(three)?.0;
        let user_prefix = between.strip_prefix(after_assistant)?;
        let system = render(&[("system", one), ("user", two)], false);
        let system = system.as_deref().and_then(|text| {
            let (before, rest) = text.split_once(one)?;
            let after = rest.split_once(two)?.0.strip_suffix(user_prefix)?;
            Some([before, after].map(str::to_owned))
        });
        let frame = Self {
            start: before.strip_suffix(user_prefix)?.to_owned(),
            system,
            user: [user_prefix, after_user].map(str::to_owned),
            assistant: [assistant_prefix, after_assistant].map(str::to_owned),
        };
        frame.is_right(template).unwrap_or(false).then_some(frame)
    }

    /// Renders the conversation as Ollama will write it, with the next answer opened.
    fn render(&self, messages: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (index, (role, content)) in messages.iter().enumerate() {
            if index == 0 && *role != "system" {
                text.push_str(&self.start);
            }
            let around = match (*role, &self.system) {
                ("system", Some(around)) => around,
                ("user", _) => &self.user,
                _ => &self.assistant,
            };
            text.extend([&around[0], *content, &around[1]]);
        }
        text + &self.assistant[0]
    }

    /// Whether whole conversations come out as the template writes them: with one question and several, and with a
    /// system message where the frame has one. An answer of several lines is among them, since some templates trim.
    ///
    /// # Errors
    /// Those of the template.
    fn is_right(&self, template: &ChatTemplate) -> Result<bool, TemplateError> {
        let turns = [
            ("user", "What is 2 + 2?"),
            ("assistant", "4"),
            ("user", "And 3?"),
            ("assistant", "6\n\nNo: 5."),
            ("user", "Thanks"),
        ];
        let mut conversations = vec![turns.to_vec(), turns[..1].to_vec()];
        if self.system.is_some() {
            let with = |turns: &[_]| [&[("system", "Be brief.")], turns].concat();
            conversations.extend([with(&turns), with(&turns[..1])]);
        }
        for conversation in conversations {
            let messages = conversation
                .iter()
                .map(|(role, content)| Message::new(*role, *content));
            let messages: Vec<Message> = messages.collect();
            if template.render(&messages, &[], true)? != self.render(&conversation) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the frame in Go's template language (`text/template`); `bos` is left out at the start, since Ollama
    /// writes it itself.
    fn go(&self, bos: Option<&str>) -> String {
        let without_bos = |text: &str| {
            let bos = bos.unwrap_or_default();
            literal(text.strip_prefix(bos).unwrap_or(text))
        };
        let around = |[before, after]: &[String; 2]| {
            format!("{}{{{{ .Content }}}}{}", literal(before), literal(after))
        };
        let mut go = String::from("{{- range $index, $message := .Messages }}\n");
        let start = without_bos(&self.start);
        if !start.is_empty() {
            go += &format!(
                "{{{{- if and (eq $index 0) (ne .Role \"system\") }}}}{start}{{{{- end }}}}\n"
            );
        }
        go += &format!("{{{{- if eq .Role \"user\" }}}}{}\n", around(&self.user));
        go += &format!(
            "{{{{- else if eq .Role \"assistant\" }}}}{}\n",
            around(&self.assistant)
        );
        if let Some([before, after]) = &self.system {
            let (before, after) = (without_bos(before), literal(after));
            go += &format!(
                "{{{{- else if eq .Role \"system\" }}}}{before}{{{{ .Content }}}}{after}\n"
            );
        }
        go += &format!(
            "{{{{- end }}}}\n{{{{- end }}}}{}",
            literal(&self.assistant[0])
        );
        go
    }
}

/// Writes text as an action that prints it, so that neither Go's trimming nor the Modelfile's reader changes it.
///
/// ```text
/// <|im_end|>↵   ->   {{- "<|im_end|>\n" }}
/// ```
///
/// Nothing becomes nothing.
fn literal(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // A JSON string is one of Go's, but for these, which no template's mark has.
    let quoted = serde_json::Value::from(text).to_string();
    format!("{{{{- {quoted} }}}}")
}

/// Returns the text of the token that a runtime puts before every prompt, if the tokenizer adds one, and the texts of
/// the tokens that end a turn.
pub fn bos_and_stops(tokenizer: &Tokenizer) -> (Option<String>, Vec<String>) {
    let stops = tokenizer.end_of_turn_ids().iter();
    let stops = stops.map(|&id| tokenizer.special_text(Some(id))).collect();
    // Where the tokenizer adds none, neither does a GGUF file's, and the template is all there is.
    let is_added = |id: &u32| tokenizer.prefix_ids().contains(id);
    let bos = tokenizer.special_ids().bos.filter(is_added);
    (bos.map(|_| tokenizer.special_text(bos)), stops)
}

/// Writes the Modelfile of the merged model in the file `model`; `stops` are the texts of the tokens that end a turn,
/// and `bos` that of the token before every prompt. Ollama builds models from whole files alone: since 0.34.1 it takes
/// no `ADAPTER`.
///
/// A template that cannot be written in Go leaves a comment instead; Ollama then takes the template of the base.
pub fn of_model(
    model: &str,
    template: Option<&ChatTemplate>,
    bos: Option<&str>,
    stops: &[String],
) -> String {
    let mut file = format!("# ollama create tuned -f Modelfile\nFROM ./{model}\n");
    match template.map(Frame::of) {
        Some(Some(frame)) => {
            if frame.system.is_none() {
                file += "# System messages are left out: the model's chat template has no separate place for them.\n";
            }
            file += &format!("TEMPLATE \"\"\"{}\"\"\"\n", frame.go(bos));
        }
        Some(None) => {
            file += "# This model's chat template cannot be written in Ollama's language; the base model's own is used.\n";
        }
        None => {}
    }
    for stop in stops {
        let quoted = serde_json::Value::from(stop.as_str());
        file += &format!("PARAMETER stop {quoted}\n");
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}\
        {% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    const LLAMA_3: &str = "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + \
        '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}\
        {% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
    /// Writes the system message into the user's, as Mistral's does.
    const INSIDE: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
        {{ '[INST] ' }}{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] + '\n\n' }}\
        {% endif %}{{ message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
        {{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}";

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::with_tokens(source, vec![("bos_token", "<s>".to_owned())]).unwrap()
    }

    #[test]
    fn what_stands_around_messages_is_found() {
        let frame = Frame::of(&template(CHATML)).unwrap();
        assert!(frame.start.starts_with("<|im_start|>system\nYou are"));
        assert_eq!(frame.user, ["<|im_start|>user\n", "<|im_end|>\n"]);
        assert_eq!(frame.assistant, ["<|im_start|>assistant\n", "<|im_end|>\n"]);
        assert_eq!(
            frame.system.unwrap(),
            ["<|im_start|>system\n", "<|im_end|>\n"]
        );
        let frame = Frame::of(&template(LLAMA_3)).unwrap();
        assert_eq!(frame.start, "<s>");
        assert_eq!(
            frame.system.unwrap()[0],
            "<s><|start_header_id|>system<|end_header_id|>\n\n"
        );
    }

    #[test]
    fn a_system_message_inside_anothers_is_not_taken_for_one_of_its_own() {
        let frame = Frame::of(&template(INSIDE));
        assert!(frame.is_none_or(|frame| frame.system.is_none()));
    }

    #[test]
    fn the_modelfile_has_model_template_and_stops() {
        let file = of_model(
            "base.gguf",
            Some(&template(LLAMA_3)),
            Some("<s>"),
            &["<|eot_id|>".to_owned()],
        );
        assert!(file.contains("\nFROM ./base.gguf\n") && !file.contains("ADAPTER"));
        assert!(file.contains("\nPARAMETER stop \"<|eot_id|>\"\n"));
        let go = file
            .split("TEMPLATE \"\"\"")
            .nth(1)
            .unwrap()
            .split("\"\"\"")
            .next()
            .unwrap();
        assert!(!go.contains("<s>"), "Ollama writes it: {go}");
        assert!(
            go.ends_with("{{- \"<|start_header_id|>assistant<|end_header_id|>\\n\\n\" }}"),
            "{go}"
        );
        let none = of_model(
            "base.gguf",
            Some(&template("{{ messages | length }}")),
            None,
            &[],
        );
        assert!(!none.contains("TEMPLATE") && none.contains("cannot be written in Ollama"));
    }
}
