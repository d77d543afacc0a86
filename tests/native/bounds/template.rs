//! Chat templates.

use engine::template::{
    ChatTemplate, MAX_BLOCKS, MAX_BRACKETS, MAX_EXPRESSION_DEPTH, TemplateError,
};
use protocol::Message;

use crate::{bounded, kind::Kind};

fn render(source: &str) -> Result<String, TemplateError> {
    let messages = [
        Message::new("user", "hi"),
        Message::new("assistant", "hello\nthere"),
    ];
    ChatTemplate::with_tokens(source, Vec::new())?.render(&messages, &[], true)
}

/// Compiles and renders a template within the bounds.
fn measured(kind: &mut Kind, name: &str, source: &str) -> Result<String, TemplateError> {
    bounded(kind, name, source.len(), || render(source))
}

/// A part of a template, repeated, and what is around all of it.
struct Chain {
    name: &'static str,
    before: &'static str,
    repeated: &'static str,
    middle: &'static str,
    closing: &'static str,
    after: &'static str,
    /// How often the part can be repeated so that the template is read.
    limit: usize,
}

const fn chain(
    name: &'static str,
    before: &'static str,
    repeated: &'static str,
    after: &'static str,
) -> Chain {
    Chain {
        name,
        before,
        repeated,
        middle: "",
        closing: "",
        after,
        limit: MAX_EXPRESSION_DEPTH,
    }
}

const fn nest(
    name: &'static str,
    repeated: &'static str,
    middle: &'static str,
    closing: &'static str,
    limit: usize,
) -> Chain {
    Chain {
        name,
        before: "",
        repeated,
        middle,
        closing,
        after: "",
        limit,
    }
}

impl Chain {
    fn of(&self, count: usize) -> String {
        let Self {
            before,
            repeated,
            middle,
            closing,
            after,
            ..
        } = self;
        [
            before,
            &*repeated.repeat(count),
            middle,
            &closing.repeat(count),
            after,
        ]
        .concat()
    }
}

const CHAINS: [Chain; 28] = [
    chain("sums", "{{ 1", "+1", " }}"),
    chain("sums of lists", "{{ messages", "+messages", " }}"),
    chain("products", "{{ x", "*x", " }}"),
    chain("powers", "{{ 1", "**1", " }}"),
    chain("joined texts", "{{ messages", "~messages[0].role", " }}"),
    chain("attributes", "{{ a", ".a", " }}"),
    chain("items", "{{ x", "[0]", " }}"),
    chain("slices", "{{ messages", "[0:]", " }}"),
    chain("calls", "{{ x", "()", " }}"),
    chain("methods", "{{ 'a'", ".strip()", " }}"),
    chain("filters", "{{ 'a'", "|trim", " }}"),
    chain("tests", "{{ 1", " is defined", " }}"),
    chain("negations", "{{ ", "not ", "1 }}"),
    chain("minus signs", "{{ ", "- ", "1 }}"),
    chain("choices", "{{ 1", " if x else 2", " }}"),
    chain("conjunctions", "{{ x", " and x or x", " }}"),
    chain("comparisons", "{{ x", " < messages", " }}"),
    chain("what is looked for", "{{ x", " in messages", " }}"),
    Chain {
        limit: MAX_BLOCKS - 1,
        ..chain("elif", "{% if x %}", "{% elif x == 'a' %}b", "{% endif %}")
    },
    nest("parentheses", "(", "1", ")", MAX_BRACKETS),
    nest("lists", "[", "messages", "]", MAX_BRACKETS),
    nest("maps", "{'a': ", "messages", "}", MAX_BRACKETS),
    nest("arguments", "range(", "1", ")", MAX_BRACKETS),
    nest("if in if", "{% if true %}", "a", "{% endif %}", MAX_BLOCKS),
    nest(
        "for in for",
        "{% for m in messages %}",
        "",
        "{% endfor %}",
        MAX_BLOCKS,
    ),
    nest("set in set", "{% set x %}", "a", "{% endset %}", MAX_BLOCKS),
    nest(
        "with in with",
        "{% with x = messages %}",
        "a",
        "{% endwith %}",
        MAX_BLOCKS,
    ),
    nest(
        "filter in filter",
        "{% filter trim %}",
        "a",
        "{% endfilter %}",
        MAX_BLOCKS,
    ),
];

/// The template of a chain; brackets are not yet in a tag.
fn template(chain: &Chain, count: usize) -> String {
    let source = chain.of(count);
    match source.starts_with("{%") || source.starts_with("{{") {
        true => source,
        false => format!("{{{{ {source} }}}}"),
    }
}

