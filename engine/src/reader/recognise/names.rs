//! The names that people give to the fields of rows: small letters and digits, earlier ones win.

pub(super) const MESSAGES: &[&str] = &[
    "messages",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "chat",
    "turns",
    "chatmessages",
];
/// Gemini's list of messages.
pub(super) const CONTENTS: &[&str] = &["contents"];
/// ChatGPT's tree of messages.
pub(super) const TREE: &[&str] = &["mapping"];
pub(super) const CHOSEN: &[&str] = &[
    "chosen",
    "chosenresponse",
    "chosenmessages",
    "chosenanswer",
    "chosenoutput",
    "chosencompletion",
    "responsechosen",
    "answerchosen",
    "preferred",
    "preferredoutput",
    "preferredresponse",
    "preferredanswer",
    "preferredcompletion",
    "accepted",
    "acceptedresponse",
    "acceptedanswer",
    "better",
    "betterresponse",
    "betteranswer",
    "goodresponse",
    "goodanswer",
    "positiveresponse",
    "responsej",
];
pub(super) const REJECTED: &[&str] = &[
    "rejected",
    "rejectedresponse",
    "rejectedmessages",
    "rejectedanswer",
    "rejectedoutput",
    "rejectedcompletion",
    "responserejected",
    "answerrejected",
    "dispreferred",
    "dispreferredoutput",
    "dispreferredresponse",
    "nonpreferred",
    "nonpreferredoutput",
    "nonpreferredresponse",
    "nonpreferredanswer",
    "nonpreferredcompletion",
    "rejectedtext",
    "worse",
    "worseresponse",
    "worseanswer",
    "badresponse",
    "badanswer",
    "negativeresponse",
    "responsek",
];
pub(super) const SYSTEM: &[&str] = &[
    "system",
    "systemprompt",
    "systemmessage",
    "systeminstruction",
    "systeminstructions",
    "systemtext",
    "sysprompt",
    "systemrole",
];
pub(super) const HISTORY: &[&str] = &[
    "history",
    "chathistory",
    "conversationhistory",
    "dialoghistory",
    "dialoguehistory",
    "previousturns",
    "pastturns",
];
/// Names of what is asked; earlier ones win, so that `input` and `context` next to an instruction are its input.
pub(super) const PROMPT: &[&str] = &[
    "prompt",
    "instruction",
    "question",
    "query",
    "user",
    "human",
    "request",
    "input",
    "inputs",
    "textinput",
    "source",
    "context",
];
pub(super) const INPUT: &[&str] = &["input", "context", "passage", "options", "choices"];
pub(super) const COMPLETION: &[&str] = &[
    "completion",
    "output",
    "response",
    "answer",
    "reply",
    "assistant",
    "canonicalsolution",
    "solution",
    "target",
    "targets",
    "outputs",
    "answers",
    "ideal",
    "bestanswer",
    "correctanswer",
    "expectedoutput",
    "expectedanswer",
    "referenceanswer",
    "groundtruth",
];
/// Whether an answer is a good one.
pub(super) const VERDICT: &[&str] = &[
    "label",
    "ktotag",
    "isgood",
    "isdesirable",
    "desirable",
    "ischosen",
    "ispreferred",
    "isaccepted",
    "iscorrect",
    "thumbsup",
    "liked",
];
/// What a summary is of, and its names.
pub(super) const SUMMARISED: &[&str] = &[
    "document", "article", "dialogue", "text", "content", "body", "source",
];
pub(super) const SUMMARY: &[&str] = &["summary", "highlights", "abstract", "tldr"];
pub(super) const LABELLED: &[&str] = &[
    "text",
    "sentence",
    "review",
    "comment",
    "tweet",
    "message",
    "content",
    "body",
    "utterance",
    "input",
];
pub(super) const LABEL: &[&str] = &[
    "labeltext",
    "labelname",
    "label",
    "class",
    "category",
    "sentiment",
    "intent",
    "emotion",
    "target",
    "topic",
];
pub(super) const TEXT: &[&str] = &[
    "text", "content", "document", "body", "article", "story", "passage", "code", "sentence",
    "abstract", "poem", "lyrics", "quote",
];
