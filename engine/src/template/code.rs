//! A template compiled so that none of its values can grow without bound.
//!
//! minijinja's fuel counts steps and bytes of text, but not the items of lists that stand for others: `x + x`, `x * 9`
//! and `x[1:]` are made lazily, and `[x, x]` holds one list twice, so forty doublings cost nothing until the result is
//! walked. There is no hook for operators. So the parsed template is rebuilt before it is compiled, with a call of
//! our own filters around every expression that makes a container ([`BOUNDED`]), and around operands of comparisons and
//! subscripts that may be containers ([`WEIGHED`]). Expressions that can only be text or numbers are left as they are,
//! which in real templates is nearly all.
//!
//! ```text
//! {{ (tools + [x])[1:] }}    ->   {{ ((tools + ([x]|(bounded)))|(bounded)[1:])|(bounded) }}
//! {{ a == message }}         ->   {{ a == (message|(weighed)) }}
//! {{ "# " + name|upper }}    ->   unchanged: text on one side makes the sum text
//! ```

mod statement;

use std::{collections::BTreeMap, sync::Arc};

use minijinja::{
    Error,
    machinery::{
        CodeGenerator, Instructions, Span,
        ast::{self, BinOpKind, CallArg, CallType, Expr, Spanned, UnaryOpKind},
        parse,
    },
    syntax::SyntaxConfig,
};
use self_cell::self_cell;

use super::bounds::{BOUNDED, WEIGHED};
use statement::statement;

/// The instructions of a template. Those of `{% block %}`s are not read, nor other templates included: a model has one.
#[derive(Debug)]
pub(super) struct Compiled<'source> {
    pub instructions: Instructions<'source>,
    pub blocks: BTreeMap<&'source str, Instructions<'source>>,
}

self_cell! {
    struct Cell {
        owner: String,
        #[covariant]
        dependent: Compiled,
    }
    impl {Debug}
}

/// A compiled template with its source.
#[derive(Debug, Clone)]
pub(super) struct Code(Arc<Cell>);

impl Code {
    /// Compiles a source that has passed [`super::shape::check`].
    ///
    /// # Errors
    /// Those of the parser.
    pub(super) fn new(
        name: &'static str,
        source: String,
        syntax: SyntaxConfig,
    ) -> Result<Self, Error> {
        let compiled = Cell::try_new(source, |source| {
            let parsed = parse(source, name, syntax)?;
            let mut generator = CodeGenerator::new(name, source);
            generator.compile_stmt(&statement(&parsed));
            let (instructions, blocks) = generator.finish();
            Ok(Compiled {
                instructions,
                blocks,
            })
        });
        compiled.map(|cell| Self(Arc::new(cell)))
    }

    /// The instructions, which borrow from the source.
    pub(super) fn compiled(&self) -> &Compiled<'_> {
        self.0.borrow_dependent()
    }
}

/// Filters that give text, a number or a truth value, or an item that was there before. All others may make containers.
const PLAIN_FILTERS: [&str; 25] = [
    "abs",
    "attr",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "indent",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "string",
    "title",
    "tojson",
    "trim",
    "upper",
];
/// As above, those that may give an item that was there before.
const ITEM_FILTERS: [&str; 5] = ["attr", "d", "default", "first", "last"];
/// Methods that give text, a number or a truth value, or (`get`) an item that was there before.
const PLAIN_METHODS: [&str; 17] = [
    "capitalize",
    "count",
    "endswith",
    "find",
    "format",
    "get",
    "join",
    "lower",
    "lstrip",
    "replace",
    "rfind",
    "rstrip",
    "startswith",
    "strip",
    "title",
    "upper",
    "isdigit",
];

/// A rebuilt expression, and whether it can be no container: whatever is not known to be plain counts as one.
struct Rebuilt<'s> {
    expr: Expr<'s>,
    is_plain: bool,
}

impl<'s> Rebuilt<'s> {
    fn plain(expr: Expr<'s>) -> Self {
        Self {
            expr,
            is_plain: true,
        }
    }

    /// A value that was there before and was bounded then.
    fn known(expr: Expr<'s>) -> Self {
        Self {
            expr,
            is_plain: false,
        }
    }

    /// A new container.
    fn bounded(self) -> Self {
        Self::known(filter(BOUNDED, self.expr))
    }

    /// An operand that something walks.
    fn weighed(self) -> Expr<'s> {
        match self.is_plain {
            true => self.expr,
            false => filter(WEIGHED, self.expr),
        }
    }
}

