//! Statements, rebuilt around their expressions: copies in which every expression went through `rebuilt`. minijinja's
//! tree can't be changed in place, so each kind of statement is taken apart and put together again.
//!
//! ```text
//! {% set ns.items = ns.items + [m] %}   ->   {% set ns.items = (ns.items + [m]|(bounded))|(bounded)|(assigned) %}
//! ```
//!
//! Only an assignment to an attribute gets a filter of its own: a namespace that held itself or a loop would change
//! after it was weighed.

use minijinja::machinery::ast::{self, Expr, Spanned, Stmt};

use super::{super::bounds::ASSIGNED, call, filter, optional, rebuilt, value, values};

/// What is assigned to: names, lists of targets, and attributes of namespaces. They are places and not values, so a
/// list of targets gets no filter.
fn target<'s>(expr: &Expr<'s>) -> Expr<'s> {
    match expr {
        Expr::List(list) => {
            let items = list.items.iter().map(target).collect();
            Expr::List(Spanned::new(ast::List { items }, expr.span()))
        }
        other => value(other),
    }
}

/// A body, statement by statement.
fn statements<'s>(children: &[Stmt<'s>]) -> Vec<Stmt<'s>> {
    children.iter().map(statement).collect()
}

/// A macro's defaults and body; its arguments are names.
fn macro_of<'s>(declared: &Spanned<ast::Macro<'s>>) -> Spanned<ast::Macro<'s>> {
    let rebuilt = ast::Macro {
        name: declared.name,
        args: values(&declared.args),
        defaults: values(&declared.defaults),
        body: statements(&declared.body),
    };
    Spanned::new(rebuilt, declared.span())
}

/// Rebuilds a statement with everything in it. Recursion is as deep as blocks are nested, which
/// [`super::super::shape::check`] has bounded.
pub(super) fn statement<'s>(statement: &Stmt<'s>) -> Stmt<'s> {
    match statement {
        Stmt::Template(node) => {
            let children = statements(&node.children);
            Stmt::Template(Spanned::new(ast::Template { children }, node.span()))
        }
        Stmt::EmitExpr(node) => {
            let expr = value(&node.expr);
            Stmt::EmitExpr(Spanned::new(ast::EmitExpr { expr }, node.span()))
        }
        Stmt::EmitRaw(node) => {
            Stmt::EmitRaw(Spanned::new(ast::EmitRaw { raw: node.raw }, node.span()))
        }
        Stmt::ForLoop(node) => {
            let rebuilt = ast::ForLoop {
                target: target(&node.target),
                iter: value(&node.iter),
                filter_expr: optional(&node.filter_expr),
                recursive: node.recursive,
                body: statements(&node.body),
                else_body: statements(&node.else_body),
            };
            Stmt::ForLoop(Spanned::new(rebuilt, node.span()))
        }
        Stmt::IfCond(node) => {
            let rebuilt = ast::IfCond {
                expr: value(&node.expr),
                true_body: statements(&node.true_body),
                false_body: statements(&node.false_body),
            };
            Stmt::IfCond(Spanned::new(rebuilt, node.span()))
        }
        Stmt::WithBlock(node) => {
            let assignments = node.assignments.iter();
            let rebuilt = ast::WithBlock {
                assignments: assignments
                    .map(|(name, expr)| (target(name), value(expr)))
                    .collect(),
                body: statements(&node.body),
            };
            Stmt::WithBlock(Spanned::new(rebuilt, node.span()))
        }
        Stmt::Set(node) => {
            let assigned = rebuilt(&node.expr);
            let is_attribute = matches!(node.target, Expr::GetAttr(_));
            let rebuilt = ast::Set {
                target: target(&node.target),
                expr: match is_attribute && !assigned.is_plain {
                    true => filter(ASSIGNED, assigned.expr),
                    false => assigned.expr,
                },
            };
            Stmt::Set(Spanned::new(rebuilt, node.span()))
        }
        Stmt::SetBlock(node) => {
            let rebuilt = ast::SetBlock {
                target: target(&node.target),
                filter: optional(&node.filter),
                body: statements(&node.body),
            };
            Stmt::SetBlock(Spanned::new(rebuilt, node.span()))
        }
        Stmt::AutoEscape(node) => {
            let rebuilt = ast::AutoEscape {
                enabled: value(&node.enabled),
                body: statements(&node.body),
            };
            Stmt::AutoEscape(Spanned::new(rebuilt, node.span()))
        }
        Stmt::FilterBlock(node) => {
            let rebuilt = ast::FilterBlock {
                filter: value(&node.filter),
                filter_span: node.filter_span,
                body: statements(&node.body),
            };
            Stmt::FilterBlock(Spanned::new(rebuilt, node.span()))
        }
        Stmt::Macro(node) => Stmt::Macro(macro_of(node)),
        Stmt::CallBlock(node) => {
            let rebuilt = ast::CallBlock {
                call: call(&node.call, node.call.span()),
                call_expr_span: node.call_expr_span,
                macro_decl: macro_of(&node.macro_decl),
            };
            Stmt::CallBlock(Spanned::new(rebuilt, node.span()))
        }
        Stmt::Continue(node) => Stmt::Continue(Spanned::new(ast::Continue, node.span())),
        Stmt::Break(node) => Stmt::Break(Spanned::new(ast::Break, node.span())),
        Stmt::Do(node) => {
            let call = call(&node.call, node.call.span());
            Stmt::Do(Spanned::new(ast::Do { call }, node.span()))
        }
    }
}
