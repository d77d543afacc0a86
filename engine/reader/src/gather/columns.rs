//! Finds the columns that make a row a message of a conversation.

use protocol::Mapping;
use serde_json::Value;

use super::written;
use crate::{
    mapping::RowFault,
    path::Fields,
    recognize::{plain, recognize},
};

const CONVERSATION: &[&str] = &[
    "conversationid",
    "conversation",
    "convid",
    "conv",
    "convoid",
    "dialogid",
    "dialogueid",
    "dialog",
    "dialogue",
    "threadid",
    "thread",
    "sessionid",
    "session",
    "chatid",
    "chat",
    "ticketid",
    "ticket",
    "ticketnumber",
    "caseid",
    "callid",
    "roomid",
    "chatsessionid",
    "conversationuuid",
    "conversationhash",
    "gesprächsid",
    "gespräch",
    "idconversation",
    "idconversación",
    "对话id",
    "会话id",
];
/// Names that show that a row is a message.
const ROLE: &[&str] = &[
    "role",
    "messagerole",
    "authorrole",
    "senderrole",
    "speakerrole",
    "rolle",
    "rol",
    "роль",
    "角色",
];
/// Names of columns that may also contain people; here the value must be a role.
const SPEAKER: &[&str] = &[
    "from",
    "speaker",
    "author",
    "sender",
    "sendertype",
    "authortype",
    "participant",
    "actor",
    "type",
    "who",
    "by",
];
const CONTENT: &[&str] = &[
    "content",
    "text",
    "message",
    "value",
    "body",
    "utterance",
    "messagetext",
    "messagecontent",
    "msg",
    "inhalt",
    "nachricht",
    "内容",
];
const ORDER: &[&str] = &[
    "turn",
    "turnid",
    "turnindex",
    "turnnumber",
    "turnno",
    "turnidx",
    "order",
    "index",
    "idx",
    "messageindex",
    "messageidx",
    "messageorder",
    "messagenumber",
    "messageno",
    "position",
    "pos",
    "seq",
    "sequence",
    "sequencenumber",
    "step",
    "timestamp",
    "ts",
    "createdat",
    "created",
    "createdtime",
    "sentat",
    "datetime",
    "time",
    "date",
    "messageid",
    "reihenfolge",
    "zeitstempel",
    "datum",
];
/// Names of the message that a row answers: rows form a tree.
const PARENT: &[&str] = &[
    "parentid",
    "parent",
    "replyto",
    "inreplyto",
    "parentmessageid",
];
/// Roles in addition to those in lists of messages.
const ROLES: &[(&str, &str)] = &[
    ("system", "system"),
    ("developer", "developer"),
    ("tool", "tool"),
    ("function", "tool"),
    ("observation", "tool"),
    ("user", "user"),
    ("human", "user"),
    ("customer", "user"),
    ("client", "user"),
    ("visitor", "user"),
    ("guest", "user"),
    ("caller", "user"),
    ("buyer", "user"),
    ("prompter", "user"),
    ("student", "user"),
    ("patient", "user"),
    ("kunde", "user"),
    ("nutzer", "user"),
    ("benutzer", "user"),
    ("assistant", "assistant"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bot", "assistant"),
    ("chatbot", "assistant"),
    ("model", "assistant"),
    ("ai", "assistant"),
    ("agent", "assistant"),
    ("support", "assistant"),
    ("operator", "assistant"),
    ("representative", "assistant"),
    ("advisor", "assistant"),
    ("staff", "assistant"),
    ("seller", "assistant"),
    ("teacher", "assistant"),
    ("tutor", "assistant"),
    ("doctor", "assistant"),
    ("assistent", "assistant"),
    ("berater", "assistant"),
];

/// The columns of a row with one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageColumns {
    pub conversation: String,
    pub role: String,
    pub content: String,
    pub order: Option<String>,
}

impl MessageColumns {
    /// The columns as a mapping.
    pub fn mapping(&self) -> Mapping {
        Mapping::MessageRows {
            conversation: self.conversation.clone(),
            role: self.role.clone(),
            content: self.content.clone(),
            order: self.order.clone(),
        }
    }
}

/// The role known to templates, for a role as people write it.
pub(super) fn known_role(written: &str) -> Option<&'static str> {
    let lower = written.trim().to_lowercase();
    let known = ROLES.iter().find(|(name, _)| *name == lower);
    known.map(|(_, role)| *role)
}

