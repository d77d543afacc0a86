//! Which of the given files are an adapter's, and which merely lie next to them.
//!
//! A checkpoint's folder holds pickles (optimizer, scheduler), a tokenizer and the trainer's state as JSON.
//! Files are sorted by their first bytes; among several of a kind, the name decides:
//!
//! ```text
//! adapter_config.json        config     {"peft_type": ...}
//! adapter_model.safetensors  weights    length: u64, then {
//! optimizer.pt, rng.pth      pickles    named only if there are no weights
//! trainer_state.json         others     JSON without an adapter's keys
//! ```

use serde_json::{Map, Value};

use super::{ImportError, MAX_CONFIG_BYTES, incoming::is_of_mlx, whole};
use crate::weights::{
    checkpoint::{NamedSource, is_pickle},
    gguf, json, safetensors,
};

/// The names that PEFT and mlx-lm give to the weights' file.
const WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapters.safetensors"];

/// The name that both give to the config.
const CONFIG: &str = "adapter_config.json";

/// What a file is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Text that begins with `{`, spaces and a byte order mark aside.
    Json,
    /// Eight bytes, then `{`.
    Safetensors,
    /// The magic number of GGUF.
    Gguf,
    /// What `torch.save` writes: a zip, or a pickle.
    Pickle,
    /// Anything else.
    Other,
}

impl Content {
    /// Looks at the first nine bytes of a file.
    ///
    /// Safetensors are tried before JSON: the length that they begin with may have `{` as its lowest byte.
    ///
    /// # Errors
    /// [`ImportError::Source`]
    async fn of(file: &NamedSource) -> Result<Self, ImportError> {
        let num_bytes = file.source.num_bytes().min(9) as usize;
        let start = file.source.read(0, num_bytes).await?;
        let text = start.strip_prefix(json::MARK).unwrap_or(&start);
        let text = text.trim_ascii_start();
        Ok(if start.starts_with(gguf::MAGIC) {
            Self::Gguf
        } else if safetensors::is_start(&start) {
            Self::Safetensors
        } else if text.first() == Some(&b'{') {
            Self::Json
        } else if is_pickle(&start) || start.starts_with(b"PK\x03\x04") {
            Self::Pickle
        } else {
            Self::Other
        })
    }
}

/// The files by what they are.
pub(super) struct Given {
    /// All JSON files: which of them is a config is known once they are parsed.
    configs: Vec<NamedSource>,
    /// All safetensors files.
    tensors: Vec<NamedSource>,
    /// All GGUF files.
    ggufs: Vec<NamedSource>,
    /// Names of pickles, which are never opened.
    pickles: Vec<String>,
    /// Names of those that are no part of the adapter.
    pub others: Vec<String>,
}

impl Given {
    /// Sorts the files.
    ///
    /// # Errors
    /// [`ImportError::Source`]
    pub async fn of(files: Vec<NamedSource>) -> Result<Self, ImportError> {
        let mut given = Self {
            configs: Vec::new(),
            tensors: Vec::new(),
            ggufs: Vec::new(),
            pickles: Vec::new(),
            others: Vec::new(),
        };
        for file in files {
            match Content::of(&file).await? {
                Content::Json => given.configs.push(file),
                Content::Safetensors => given.tensors.push(file),
                Content::Gguf => given.ggufs.push(file),
                Content::Pickle => given.pickles.push(file.name),
                Content::Other => given.others.push(file.name),
            }
        }
        Ok(given)
    }

