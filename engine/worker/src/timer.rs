//! Gives the worker's message queue a turn.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use futures_channel::oneshot;
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, MessageChannel, MessageEvent, MessagePort};

/// Yields by posting a message to itself: unlike a timer of 0 ms this is not clamped to 4 ms, and it is queued after
/// the messages that have already arrived.
pub struct Turns {
    sender: MessagePort,
    waiting: Rc<RefCell<VecDeque<oneshot::Sender<()>>>>,
    /// Kept alive as long as the port calls it.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _receiver: MessagePort,
}

impl Turns {
    /// # Errors
    /// The browser's, if it has no message channels.
    pub fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let (sender, receiver) = (channel.port1(), channel.port2());
        let waiting: Rc<RefCell<VecDeque<oneshot::Sender<()>>>> = Rc::default();
        let queue = waiting.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |_| {
            let next = queue.borrow_mut().pop_front();
            if let Some(next) = next {
                // The waiter may have been dropped; then nobody needs to know.
                let _ = next.send(());
            }
        });
        receiver.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Ok(Self {
            sender,
            waiting,
            _on_message: on_message,
            _receiver: receiver,
        })
    }

    /// Ends once every message that had arrived before was handled.
    pub async fn yield_now(&self) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        if self.sender.post_message(&JsValue::NULL).is_ok() {
            // Fails only if the sender was dropped, which the queue never does.
            let _ = receiver.await;
        }
    }
}

/// Waits for a timer of the worker.
pub async fn sleep(scope: &DedicatedWorkerGlobalScope, millis: u32) {
    // The promise is only ever resolved.
    let _ = JsFuture::from(timer(scope, millis)).await;
}

/// Resolves to `undefined` after this time.
pub fn timer(scope: &DedicatedWorkerGlobalScope, millis: u32) -> Promise {
    Promise::new(&mut |resolve, _| {
        let millis = i32::try_from(millis).unwrap_or(i32::MAX);
        // Without timers the promise would never end; ending at once is the lesser evil.
        if scope
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, millis)
            .is_err()
        {
            let _ = resolve.call0(&JsValue::NULL);
        }
    })
}