const TEMPLATE_ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// A number for one of the roles that templates know.
pub(super) fn number_of_role(role: &str) -> Option<u8> {
    let at = TEMPLATE_ROLES.iter().position(|known| *known == role)?;
    u8::try_from(at).ok()
}

pub(super) fn role_of_number(number: u8) -> Option<&'static str> {
    TEMPLATE_ROLES.get(usize::from(number)).copied()
}

/// The columns of a row that is one message, according to `mapping` or the names; `None` for any other row.
///
/// # Errors
/// A row that is one message but does not say which conversation it belongs to: alone, it would be learned as a text.
pub fn message_columns(
    fields: &Fields,
    mapping: &Mapping,
) -> Option<Result<MessageColumns, RowFault>> {
    match mapping {
        Mapping::MessageRows {
            conversation,
            role,
            content,
            order,
        } => Some(Ok(MessageColumns {
            conversation: conversation.clone(),
            role: role.clone(),
            content: content.clone(),
            order: order.clone(),
        })),
        Mapping::Automatic => by_names(fields),
        _ => None,
    }
}

fn by_names(fields: &Fields) -> Option<Result<MessageColumns, RowFault>> {
    let is_role = |value: &Value| {
        value
            .as_str()
            .is_some_and(|role| known_role(role).is_some())
    };
    // An empty cell in such a column means that the message has no conversation.
    let conversation = find(fields, CONVERSATION, |value| written(value).is_some()).or_else(|| {
        find(fields, CONVERSATION, |value| {
            !value.is_array() && !value.is_object()
        })
    });
    let is_told = conversation.is_some();
    let role = find(fields, ROLE, |value| {
        value.is_string() && (is_told || is_role(value))
    })
    .or_else(|| find(fields, SPEAKER, |value| is_told && is_role(value)))?;
    let is_content = |value: &Value| !matches!(value, Value::Bool(_) | Value::Number(_));
    let content = find(fields, CONTENT, is_content).filter(|content| *content != role)?;
    let is_more = |mapping: &Mapping| {
        let is_text = matches!(
            mapping,
            Mapping::Text { .. } | Mapping::Classification { .. }
        );
        // Parts of a message's content are not a conversation.
        let is_content =
            matches!(mapping, Mapping::Messages { messages, .. } if *messages == content);
        !is_text && !is_content
    };
    if recognize(fields).as_ref().is_some_and(is_more) {
        return None;
    }
    let Some(conversation) = conversation else {
        let parent = fields
            .iter()
            .find(|(name, _)| PARENT.contains(&plain(name).as_str()));
        let what = match parent {
            Some((name, _)) => {
                format!("the row is one message of a tree (`{name}`), not a conversation")
            }
            None => format!(
                "the row is one message (`{role}`, `{content}`), and no column says which conversation it belongs to"
            ),
        };
        let remedy = match parent {
            Some(_) => "Write each conversation as one row with a list of messages.",
            None => {
                "Add a column such as `conversation_id`, or choose one under \"Columns and format\"."
            }
        };
        return Some(Err(RowFault::new(role, what, remedy)));
    };
    let is_other = |name: &String| ![&conversation, &role, &content].contains(&name);
    let order = find(fields, ORDER, |value| super::order::number(value).is_some()).filter(is_other);
    Some(Ok(MessageColumns {
        conversation,
        role,
        content,
        order,
    }))
}

/// Whether a column of that name says which conversation a message belongs to, or which message it answers.
pub fn is_of_conversation(name: &str) -> bool {
    let name = plain(name);
    [CONVERSATION, PARENT]
        .iter()
        .any(|known| known.contains(&name.as_str()))
}

/// Whether columns of these names hold a message in each row, also one that says of no role who speaks.
pub fn is_message_row(names: &[String]) -> bool {
    let has = |known: &[&str]| {
        names
            .iter()
            .any(|name| known.contains(&plain(name).as_str()))
    };
    let speakers = ["from", "speaker", "author", "sender"];
    (has(ROLE) || has(&speakers) && (has(CONVERSATION) || has(&["value"]))) && has(CONTENT)
}

fn find(fields: &Fields, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<String> {
    let fitting = fields.iter().filter_map(|(name, value)| {
        let plain = plain(name);
        let rank = names.iter().position(|wanted| *wanted == plain)?;
        fits(value).then_some((rank, name))
    });
    let (_, name) = fitting.min_by_key(|(rank, _)| *rank)?;
    Some(name.clone())
}
