//! Several adapters: how a workbench keeps, uses, blends, continues and exports them.

use engine::{weights::checkpoint::NamedSource, workbench::Workbench};
use futures_executor::block_on;
use protocol::{
    AdapterCopy, AdapterId, AdapterList, AdapterOrigin, Command, Event, ExportKind, Failure,
    FailureKind,
};

use crate::common::{
    golden,
    host::ScriptedHost,
    workbench::{self, adapter, load_model, named},
};

fn last(host: &ScriptedHost) -> Event {
    host.events.borrow().last().cloned().unwrap().1
}

fn list(host: &ScriptedHost) -> AdapterList {
    match last(host) {
        Event::Adapters { list } => list,
        event => panic!("{event:?}"),
    }
}

fn failed(host: &ScriptedHost) -> Failure {
    match last(host) {
        Event::Failed { failure } => failure,
        event => panic!("{event:?}"),
    }
}

fn ids(list: &AdapterList) -> Vec<u64> {
    list.adapters.iter().map(|adapter| adapter.id.0).collect()
}

#[test]
fn adapters_are_kept_side_by_side_for_their_model() {
    let host = ScriptedHost::default();
    let mut bench = workbench::empty(&host);
    let handle = |bench: &mut Workbench<'_>, command, files| block_on(bench.handle(command, files));
    handle(
        &mut bench,
        Command::LoadAdapter {},
        adapter("lora.all_linear"),
    );
    assert_eq!(failed(&host).kind, FailureKind::WrongState);

    load_model(&mut bench, golden::sources("tiny"));
    assert_eq!(list(&host), AdapterList::default());
    handle(
        &mut bench,
        Command::LoadAdapter {},
        adapter("lora.all_linear"),
    );
    handle(&mut bench, Command::LoadAdapter {}, adapter("lora.regex"));
    let two = list(&host);
    assert_eq!((ids(&two), two.active), (vec![1, 2], Some(AdapterId(2))));
    assert_ne!(two.adapters[0].name, two.adapters[1].name);

    // What is refused changes nothing, whatever is wrong with it.
    handle(&mut bench, Command::LoadAdapter {}, adapter("dora"));
    let Failure { kind, place, .. } = failed(&host);
    assert_eq!(kind, FailureKind::Adapter);
    let reasons = place.unwrap();
    assert!(
        reasons.contains(".lora_A.weight has the shape [") && reasons.ends_with(" more"),
        "{reasons}"
    );
    assert_eq!(reasons.lines().count(), 25);
    let blends: [&[(u64, f64)]; 5] = [
        &[(1, 1.0)],
        &[(1, 1.0), (1, 2.0)],
        &[(1, 1.0), (9, 1.0)],
        &[(1, f64::NAN), (2, 1.0)],
        &[(1, 1.0), (2, 1e9)],
    ];
    for parts in blends {
        let parts = parts
            .iter()
            .map(|(id, weight)| (AdapterId(*id), *weight))
            .collect();
        handle(&mut bench, Command::BlendAdapters { parts }, Vec::new());
        failed(&host);
    }
    for id in [0, 3] {
        let adapter = AdapterId(id);
        handle(&mut bench, Command::UseAdapter { adapter }, Vec::new());
        assert_eq!(failed(&host).kind, FailureKind::WrongState);
    }
    handle(
        &mut bench,
        Command::UseAdapter {
            adapter: AdapterId(1),
        },
        Vec::new(),
    );
    assert_eq!(
        list(&host),
        AdapterList {
            active: Some(AdapterId(1)),
            ..two.clone()
        }
    );

    // Norms cannot be blended, and the reason names the adapter.
    handle(
        &mut bench,
        Command::LoadAdapter {},
        adapter("lora.patterns"),
    );
    let three = list(&host);
    assert!(three.adapters[2].blend_refusal.is_some());
    let parts = vec![(AdapterId(1), 1.0), (AdapterId(3), 1.0)];
    handle(&mut bench, Command::BlendAdapters { parts }, Vec::new());
    assert!(failed(&host).what.contains(&three.adapters[2].name));

    let parts = vec![(AdapterId(1), 0.5), (AdapterId(2), -1.5)];
    handle(
        &mut bench,
        Command::BlendAdapters {
            parts: parts.clone(),
        },
        Vec::new(),
    );
    let four = list(&host);
    assert_eq!(four.adapters[3].origin, AdapterOrigin::Blend(parts));
    assert_eq!(four.active, Some(AdapterId(4)));
    for kind in ExportKind::ALL {
        let adapter = AdapterId(4);
        handle(&mut bench, Command::Export { adapter, kind }, Vec::new());
        assert!(matches!(
            last(&host),
            Event::ExportReady {
                adapter: AdapterId(4),
                ..
            }
        ));
    }

    // Adapters of another model wait until their model is back.
    load_model(&mut bench, golden::sources("odd"));
    assert_eq!(list(&host), AdapterList::default());
    handle(
        &mut bench,
        Command::Export {
            adapter: AdapterId(4),
            kind: ExportKind::Peft,
        },
        Vec::new(),
    );
    assert_eq!(failed(&host).kind, FailureKind::WrongState);
    handle(&mut bench, Command::LoadAdapter {}, adapter("dora"));
    assert_eq!(ids(&list(&host)), [5]);
    load_model(&mut bench, golden::sources("tiny"));
    assert_eq!(
        (ids(&list(&host)), list(&host).active),
        (vec![1, 2, 3, 4], Some(AdapterId(4)))
    );
    handle(
        &mut bench,
        Command::ForgetAdapter {
            adapter: AdapterId(4),
        },
        Vec::new(),
    );
    assert_eq!(
        (ids(&list(&host)), list(&host).active),
        (vec![1, 2, 3], Some(AdapterId(3)))
    );
}

