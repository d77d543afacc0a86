use protocol::*;

use crate::state::copies::Copies;

fn copy(id: u64, model: &str) -> AdapterCopy {
    AdapterCopy {
        id: AdapterId(id),
        name: format!("Run {id}: LoRA"),
        origin: AdapterOrigin::Run(RunId(id)),
        model_sha256: model.into(),
    }
}

fn list(active: Option<u64>) -> AdapterList {
    AdapterList {
        active: active.map(AdapterId),
        ..AdapterList::default()
    }
}

/// Two of one model, one of another; the first is the tuned model.
fn three() -> Copies<&'static str> {
    let mut copies = Copies::default();
    assert_eq!(copies.due("one"), None);
    copies.keep(copy(1, "one"), "a");
    copies.keep(copy(2, "one"), "b");
    copies.listed(&list(Some(1)));
    assert_eq!(copies.due("other"), None);
    copies.keep(copy(3, "other"), "c");
    copies
}

fn restored(copies: Vec<AdapterCopy>, active: Option<u64>, highest: u64) -> Command {
    Command::RestoreAdapters {
        copies,
        active: active.map(AdapterId),
        highest: AdapterId(highest),
    }
}

#[test]
fn a_new_worker_gets_what_the_last_one_had_for_the_model() {
    let mut copies = three();
    for _ in 0..2 {
        copies.worker_ended();
        // What a worker lists before it got any.
        copies.listed(&list(None));
        let of_one = vec![copy(1, "one"), copy(2, "one")];
        let due = copies.due("one");
        assert_eq!(due, Some((restored(of_one, Some(1), 3), vec!["a", "b"])));
        assert_eq!(copies.due("one"), None, "it has them");
    }
    let due = copies.due("other");
    let expected = (restored(vec![copy(3, "other")], Some(1), 3), vec!["c"]);
    assert_eq!(due, Some(expected));
    assert_eq!(copies.due("one"), None);
}

#[test]
fn ids_are_not_given_twice_and_what_is_forgotten_stays_so() {
    let mut copies = three();
    copies.forget(AdapterId(2));
    copies.forget(AdapterId(3));
    copies.worker_ended();
    let due = copies.due("third");
    assert_eq!(due, Some((restored(Vec::new(), Some(1), 3), Vec::new())));
    copies.keep(copy(4, "third"), "d");
    copies.listed(&list(Some(4)));
    copies.worker_ended();
    let due = copies.due("one");
    let expected = (restored(vec![copy(1, "one")], Some(4), 4), vec!["a"]);
    assert_eq!(due, Some(expected));
}