    /// Takes the file of the weights: safetensors if there are any, else GGUF. What is left over goes to
    /// `others`.
    ///
    /// # Errors
    /// [`ImportError::SeveralWeights`], or why there are none.
    pub fn weights(&mut self) -> Result<(NamedSource, Content), ImportError> {
        let (mut files, content) = match self.tensors.is_empty() {
            true => (std::mem::take(&mut self.ggufs), Content::Gguf),
            false => (std::mem::take(&mut self.tensors), Content::Safetensors),
        };
        // In a folder with more than the adapter in it, the file that is called as an adapter's counts.
        let is_called_so = |file: &NamedSource| WEIGHTS.contains(&base_name(&file.name));
        if files.iter().filter(|file| is_called_so(file)).count() == 1 {
            let aside = files.extract_if(.., |file| !is_called_so(file));
            self.others.extend(aside.map(|file| file.name));
        }
        self.others
            .extend(self.ggufs.drain(..).map(|file| file.name));
        let file = match <[NamedSource; 1]>::try_from(files) {
            Ok([file]) => file,
            Err(files) if files.is_empty() => return Err(self.without_weights()),
            Err(files) => {
                let files = files.into_iter().map(|file| file.name).collect();
                return Err(ImportError::SeveralWeights { files });
            }
        };
        self.others.append(&mut self.pickles);
        Ok((file, content))
    }

    /// Returns the most telling reason why there are no weights: a pickle in their place, or nothing at all.
    fn without_weights(&self) -> ImportError {
        let is_adapter = |name: &&String| base_name(name).starts_with("adapter");
        let pickle = self.pickles.iter().find(is_adapter);
        match pickle.or(self.pickles.first()) {
            Some(file) => ImportError::Pickle { file: file.clone() },
            None if self.configs.is_empty() => ImportError::NoConfig {
                others: self.others.clone(),
            },
            None => ImportError::NoWeights,
        }
    }

    /// Returns the parsed config that belongs to the file `weights`; in a whole folder only one JSON file is an
    /// adapter's. Of several, those in the folder of the weights count, and of these the one that is called as PEFT
    /// and mlx-lm call it. What is passed over goes to `others`.
    ///
    /// # Errors
    /// [`ImportError::NoConfig`], [`ImportError::SeveralConfigs`], or [`ImportError::Config`] for a damaged
    /// `adapter_config.json`. Other damaged JSON is passed over.
    pub async fn config(&mut self, weights: &str) -> Result<Map<String, Value>, ImportError> {
        let mut found: Vec<(String, Map<String, Value>)> = Vec::new();
        for file in std::mem::take(&mut self.configs) {
            let is_config = base_name(&file.name) == CONFIG;
            if !is_config && file.source.num_bytes() > MAX_CONFIG_BYTES {
                self.others.push(file.name);
                continue;
            }
            let text = json::without_mark(whole(&file, MAX_CONFIG_BYTES).await?);
            match json::from_slice::<Map<_, _>>(&text) {
                Ok(map) if map.contains_key("peft_type") || is_of_mlx(&map) => {
                    found.push((file.name, map));
                }
                Ok(_) => self.others.push(file.name),
                Err(error) if is_config => return Err(ImportError::Config(error)),
                Err(_) => self.others.push(file.name),
            }
        }
        let is_beside: &dyn Fn(&str) -> bool = &|name| folder(name) == folder(weights);
        let is_called_so: &dyn Fn(&str) -> bool = &|name| base_name(name) == CONFIG;
        for is_better in [is_beside, is_called_so] {
            if found.len() > 1 && found.iter().any(|(name, _)| is_better(name)) {
                let aside = found.extract_if(.., |(name, _)| !is_better(name));
                self.others.extend(aside.map(|(name, _)| name));
            }
        }
        match found.len() {
            0 => Err(ImportError::NoConfig {
                others: self.others.clone(),
            }),
            1 => Ok(found.remove(0).1),
            _ => Err(ImportError::SeveralConfigs {
                files: found.into_iter().map(|(name, _)| name).collect(),
            }),
        }
    }
}

/// Returns the name without the folders before it.
fn base_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// Returns the folders of a name, without the file; nothing for a file that was given alone.
fn folder(name: &str) -> &str {
    name.strip_suffix(base_name(name)).unwrap_or_default()
}