/// `expr|name`, at the expression's place in the source.
fn filter<'s>(name: &'static str, expr: Expr<'s>) -> Expr<'s> {
    let span = expr.span();
    let filter = ast::Filter {
        name,
        expr: Some(expr),
        args: Vec::new(),
    };
    Expr::Filter(Spanned::new(filter, span))
}

/// An expression rebuilt, whatever it may be.
fn value<'s>(expr: &Expr<'s>) -> Expr<'s> {
    rebuilt(expr).expr
}

fn values<'s>(exprs: &[Expr<'s>]) -> Vec<Expr<'s>> {
    exprs.iter().map(value).collect()
}

fn optional<'s>(expr: &Option<Expr<'s>>) -> Option<Expr<'s>> {
    expr.as_ref().map(value)
}

fn arguments<'s>(args: &[CallArg<'s>]) -> Vec<CallArg<'s>> {
    let argument = |arg: &CallArg<'s>| match arg {
        CallArg::Pos(expr) => CallArg::Pos(value(expr)),
        CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, value(expr)),
        CallArg::PosSplat(expr) => CallArg::PosSplat(value(expr)),
        CallArg::KwargSplat(expr) => CallArg::KwargSplat(value(expr)),
    };
    args.iter().map(argument).collect()
}

/// A literal of constants: no larger than its source, and made once, when the template is compiled.
fn is_constant(expr: &Expr<'_>) -> bool {
    let are_constant = |exprs: &[Expr<'_>]| exprs.iter().all(|expr| matches!(expr, Expr::Const(_)));
    match expr {
        Expr::List(list) => are_constant(&list.items),
        Expr::Tuple(tuple) => are_constant(&tuple.items),
        Expr::Map(map) => are_constant(&map.keys) && are_constant(&map.values),
        _ => false,
    }
}

/// Rebuilds an expression and everything in it: a copy with filters around what makes or walks containers.
fn rebuilt<'s>(expr: &Expr<'s>) -> Rebuilt<'s> {
    let span = expr.span();
    match expr {
        Expr::Var(var) => Rebuilt::known(Expr::Var(Spanned::new(ast::Var { id: var.id }, span))),
        Expr::Const(constant) => {
            let constant = ast::Const {
                value: constant.value.clone(),
            };
            Rebuilt::plain(Expr::Const(Spanned::new(constant, span)))
        }
        Expr::Slice(slice) => {
            let slice = ast::Slice {
                expr: value(&slice.expr),
                start: optional(&slice.start),
                stop: optional(&slice.stop),
                step: optional(&slice.step),
            };
            Rebuilt::known(Expr::Slice(Spanned::new(slice, span))).bounded()
        }
        Expr::UnaryOp(operation) => {
            let operation = ast::UnaryOp {
                op: match operation.op {
                    UnaryOpKind::Not => UnaryOpKind::Not,
                    UnaryOpKind::Neg => UnaryOpKind::Neg,
                },
                expr: value(&operation.expr),
            };
            Rebuilt::plain(Expr::UnaryOp(Spanned::new(operation, span)))
        }
        Expr::BinOp(operation) => binary(operation, span),
        Expr::Compare(compare) => {
            let ops = compare.ops.iter().map(|compared| ast::CompareOp {
                op: compared.op,
                expr: rebuilt(&compared.expr).weighed(),
            });
            let compare = ast::Compare {
                expr: value(&compare.expr),
                ops: ops.collect(),
            };
            Rebuilt::plain(Expr::Compare(Spanned::new(compare, span)))
        }
        Expr::IfExpr(choice) => {
            let when_true = rebuilt(&choice.true_expr);
            let when_false = choice.false_expr.as_ref().map(rebuilt);
            let is_plain = when_true.is_plain && when_false.as_ref().is_none_or(|it| it.is_plain);
            let choice = ast::IfExpr {
                test_expr: value(&choice.test_expr),
                true_expr: when_true.expr,
                false_expr: when_false.map(|it| it.expr),
            };
            Rebuilt {
                expr: Expr::IfExpr(Spanned::new(choice, span)),
                is_plain,
            }
        }
        Expr::Filter(applied) => {
            let rebuilt = ast::Filter {
                name: applied.name,
                expr: optional(&applied.expr),
                args: arguments(&applied.args),
            };
            let rebuilt = Expr::Filter(Spanned::new(rebuilt, span));
            match applied.name {
                name if ITEM_FILTERS.contains(&name) => Rebuilt::known(rebuilt),
                name if PLAIN_FILTERS.contains(&name) => Rebuilt::plain(rebuilt),
                _ => Rebuilt::known(rebuilt).bounded(),
            }
        }
        Expr::Test(test) => {
            // A test such as `eq` walks both of its operands.
            let argument = |arg: CallArg<'s>| match arg {
                CallArg::Pos(Expr::Const(constant)) => CallArg::Pos(Expr::Const(constant)),
                CallArg::Pos(expr) => CallArg::Pos(filter(WEIGHED, expr)),
                arg => arg,
            };
            let test = ast::Test {
                name: test.name,
                expr: value(&test.expr),
                args: arguments(&test.args).into_iter().map(argument).collect(),
            };
            Rebuilt::plain(Expr::Test(Spanned::new(test, span)))
        }
        Expr::GetAttr(attribute) => {
            let attribute = ast::GetAttr {
                expr: value(&attribute.expr),
                name: attribute.name,
            };
            Rebuilt::known(Expr::GetAttr(Spanned::new(attribute, span)))
        }
        Expr::GetItem(item) => {
            let item = ast::GetItem {
                expr: value(&item.expr),
                subscript_expr: rebuilt(&item.subscript_expr).weighed(),
            };
            Rebuilt::known(Expr::GetItem(Spanned::new(item, span)))
        }
        Expr::Call(call) => {
            let rebuilt = Rebuilt::known(Expr::Call(self::call(call, span)));
            match call.identify_call() {
                CallType::Method(_, name) if !PLAIN_METHODS.contains(&name) => rebuilt.bounded(),
                // Functions that make containers bound them themselves; macros make text.
                _ => rebuilt,
            }
        }
        Expr::List(list) => {
            let items = values(&list.items);
            literal(Expr::List(Spanned::new(ast::List { items }, span)))
        }
        Expr::Tuple(tuple) => {
            let items = values(&tuple.items);
            literal(Expr::Tuple(Spanned::new(ast::Tuple { items }, span)))
        }
        Expr::Map(map) => {
            let map = ast::Map {
                keys: values(&map.keys),
                values: values(&map.values),
            };
            literal(Expr::Map(Spanned::new(map, span)))
        }
    }
}

