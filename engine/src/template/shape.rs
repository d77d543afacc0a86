//! What a template's source may look like: how long a chain and how deep a nest the parser is given.
//!
//! minijinja's parser, its code generator and the release of what they built call themselves once for each operator of
//! a chain (`a + b + c`), each step into a value (`.a.b[0]|f`), each bracket, each block inside a block, each `elif`.
//! Only brackets and blocks are counted there, so a few kilobytes of chain overflow the stack, which in a worker ends
//! the engine. The source is therefore measured first, by minijinja's own lexer and without recursion.
//!
//! What is counted for `{{ [a + b.c, d|f]|g }}`, with the depth so far under each token:
//!
//! ```text
//! [    a    +    b    .c   ,    d    |f   ]    |g
//! 1    1    2    2    3    3    3    3    3    4
//! ```
//!
//! A level of brackets is as deep as its deepest element; closing it makes it an operand of the level around it.

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use super::TemplateError;

/// Operators and steps from the outside of an expression to its innermost value. The longest in use have some 60.
pub const MAX_EXPRESSION_DEPTH: usize = 400;
/// Brackets inside brackets. The templates in use have up to 7.
pub const MAX_BRACKETS: usize = 40;
/// Blocks inside blocks; an `elif` counts as one more block. The templates in use have up to 30.
pub const MAX_BLOCKS: usize = 100;

/// The blocks that always have an end of their own. A `set` may have one, and an `elif` has none.
const OPENING: [&str; 7] = ["for", "if", "with", "autoescape", "filter", "macro", "call"];

/// One pair of brackets, or a whole tag: elements between commas, each a chain of operands.
/// The levels of all open brackets are a stack on the heap, so measuring needs no recursion.
#[derive(Default)]
struct Level {
    /// The operators of the present element so far.
    operators: usize,
    /// The depth of the present operand: its steps, and what its brackets hold.
    operand: usize,
    /// The depth of the deepest operand before it in the same element.
    deepest: usize,
    /// Depth of the deepest element before it.
    elements: usize,
    /// The depth of everything around it when it began.
    outside: usize,
}

impl Level {
    /// The depth of the deepest element, the present one included. A chain's operators count in full, since the tree of
    /// `a + b + c` leans to one side.
    fn depth(&self) -> usize {
        let element = self.operators + self.operand.max(self.deepest);
        element.max(self.elements)
    }

    /// Ends the present operand: another one follows.
    fn operator(&mut self) {
        self.operators += 1;
        self.deepest = self.deepest.max(self.operand);
        self.operand = 0;
    }

    /// Ends the present element, as a comma does.
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
///
/// A `-` before a number counts as an operator, so the count may be a little higher than the parser's depth. The limits
/// are far above the templates in use.
///
/// # Errors
/// [`TemplateError::TooDeep`] with the first place that is beyond a limit.
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
                // The first level is that of the tag.
                let count = levels.len() - 1;
                if count > MAX_BRACKETS {
                    let what = "too many brackets inside each other";
                    return Err(too_deep(line, what, count, MAX_BRACKETS));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_brackets_as_the_limit_says_are_read() {
        let syntax = SyntaxConfig::default();
        let nest = |count: usize| {
            let source = format!("{{{{ {}1{} }}}}", "(".repeat(count), ")".repeat(count));
            check(&source, &syntax)
        };
        assert_eq!(nest(MAX_BRACKETS), Ok(()));
        let Err(TemplateError::TooDeep { count, limit, .. }) = nest(MAX_BRACKETS + 1) else {
            panic!("one more was read");
        };
        assert_eq!((count, limit), (MAX_BRACKETS + 1, MAX_BRACKETS));
    }
}
