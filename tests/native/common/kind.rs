//! What the inputs of one kind take at most: a line of output for all of them, instead of one for each.

use std::time::Duration;

/// Prints its line when it is dropped, so also when a test fails.
pub struct Kind {
    pub name: &'static str,
    num_inputs: usize,
    most_bytes: Most<usize>,
    longest: Most<Duration>,
    longest_silence: Most<Duration>,
}

/// A maximum and the input that reached it.
#[derive(Default)]
struct Most<T> {
    value: T,
    input: String,
}

impl<T: PartialOrd> Most<T> {
    fn add(&mut self, value: T, input: &str) {
        if value >= self.value {
            *self = Self {
                value,
                input: input.to_owned(),
            };
        }
    }
}

impl Kind {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            num_inputs: 0,
            most_bytes: Most::default(),
            longest: Most::default(),
            longest_silence: Most::default(),
        }
    }

    /// Adds what an input took.
    pub fn add(&mut self, input: &str, num_bytes: usize, time: Duration) {
        self.num_inputs += 1;
        self.most_bytes.add(num_bytes, input);
        self.longest.add(time, input);
    }

    /// Adds how long nothing was heard of an input.
    pub fn add_silence(&mut self, input: &str, time: Duration) {
        self.longest_silence.add(time, input);
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        let Self {
            name,
            num_inputs,
            most_bytes: Most { value, input },
            longest,
            longest_silence,
        } = self;
        let megabytes = *value as f64 / 1e6;
        print!("{num_inputs} {name}: at most {megabytes:.1} MB ({input})");
        print!(", {:.2?} ({})", longest.value, longest.input);
        if longest_silence.value > Duration::ZERO {
            let Most { value, input } = longest_silence;
            print!(", silent for {value:.2?} ({input})");
        }
        println!();
    }
}