/// A list, tuple or map.
fn literal(container: Expr<'_>) -> Rebuilt<'_> {
    match is_constant(&container) {
        true => Rebuilt::known(container),
        false => Rebuilt::known(container).bounded(),
    }
}

/// An operator with two operands. `+` and `*` may make lists; comparisons walk both sides.
fn binary<'s>(operation: &ast::BinOp<'s>, span: Span) -> Rebuilt<'s> {
    let op = operation.op;
    let (left, right) = (rebuilt(&operation.left), rebuilt(&operation.right));
    let are_plain = left.is_plain && right.is_plain;
    let is_either_plain = left.is_plain || right.is_plain;
    let is_walked = match op {
        BinOpKind::Eq
        | BinOpKind::Ne
        | BinOpKind::Lt
        | BinOpKind::Lte
        | BinOpKind::Gt
        | BinOpKind::Gte => !is_either_plain,
        // A list is gone through for text or a number, too.
        BinOpKind::In => !right.is_plain,
        _ => false,
    };
    let operation = ast::BinOp {
        op,
        left: left.expr,
        // To compare with text, a number or a few constants is no walk.
        right: match is_walked && !is_constant(&right.expr) {
            true => filter(WEIGHED, right.expr),
            false => right.expr,
        },
    };
    let expr = Expr::BinOp(Spanned::new(operation, span));
    match op {
        // A list cannot be added to text or a number.
        BinOpKind::Add if is_either_plain => Rebuilt::plain(expr),
        BinOpKind::Mul if are_plain => Rebuilt::plain(expr),
        BinOpKind::Add | BinOpKind::Mul => Rebuilt::known(expr).bounded(),
        BinOpKind::ScAnd | BinOpKind::ScOr => Rebuilt {
            expr,
            is_plain: are_plain,
        },
        _ => Rebuilt::plain(expr),
    }
}

fn call<'s>(call: &ast::Call<'s>, span: Span) -> Spanned<ast::Call<'s>> {
    let call = ast::Call {
        expr: value(&call.expr),
        args: arguments(&call.args),
    };
    Spanned::new(call, span)
}
