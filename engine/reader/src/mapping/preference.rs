//! Two answers to the same prompt, of which the better one is learned.

use formats::row::{ASSISTANT, Example, USER};
use protocol::{Message, RowShape};
use serde_json::Value;

use super::{
    Reading, RowFault,
    answer::{Said, said},
    scalar, split_system, with_system,
};
use crate::{cell, conversation::transcript, path::get};

impl Reading<'_> {
    /// The better answer, to the prompt where there is one. `asked` is the path of the prompt, and of what belongs to it.
    pub(super) fn preferred(
        &mut self,
        before: Vec<Message>,
        asked: Option<(&str, Option<&str>)>,
        chosen: &str,
    ) -> Result<Example, RowFault> {
        let answered = self.answer(chosen)?;
        let prompt = match asked {
            Some((path, input)) => Some(self.asked(path, input, chosen)?),
            None => None,
        };
        let (system, before) = split_system(before);
        let all = match (prompt, answered) {
            (Some(Said::Text(prompt)), Said::Text(completion))
                if before.is_empty() && system.is_none() =>
            {
                return Ok(Example::Pair { prompt, completion });
            }
            (None, Said::Text(completion)) => match transcript(&completion) {
                Some(all) => all,
                None if before.is_empty() => return Ok(Example::Text(completion)),
                None => [before, vec![Message::new(ASSISTANT, completion)]].concat(),
            },
            (prompt, Said::Text(completion)) => {
                let answer = vec![Message::new(ASSISTANT, completion)];
                [before, prompt.map(turns).unwrap_or_default(), answer].concat()
            }
            // The prompt is repeated in front of whole conversations; where it is not, it belongs there.
            (Some(prompt), Said::Messages(all)) if is_answer(&all) => {
                [before, turns(prompt), all].concat()
            }
            (_, Said::Messages(all)) => [before, all].concat(),
        };
        let all = with_system(system, all);
        // Only the last turn differs between the two.
        let last = all.len().saturating_sub(1);
        self.conversation(chosen, all, last, RowShape::Preference)
    }

    /// The turns that led to the better answer and the last turn of the other one, where the prompt and both answers are
    /// lists of texts in a table's cells, as in the Arena's comparisons: `["What is it?"]`.
    pub(super) fn compared_turns(
        &self,
        [prompt, input]: [Option<&str>; 2],
        chosen: &str,
        rejected: &str,
    ) -> Option<(Vec<Message>, String)> {
        let texts = |path: &str| {
            let cell = get(self.fields, path).filter(|value| value.is_string())?;
            let opened = cell::opened(cell);
            let text = |item: &Value| match item {
                Value::Null => Some(String::new()),
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
            opened
                .as_array()?
                .iter()
                .map(text)
                .collect::<Option<Vec<_>>>()
        };
        let (asked, answered) = (texts(prompt?)?, texts(chosen)?);
        let last = texts(rejected)?.pop()?;
        if input.is_some() || asked.len() != answered.len() {
            return None;
        }
        let turns = asked.into_iter().zip(answered);
        let all = turns.flat_map(|(asked, answered)| {
            [Message::new(USER, asked), Message::new(ASSISTANT, answered)]
        });
        Some((all.collect(), last))
    }

    /// The example of turns that end with the better answer.
    pub(super) fn turns_preferred(
        &mut self,
        before: Vec<Message>,
        turns: Vec<Message>,
        chosen: &str,
    ) -> Result<Example, RowFault> {
        if let ([asked, answered], true) = (turns.as_slice(), before.is_empty()) {
            return Ok(Example::Pair {
                prompt: asked.content.clone(),
                completion: answered.content.clone(),
            });
        }
        let all = [before, turns].concat();
        let last = all.len().saturating_sub(1);
        self.conversation(chosen, all, last, RowShape::Preference)
    }

    /// The text of the answer that is not learned.
    pub(super) fn rejected(&self, path: &str) -> Result<String, RowFault> {
        let answer = self.required(path)?;
        let messages = said(path, answer).ok().flatten();
        Ok(match messages.and_then(|all| all.into_iter().next_back()) {
            Some(last) => last.content,
            None => scalar(answer).unwrap_or_else(|| answer.to_string()),
        })
    }
}

fn is_answer(messages: &[Message]) -> bool {
    messages
        .first()
        .is_some_and(|first| first.role == ASSISTANT)
}

fn turns(prompt: Said) -> Vec<Message> {
    match prompt {
        Said::Text(prompt) => vec![Message::new(USER, prompt)],
        Said::Messages(all) => all,
    }
}
