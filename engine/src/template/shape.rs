//! What a template's source may look like: how long a chain and how deep a nest the parser is given.
//!
//! minijinja's parser, its code generator and the release of what they built call themselves once for each operator of
//! a chain (`a + b + c`), each step into a value (`.a.b[0]|f`), each bracket, each block inside a block and each `elif`.
//! Only brackets and blocks are counted there, so a few kilobytes of chain overflow the stack, which in a worker ends
//! the engine. The source is therefore measured first, by minijinja's own lexer and without recursion.

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use super::TemplateError;

/// Operators and steps from the outside of an expression to its innermost value. The longest in use have some 60.
pub const MAX_EXPRESSION_DEPTH: usize = 400;
/// Brackets inside brackets. The templates in use have up to 8.
pub const MAX_BRACKETS: usize = 40;
/// Blocks inside blocks; an `elif` counts as one more block. The templates in use have up to 30.
pub const MAX_BLOCKS: usize = 100;

/// The blocks that always have an end of their own.
const OPENING: [&str; 7] = ["for", "if", "with", "autoescape", "filter", "macro", "call"];

/// One pair of brackets, or a whole tag: elements between commas, each a chain of operands.
#[derive(Default)]
struct Level {
    /// Of the present element: its operators so far, the depth of its present operand, and of its deepest earlier one.
    operators: usize,
    operand: usize,
    deepest: usize,
    /// Depth of the deepest element before it.
    elements: usize,
    /// What the levels around it had when it began.
    outside: usize,
}

impl Level {
    fn depth(&self) -> usize {
        let element = self.operators + self.operand.max(self.deepest);
        element.max(self.elements)
    }

    fn operator(&mut self) {
        self.operators += 1;
        self.deepest = self.deepest.max(self.operand);
        self.operand = 0;
    }

    fn next_element(&mut self) {
        *self = Self {
            elements: self.depth(),
            outside: self.outside,
            ..Self::default()
        };
    }
}

/// Refuses a source that is deeper than the limits. What the lexer cannot read is left to the parser, which stops there
/// as well.
pub(super) fn check(source: &str, syntax: &SyntaxConfig) -> Result<(), TemplateError> {
    let too_deep = |line: u16, what, count, limit| TemplateError::TooDeep {
        line: line.into(),
        what,
        count,
        limit,
    };
    // How many blocks each open block counts for: one, and one for each `elif`.
    let mut blocks: Vec<usize> = Vec::new();
    let mut levels = vec![Level::default()];
    let mut is_first = false;
    // A `set` is a block where no `=` follows.
    let mut is_open_set = false;
    for token in tokenize(source, false, syntax.clone()) {
        let Ok((token, span)) = token else {
            return Ok(());
        };
        let line = span.start_line;
        let was_first = std::mem::take(&mut is_first);
        let inner = levels.len() - 1;
        let level = &mut levels[inner];
        match &token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::BlockStart => {
                levels = vec![Level::default()];
                is_first = matches!(token, Token::BlockStart);
                is_open_set = false;
            }
            Token::VariableEnd | Token::BlockEnd if std::mem::take(&mut is_open_set) => {
                blocks.push(1);
            }
            Token::Ident(name) if was_first => {
                match *name {
                    "set" => is_open_set = true,
                    "elif" => blocks.last_mut().into_iter().for_each(|count| *count += 1),
                    name if OPENING.contains(&name) => blocks.push(1),
                    name if name.starts_with("end") => drop(blocks.pop()),
                    _ => {}
                }
                let count = blocks.iter().sum();
                if count > MAX_BLOCKS {
                    let what = "too many blocks inside each other, or `elif` after each other";
                    return Err(too_deep(line, what, count, MAX_BLOCKS));
                }
            }
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                let outside = level.outside + level.operators + level.operand + 1;
                levels.push(Level {
                    outside,
                    ..Level::default()
                });
                if levels.len() > MAX_BRACKETS {
                    let what = "too many brackets inside each other";
                    return Err(too_deep(line, what, levels.len(), MAX_BRACKETS));
                }
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose if inner > 0 => {
                let depth = level.depth();
                levels.pop();
                let outer = &mut levels[inner - 1];
                outer.operand = outer.operand.max(depth) + 1;
            }
            Token::Comma | Token::Colon => level.next_element(),
            Token::Assign => {
                is_open_set &= inner > 0;
                level.next_element();
            }
            // Filters and tests belong to the operand before them.
            Token::Dot | Token::Pipe | Token::Ident("is") => level.operand += 1,
            Token::Ident("and" | "or" | "not" | "in" | "if" | "else")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Tilde
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => level.operator(),
            _ => {}
        }
        let count = levels
            .last()
            .map_or(0, |level| level.outside + level.depth());
        if count > MAX_EXPRESSION_DEPTH {
            let what = "an expression of too many steps";
            return Err(too_deep(line, what, count, MAX_EXPRESSION_DEPTH));
        }
    }
    Ok(())
}
