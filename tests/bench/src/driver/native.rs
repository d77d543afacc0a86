//! PyTorch with PEFT in a separate process, controlled line by line.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

pub struct PyTorch {
    process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Versions, and the CUDA device.
    pub about: Value,
}

impl PyTorch {
    /// Starts the interpreter named by `PYTHON`, or `python3`.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn start(script: &Path) -> Result<Self, String> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let how = "set PYTHON to an interpreter with torch, transformers and peft";
        let missing = |why: &str| format!("{python}: {why} ({how})");
        let mut process = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| missing(&error.to_string()))?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(missing("it takes no questions"));
        };
        let mut answers = BufReader::new(answers).lines();
        let about = answers.next().and_then(Result::ok);
        let about = about.and_then(|line| serde_json::from_str(&line).ok());
        match about {
            Some(about) => Ok(Self {
                process,
                questions,
                answers,
                about,
            }),
            None => {
                end(&mut process);
                Err(missing("torch, transformers or peft cannot be imported"))
            }
        }
    }

    pub fn has_cuda(&self) -> bool {
        !self.about["cuda"].is_null()
    }

    /// Calls the step that is kept under `key`.
    ///
    /// # Errors
    /// What Python raised, or that it ended.
    pub fn call(&mut self, key: &str, call: &str, argument: &Value) -> Result<Value, String> {
        let question = json!({ "key": key, "call": call, "spec": argument, "times": argument });
        writeln!(self.questions, "{question}").map_err(|error| error.to_string())?;
        let answer = self.answers.next().and_then(Result::ok);
        let answer = answer.ok_or("the interpreter ended")?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["value"].clone()),
        }
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}