#[test]
fn long_chains_and_deep_nests_are_refused() {
    let mut kind = Kind::new("long chains and deep nests");
    for chain in &CHAINS {
        for bytes in [10_000, 250_000] {
            let count = bytes / (chain.repeated.len() + chain.closing.len());
            let result = measured(&mut kind, chain.name, &template(chain, count));
            assert!(
                matches!(result, Err(TemplateError::TooDeep { line: 1, .. })),
                "{}: {result:?}",
                chain.name
            );
        }
        // Without its end.
        let open = [
            chain.before,
            &chain.repeated.repeat(20_000 / chain.repeated.len()),
        ]
        .concat();
        for source in [format!("{{{{ {open}"), format!("{{% set x = {open}"), open] {
            let _ = measured(&mut kind, chain.name, &source);
        }
    }
}

#[test]
fn chains_and_nests_up_to_the_limit_are_read() {
    let mut kind = Kind::new("chains and nests up to the limit");
    for chain in &CHAINS {
        // Some have two steps in each part.
        let steps = match chain.name {
            "joined texts" | "methods" | "conjunctions" | "choices" => 5,
            _ => 1,
        };
        let result = measured(
            &mut kind,
            chain.name,
            &template(chain, chain.limit / steps - 1),
        );
        assert!(
            !matches!(
                result,
                Err(TemplateError::TooDeep { .. } | TemplateError::Syntax { .. })
            ),
            "{}: {result:?}",
            chain.name
        );
    }
}

#[test]
fn what_long_templates_hold_in_sequence_is_no_chain() {
    let mut kind = Kind::new("long templates");
    let item = "{'role': 'user', 'content': messages[0].content + '\\n' ~ 'x'|trim},";
    let long = [
        format!("{{% set x = [{}] %}}{{{{ x|length }}}}", item.repeat(500)),
        format!("{{{{ range({}) }}}}", "1,".repeat(3)),
        "{% if messages[0].role == 'user' %}a{% else %}b{% endif %}".repeat(1_000),
        "{% set x = 1 %}{% set ns = namespace(a=1) %}".repeat(1_000),
        "{{ '(' }}{# (((( #}{% raw %}{{ (((( {% endraw %}".repeat(1_000),
        format!("{{{{ '{}' }}}}", "((1+1".repeat(10_000)),
    ];
    for source in long {
        let result = measured(&mut kind, "a long template", &source);
        assert!(
            !matches!(result, Err(TemplateError::TooDeep { .. })),
            "{result:?}"
        );
    }
    let joined = format!(
        "{{{{ {}'' }}}}",
        "messages[0]['content'] + '\\n' + ".repeat(100)
    );
    assert!(measured(&mut kind, "joined texts", &joined).is_ok());
}

/// `{% set x = ... %}` forty times.
fn forty(start: &str, step: &str, end: &str) -> String {
    format!(
        "{{% set x = {start} %}}{}{end}",
        format!("{{% set x = {step} %}}").repeat(40)
    )
}

