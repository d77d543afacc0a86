//! The methods, and everything that settings, plans and the page need to know of one.
//!
//! Nothing outside the engine's `adapter` module compares a method with another: whoever needs to know something asks
//! [`Method::facts`]. A new method is a variant of [`Method`] and an entry of [`METHODS`] here, and a file there.

use serde::{Deserialize, Serialize};

use super::TargetModule;
use crate::Choosable;

/// How an adapter changes the base; each is described in the engine's `adapter` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    Lora,
    RsLora,
    Dora,
    LoraPlus,
    Pissa,
    Olora,
    Vera,
    Ia3,
    LnTuning,
    PromptTuning,
}

/// What a method is called, what it begins with, and which settings it uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MethodFacts {
    pub method: Method,
    /// As recipes write it.
    pub key: &'static str,
    /// As its paper or PEFT writes it.
    pub name: &'static str,
    /// When to choose it.
    pub advice: &'static str,
    /// The learning rate to begin with.
    pub learning_rate: f64,
    /// The rank to begin with.
    pub rank: usize,
    /// The modules to begin with.
    pub target_modules: &'static [TargetModule],
    /// Whether it acts on projections, which can be chosen. Norms and the head can then be trained along with it, as
    /// `modules_to_save`.
    pub has_modules: bool,
    /// Whether it has a low-rank pair on each module, with a rank and a dropout.
    pub has_rank: bool,
    /// Whether alpha scales it; a module can then have its own rank and alpha.
    pub has_alpha: bool,
    /// Whether `B` has its own learning rate, `loraplus_lr_ratio` times that of `A`.
    pub has_lr_ratio: bool,
    /// Whether its pairs start from a part of the base, which is subtracted from it: it is then exported as the
    /// difference, at twice the rank.
    pub starts_from_base: bool,
    /// The modules whose outputs it scales.
    pub scaled_outputs: &'static [TargetModule],
    /// Whether the norms' weights are what it trains.
    pub trains_norms: bool,
    /// Whether `num_virtual_tokens` learned embeddings come before every row, so that rows cannot be packed and nothing
    /// can be merged.
    pub has_prompt: bool,
}

/// The facts of LoRA; the other methods are described by how they differ.
const LORA: MethodFacts = MethodFacts {
    method: Method::Lora,
    key: "lora",
    name: "LoRA",
    advice: "The usual choice: every runtime loads it.",
    learning_rate: 1e-3,
    rank: 8,
    target_modules: &[TargetModule::QProj, TargetModule::VProj],
    has_modules: true,
    has_rank: true,
    has_alpha: true,
    has_lr_ratio: false,
    starts_from_base: false,
    scaled_outputs: &[],
    trains_norms: false,
    has_prompt: false,
};

/// What scales or adds little learns at ten times LoRA's learning rate.
const HIGH_LEARNING_RATE: f64 = 1e-2;

/// The facts of every method, in the order of [`Method`].
static METHODS: [MethodFacts; 10] = [
    LORA,
    MethodFacts {
        method: Method::RsLora,
        key: "rs_lora",
        name: "rsLoRA",
        advice: "LoRA with a scale that keeps ranks of 32 and above learning.",
        ..LORA
    },
    MethodFacts {
        method: Method::Dora,
        key: "dora",
        name: "DoRA",
        advice: "Often a little better than LoRA at low ranks; slower, and no GGUF adapter can hold it.",
        scaled_outputs: &TargetModule::ALL,
        ..LORA
    },
    MethodFacts {
        method: Method::LoraPlus,
        key: "lora_plus",
        name: "LoRA+",
        advice: "LoRA with a faster B: fewer steps for the same loss, at some risk of overshooting.",
        has_lr_ratio: true,
        ..LORA
    },
    MethodFacts {
        method: Method::Pissa,
        key: "pissa",
        name: "PiSSA",
        advice: "LoRA started from the base's strongest directions: learns faster at first; exported at twice the rank.",
        starts_from_base: true,
        ..LORA
    },
    MethodFacts {
        method: Method::Olora,
        key: "olora",
        name: "OLoRA",
        advice: "Like PiSSA, from an orthonormal start that is quicker to compute.",
        starts_from_base: true,
        ..LORA
    },
    MethodFacts {
        method: Method::Vera,
        key: "vera",
        name: "VeRA",
        advice: "A tenth of LoRA's trainable parameters: for many small adapters on one base.",
        learning_rate: HIGH_LEARNING_RATE,
        // A rank costs one number per module, and the paper takes 256.
        rank: 256,
        // The modules share their matrices, so none has its own rank.
        has_alpha: false,
        ..LORA
    },
    MethodFacts {
        method: Method::Ia3,
        key: "ia3",
        name: "IA3",
        advice: "A few thousand parameters: for small datasets and a change of style; needs a high learning rate.",
        learning_rate: HIGH_LEARNING_RATE,
        // Those of the paper.
        target_modules: &[
            TargetModule::KProj,
            TargetModule::VProj,
            TargetModule::DownProj,
        ],
        has_rank: false,
        has_alpha: false,
        // It scales the inputs of the last projection.
        scaled_outputs: &[
            TargetModule::QProj,
            TargetModule::KProj,
            TargetModule::VProj,
            TargetModule::OProj,
            TargetModule::GateProj,
            TargetModule::UpProj,
        ],
        ..LORA
    },
    MethodFacts {
        method: Method::LnTuning,
        key: "ln_tuning",
        name: "Norms",
        advice: "Only the norms' weights: the least there is to train; needs a high learning rate.",
        learning_rate: HIGH_LEARNING_RATE,
        has_modules: false,
        has_rank: false,
        has_alpha: false,
        trains_norms: true,
        ..LORA
    },
    MethodFacts {
        method: Method::PromptTuning,
        key: "prompt_tuning",
        name: "Prompt tuning",
        advice: "Learned tokens before every prompt; the model itself does not change, and nothing can be merged. Slow to learn on small models.",
        learning_rate: HIGH_LEARNING_RATE,
        has_modules: false,
        has_rank: false,
        has_alpha: false,
        has_prompt: true,
        ..LORA
    },
];

impl Method {
    /// Every method, in the order in which they are offered.
    pub const ALL: [Self; METHODS.len()] = {
        let mut all = [Self::Lora; METHODS.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = METHODS[index].method;
            assert!(all[index] as usize == index, "in the order of the enum");
            index += 1;
        }
        all
    };

    /// What is known of it.
    pub fn facts(self) -> &'static MethodFacts {
        &METHODS[self as usize]
    }
}

impl Choosable for Method {
    fn all() -> &'static [Self] {
        &Self::ALL
    }

    fn key(self) -> &'static str {
        self.facts().key
    }

    fn label(self) -> &'static str {
        self.facts().name
    }

    fn advice(self) -> Option<&'static str> {
        Some(self.facts().advice)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::{self, Deserialize, Visitor, value::Error};

    use super::Method;

    /// A deserializer that only tells which variants an enum has.
    struct Variants<'a>(&'a mut &'static [&'static str]);

    impl<'de> de::Deserializer<'de> for Variants<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(de::Error::custom("not an enum"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = variants;
            Err(de::Error::custom("only the variants are wanted"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }

    #[test]
    fn every_method_is_in_the_table() {
        let mut variants: &'static [&'static str] = &[];
        Method::deserialize(Variants(&mut variants)).unwrap_err();
        assert_eq!(variants, Method::ALL.map(|method| method.facts().key));
    }
}