/// What another worker would receive: every reported copy, with its zip.
fn copies(host: &ScriptedHost) -> (Vec<AdapterCopy>, Vec<Vec<u8>>) {
    let told = host.events.borrow();
    let copies = told.iter().filter_map(|(_, event)| match event {
        Event::AdapterKept { copy } => Some(copy.clone()),
        _ => None,
    });
    (copies.collect(), host.zips.borrow().clone())
}

fn zipped(zips: &[Vec<u8>]) -> Vec<NamedSource> {
    zips.iter().map(|zip| named("", zip.clone())).collect()
}

/// A pattern is exported as the modules that it matched.
fn without_patterns(mut list: AdapterList) -> AdapterList {
    for adapter in &mut list.adapters {
        adapter.spec.rank_pattern.clear();
    }
    list
}

#[test]
fn a_later_worker_takes_the_adapters_again() {
    let host = ScriptedHost::default();
    let mut first = workbench::empty(&host);
    load_model(&mut first, golden::sources("tiny"));
    for case in ["lora.all_linear", "lora.regex", "lora.patterns"] {
        block_on(first.handle(Command::LoadAdapter {}, adapter(case)));
    }
    let parts = vec![(AdapterId(1), 0.5), (AdapterId(2), -1.5)];
    block_on(first.handle(Command::BlendAdapters { parts }, Vec::new()));
    let before = list(&host);
    let (copies, zips) = copies(&host);
    assert_eq!((copies.len(), zips.len()), (4, 4));
    let restore = |active: u64| Command::RestoreAdapters {
        copies: copies.clone(),
        active: Some(AdapterId(active)),
        highest: AdapterId(7),
    };

    let host = ScriptedHost::default();
    let mut later = workbench::empty(&host);
    block_on(later.handle(restore(2), zipped(&zips)));
    assert_eq!(failed(&host).kind, FailureKind::WrongState, "no model yet");
    load_model(&mut later, golden::sources("odd"));
    block_on(later.handle(restore(2), zipped(&zips)));
    assert_eq!(list(&host), AdapterList::default(), "another model's");
    load_model(&mut later, golden::sources("tiny"));
    for _ in 0..2 {
        block_on(later.handle(restore(2), zipped(&zips)));
        let active = Some(AdapterId(2));
        let expected = AdapterList {
            active,
            ..before.clone()
        };
        assert_eq!(without_patterns(list(&host)), without_patterns(expected));
    }
    // To the bit.
    for (copy, zip) in copies.iter().zip(&zips) {
        let (adapter, kind) = (copy.id, ExportKind::Peft);
        block_on(later.handle(Command::Export { adapter, kind }, Vec::new()));
        assert!(host.zips.borrow().last() == Some(zip), "{}", copy.name);
    }
    block_on(later.handle(Command::LoadAdapter {}, adapter("lora.regex")));
    assert_eq!(ids(&list(&host)), [1, 2, 3, 4, 8]);

    // A damaged one is reported, and the others are kept.
    let host = ScriptedHost::default();
    let mut third = workbench::empty(&host);
    load_model(&mut third, golden::sources("tiny"));
    let mut damaged = zips.clone();
    damaged[1].truncate(100);
    block_on(third.handle(restore(2), zipped(&damaged)));
    assert_eq!(failed(&host).kind, FailureKind::Adapter);
    let adapter = AdapterId(3);
    block_on(third.handle(Command::UseAdapter { adapter }, Vec::new()));
    assert_eq!(ids(&list(&host)), [1, 3, 4]);
}