#[test]
fn values_that_double_are_refused() {
    let mut kind = Kind::new("values that double");
    let starts = ["[1]", "'a'", "messages", "{'a': 1}", "(1,)"];
    let steps = [
        "x + x",
        "x ~ x",
        "x * 2",
        "[x, x]",
        "(x, x)",
        "{'a': x, 'b': x}",
        "[x] * 9",
        "x|list + x|list",
        "x|chain(x)",
        "x|zip(x)|list",
        "x|map('string')|list + x",
        "x|batch(2, x)",
        "x|join(x)",
        "x|replace('', x)",
        "x.replace('', x)",
        "x.join(x)",
        "x.split('') + x",
        "x|string + x|string",
        "x|tojson + x|tojson",
        "x[0:] + x[0:]",
        "x|reverse + x|sort",
        "dict(a=x, b=x)",
        "dict(x, a=x, b=[x, x])",
        "namespace(a=x, b=x)",
        "(x|select|list) + (x|reject|list) + x",
        "[x, x]|sum(start=[])",
        "'%s%s'|format(x, x)",
        "'{0}{0}'.format(x)",
        "x if x == [x] else [x, x]",
    ];
    let ends = [
        "",
        "{{ x }}",
        "{{ x|length }}",
        "{{ x ~ '' }}",
        "{{ x|tojson }}",
        "{{ x|tojson(indent=1000000000) }}",
        "{{ x|string }}",
        "{{ x|join }}",
        "{{ x|pprint }}",
        "{{ x == x }}",
        "{{ [x] == [x[0:]] }}",
        "{{ 'b' in x }}",
        "{{ x in x }}",
        "{{ {x: 1} }}",
        "{{ messages[x] }}",
        "{% for y in x %}{% endfor %}",
        "{% for y in x recursive %}{{ loop([x, x]) }}{% endfor %}",
        "{% set a, b = x %}",
        "{{ x|sort }}{{ x|unique }}{{ x|min }}",
        "{{ x is eq(x) }}",
        "{{ x|list|list|map('list')|list|length }}",
    ];
    for start in starts {
        for step in steps {
            let source = forty(start, step, "");
            let _ = measured(&mut kind, &format!("{start}, {step}"), &source);
        }
    }
    for (start, step) in [
        ("[1]", "x + x"),
        ("'a'", "x + x"),
        ("[1]", "[x, x]"),
        ("[1]", "x * 9"),
    ] {
        for end in ends {
            let doubled = format!(
                "{{% set x = {start} %}}{}{end}",
                format!("{{% set x = {step} %}}").repeat(9)
            );
            let _ = measured(&mut kind, &format!("nine of {step}, {end}"), &doubled);
            let result = measured(
                &mut kind,
                &format!("forty of {step}, {end}"),
                &forty(start, step, end),
            );
            assert!(result.is_err(), "{step} {end}: {result:?}");
        }
    }
}

#[test]
fn single_steps_that_make_much_are_refused() {
    let mut kind = Kind::new("single steps that make much");
    let sources = [
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 1000000 * 1000000 }}",
        "{{ ([0] * 100000000)|length }}",
        "{{ ([0] * 100000000) ~ '' }}",
        "{{ ([0] * 100000000) == ([0] * 100000000) }}",
        "{{ 1 in ([0] * 100000000) }}",
        "{{ (messages * 50000000)|tojson }}",
        "{% set a, b = messages * 50000000 %}",
        "{{ range(10**9) }}",
        "{{ (range(100000)|list) * 1000 }}",
        "{{ range(100000)|map('string')|join('a' * 1000) }}",
        "{{ ('a' * 100000).split('')|length }}",
        "{{ ('a' * 3000000).split('') }}",
        "{{ ('a' * 3000000)|split('') }}",
        "{{ ('\\n' * 3000000).splitlines() }}",
        "{{ ('\\n' * 3000000)|lines }}",
        "{{ ('a' * 3000000)|list }}",
        "{{ ('a' * 3000000)|replace('', 'a' * 1000) }}",
        "{{ ('a' * 3000000).replace('', 'a' * 1000) }}",
        "{{ ('a\\n' * 100000)|indent(1000000000) }}",
        "{{ 'a'|indent(1000000000, true) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%.1000000000f'|format(1.5) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 1000000000) }}",
        "{{ ('{0}' * 10000).format('a' * 100000) }}",
        "{{ ('%(a)s' * 10000)|format(a='a' * 100000) }}",
        "{{ [1]|batch(1000000000, 1)|list }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{{ ('a' * 100000).join(range(100000)) }}",
        "{{ 'ab'.join(['a' * 1000000] * 1000) }}",
        "{{ (['a' * 1000000] * 1000)|join }}",
        "{{ ['a' * 1000000] * 1000 }}",
        "{{ [('a' * 100000)] * 1000 ~ '' }}",
        "{{ debug() }}",
        "{% for i in range(100000) %}{{ 'a' * 10000 }}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = ns.x + [i] %}{% endfor %}",
        "{% macro m(x) %}{{ m(x + x) }}{% endmacro %}{{ m([1]) }}",
        "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m('a') }}",
        "{% for x in [[1]] recursive %}{{ loop([x + x]) }}{% endfor %}",
        "{% for x in messages recursive %}{{ loop(messages * 2) }}{% endfor %}",
        "{% set x %}{% for i in range(100000) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endset %}",
    ];
    for source in sources {
        let result = measured(&mut kind, source, source);
        assert!(
            result.is_err(),
            "{source}: {:?}",
            result.map(|text| text.len())
        );
    }
}

#[test]
fn values_inside_each_other_are_refused_before_they_overflow_the_stack() {
    let mut kind = Kind::new("values inside each other");
    let steps = [
        "[x]",
        "(x,)",
        "{'a': x}",
        "x[0:]",
        "x[::-1]",
        "x * 1",
        "x + []",
        "[] + x",
        "x|list",
        "x|reverse",
        "x|batch(1)",
        "x|chain([])",
        "x|items|list",
        "dict(a=x)",
        "namespace(a=x)",
        "x|chain({})",
        "x.items()",
        "x.values()",
        "x|map('list')|list",
        "x|zip|list",
        "x|groupby(0)",
        "x|dictsort",
    ];
    let ends = [
        "",
        "{{ ns.x }}",
        "{{ ns.x|tojson }}",
        "{{ ns.x == ns.x }}",
        "{% for y in ns.x %}{% endfor %}",
    ];
    for start in ["[1]", "{'a': 1}"] {
        for step in steps {
            for end in ends {
                let step = step.replace('x', "ns.x").replace("ns.chain", "chain");
                let source = format!(
                    "{{% set ns = namespace(x={start}) %}}{{% for i in range(20000) %}}{{% set ns.x = {step} %}}{{% endfor %}}{end}"
                );
                let _ = measured(&mut kind, &format!("{start}, {step}, {end}"), &source);
            }
        }
    }
    let sources = [
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = {'a': ns} %}{{ ns|tojson }}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a == b }}",
        "{% set ns = namespace() %}{% for x in [1] %}{% set ns.x = loop %}{% endfor %}{{ ns }}",
        "{% set ns = namespace() %}{% for x in [ns] %}{{ x }}{% endfor %}",
        "{% set ns = namespace(x=none) %}{% for i in range(20000) %}{% set n = namespace() %}{% set n.x = ns.x %}{% set ns.x = n %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
        "{% macro m() %}{% for x in messages %}{% set y %}{{ m() }}{% endset %}{{ y }}{% endfor %}{% endmacro %}{{ m() }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% include 'chat_template' %}",
        "{% import 'chat_template' as x %}",
        "{% extends 'chat_template' %}",
    ];
    for source in sources {
        let result = measured(&mut kind, source, source);
        assert!(result.is_err(), "{source}: {result:?}");
    }
}

#[test]
fn what_real_templates_do_still_works() {
    let mut kind = Kind::new("steps of real templates");
    let cases = [
        (
            "{{ messages[1:]|length }}{{ messages[::-1][0].role }}",
            "1assistant",
        ),
        (
            "{% set m = messages + [{'role': 'user'}] %}{{ m|length }}{{ m[2].role }}",
            "3user",
        ),
        (
            "{% set ns = namespace(x=[], found=false) %}{% for m in messages %}{% set ns.x = ns.x + [m.role] %}{% set ns.found = true %}{% endfor %}{{ ns.x|join(',') }} {{ ns.found }}",
            "user,assistant True",
        ),
        (
            "{{ [messages[0]] == messages[:1] }}{{ 'user' in ['user', 'b'] }}{{ 'a' in messages[0] }}",
            "TrueTrueFalse",
        ),
        (
            "{{ 'a' ~ 1 ~ none }}{{ 'ab' * 3 }}{{ 1 + 2 * 3 - 4 }}{{ 7 // 2 }}",
            "a1Noneababab33",
        ),
        (
            "{{ 'a b'.split(' ')[-1] }}{{ 'a-b'.split('-')|length }}{{ '{} {}'.format(1, 'x') }}{{ '%s-%d'|format('a', 3) }}",
            "b21 xa-3",
        ),
        (
            "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': 1}|items|list }}",
            "a1b2[('a', 1)]",
        ),
        (
            "{% set x = {'a': [1, 2]} %}{{ x.a[0] }}{{ x['a']|tojson }}{{ x.get('b') is none }}",
            "1[1, 2]True",
        ),
        (
            "{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}{{ f(messages|map(attribute='role')|list|join, y=3) }}",
            "12userassistant3",
        ),
        (
            "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% endfor %}",
            "1hi",
        ),
        (
            "{% set a, b = [1, 2] %}{{ b }}{% set ns = namespace() %}{% set ns.t %}x{% endset %}{{ ns.t }}",
            "2x",
        ),
        (
            "{{ (messages|selectattr('role', 'equalto', 'user')|list)[0].content }}{{ dict(a=1)|tojson }}",
            "hi{\"a\": 1}",
        ),
        (
            "{{ 1 < 2 < 3 }}{{ messages is sequence }}{{ messages[0] is mapping }}{{ 'x' if messages else 'y' }}",
            "TrueTrueTruex",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(
            measured(&mut kind, source, source).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
}
