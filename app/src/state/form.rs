//! The form's texts and the numbers in them. What a person types is kept as typed; it is read leniently, and what
//! cannot be read has a sentence that says so.

mod field;
mod parse;

pub use field::Field;
pub use parse::{layers, modules, number, pattern, real, whole};

use protocol::{
    AdapterId, AdapterSpec, ControlTokens, Conversation, DataSpec, FileSide, FindingKind,
    GenerationSpec, LrSchedulerType, MergedKind, Method, Preamble, PrecisionChoice, RunSpec, Side,
    TargetModule, TrainOn,
};

use field::Kind;

/// The texts of all fields as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    texts: [String; Field::ALL.len()],
    /// Findings whose rows are left out, each once and in their order.
    pub leave_out: Vec<FindingKind>,
    pub control_tokens: ControlTokens,
    /// What the rows of some files are for, other than by their names.
    pub file_sides: Vec<FileSide>,
    pub train_on: TrainOn,
    pub method: Method,
    /// The adapter to go on with; a new one where there is none.
    pub initial_adapter: Option<AdapterId>,
    pub train_norms: bool,
    pub train_head: bool,
    pub scheduler: LrSchedulerType,
    pub precision: PrecisionChoice,
    pub packing: bool,
    pub group_by_length: bool,
    /// The type of the merged model's weights, if it is saved as GGUF.
    pub gguf_type: MergedKind,
    pub prompt: String,
    /// Empty if the conversation has none; the chat template may then write its own.
    pub system_prompt: String,
    /// Whether answers continue the text as it is, without the chat template.
    pub as_text: bool,
    /// Whether the model gets the tools of the dataset's rows.
    pub offers_tools: bool,
    /// How the dataset's rows begin, and whether they are plain text.
    suggested: (Preamble, bool),
    /// The sequence length that fits the model, as last filled in.
    fitting_length: String,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            texts: Field::ALL.map(|field| field.default_text().to_owned()),
            leave_out: Vec::new(),
            control_tokens: ControlTokens::default(),
            file_sides: Vec::new(),
            train_on: TrainOn::default(),
            method: Method::Lora,
            initial_adapter: None,
            train_norms: false,
            train_head: false,
            scheduler: LrSchedulerType::Cosine,
            precision: PrecisionChoice::Automatic,
            packing: false,
            group_by_length: false,
            gguf_type: MergedKind::GgufQ8_0,
            prompt: String::new(),
            system_prompt: String::new(),
            as_text: false,
            offers_tools: true,
            suggested: (Preamble::default(), false),
            fitting_length: Field::SequenceLength.default_text().to_owned(),
        }
    }
}

/// What a field holds at first under a method that has a say in it.
fn first_text(method: Method, field: Field) -> String {
    let facts = method.facts();
    match field {
        Field::Rank => facts.rank.to_string(),
        Field::LearningRate => facts.learning_rate.to_string(),
        Field::TargetModules => names(facts.target_modules.iter().copied()),
        _ => field.default_text().to_owned(),
    }
}

fn names(modules: impl Iterator<Item = TargetModule>) -> String {
    modules
        .map(TargetModule::name)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Form {
    pub fn text(&self, field: Field) -> &str {
        &self.texts[field as usize]
    }

    pub fn set(&mut self, field: Field, text: impl Into<String>) {
        self.texts[field as usize] = text.into();
    }

    /// Why the field's text cannot be used, if so.
    pub fn error(&self, field: Field) -> Option<String> {
        let text = self.text(field);
        match field.kind() {
            Kind::Whole { .. } => whole(field, text).err(),
            Kind::Real { .. } => real(field, text).err(),
            Kind::Modules => modules(text).err(),
            Kind::Layers => layers(text).err(),
            Kind::Pattern if field == Field::RankPattern => pattern::<usize>(field, text).err(),
            Kind::Pattern => pattern::<f64>(field, text).err(),
        }
    }

    /// The chosen modules, as far as they can be read.
    pub fn target_modules(&self) -> Vec<TargetModule> {
        modules(self.text(Field::TargetModules)).unwrap_or_default()
    }

    /// Adds or removes the module; the text is rewritten in the order of the forward pass.
    pub fn toggle_module(&mut self, module: TargetModule) {
        let mut chosen = self.target_modules();
        match chosen.iter().position(|&known| known == module) {
            Some(at) => {
                chosen.remove(at);
            }
            None => chosen.push(module),
        }
        self.set_modules(&chosen);
    }

    pub fn set_modules(&mut self, chosen: &[TargetModule]) {
        let all = TargetModule::ALL.into_iter();
        self.set(
            Field::TargetModules,
            names(all.filter(|module| chosen.contains(module))),
        );
    }

    /// Leaves out the rows of a finding, or puts them back.
    pub fn toggle_left_out(&mut self, kind: FindingKind) {
        match self.leave_out.iter().position(|&known| known == kind) {
            Some(at) => {
                self.leave_out.remove(at);
            }
            None => self.leave_out.push(kind),
        }
        self.leave_out.sort_unstable();
    }

    /// Says what a file's rows are for; nothing is noted where that is what its name says anyway.
    pub fn choose_side(&mut self, file: &str, by_name: Option<Side>, side: Side) {
        self.file_sides.retain(|known| known.file != file);
        if side != by_name.unwrap_or(Side::Train) {
            let file = file.to_owned();
            self.file_sides.push(FileSide { file, side });
        }
    }

    fn whole(&self, field: Field) -> Result<u64, Field> {
        whole(field, self.text(field)).map_err(|_| field)
    }

    fn size(&self, field: Field) -> Result<usize, Field> {
        usize::try_from(self.whole(field)?).map_err(|_| field)
    }

    fn real(&self, field: Field) -> Result<f64, Field> {
        real(field, self.text(field)).map_err(|_| field)
    }

    /// How rows become examples, or the first field that stands in the way.
    pub fn data_spec(&self) -> Result<DataSpec, Field> {
        Ok(DataSpec {
            train_on: self.train_on,
            max_seq_length: self.size(Field::SequenceLength)?,
            validation_split: self.real(Field::ValidationSplit)?,
            test_split: self.real(Field::TestSplit)?,
            seed: self.whole(Field::Seed)?,
            leave_out: self.leave_out.clone(),
            control_tokens: self.control_tokens,
            file_sides: self.file_sides.clone(),
        })
    }

    /// Chooses the method. What is as the last one had it to begin with becomes as this one has it.
    pub fn choose(&mut self, method: Method) {
        let before = std::mem::replace(&mut self.method, method);
        for field in [Field::Rank, Field::TargetModules, Field::LearningRate] {
            if self.text(field) == first_text(before, field) {
                self.set(field, first_text(method, field));
            }
        }
    }

    /// Whether the field means anything to the chosen method, or to an adapter that is gone on with.
    pub fn has(&self, field: Field) -> bool {
        let is_of_form = field != Field::Dropout && field.is_of_adapter();
        if self.initial_adapter.is_some() && is_of_form {
            return false;
        }
        let facts = self.method.facts();
        match field {
            Field::Rank | Field::Dropout => facts.has_rank,
            Field::Alpha | Field::RankPattern | Field::AlphaPattern => facts.has_alpha,
            Field::TargetModules | Field::Layers => facts.has_modules,
            Field::LrRatio => facts.has_lr_ratio,
            Field::VirtualTokens => facts.has_prompt,
            _ => true,
        }
    }

    /// Whether rows can be packed under the chosen method; of an adapter that is gone on with the plan says it.
    pub fn goes_with_packing(&self) -> bool {
        self.initial_adapter.is_some() || !self.method.facts().has_prompt
    }

    /// Whether norms and the head can be trained along with the chosen method, of a new adapter.
    pub fn goes_with_saved_modules(&self) -> bool {
        self.initial_adapter.is_none() && self.method.facts().has_modules
    }

    /// The adapter, or the first field that stands in the way. What the method has no use for is as at first.
    fn adapter_spec(&self) -> Result<AdapterSpec, Field> {
        let mut spec = AdapterSpec::default();
        // What is gone on with has a form already.
        if self.initial_adapter.is_none() {
            spec.method = self.method;
            let is_saved = self.goes_with_saved_modules();
            spec.train_norms = self.train_norms && is_saved;
            spec.train_head = self.train_head && is_saved;
        }
        if self.has(Field::Rank) {
            spec.r = self.size(Field::Rank)?;
        }
        if self.has(Field::Dropout) {
            spec.lora_dropout = self.real(Field::Dropout)?;
        }
        if self.has(Field::Alpha) {
            spec.lora_alpha = self.real(Field::Alpha)?;
            let ranks = pattern(Field::RankPattern, self.text(Field::RankPattern));
            spec.rank_pattern = ranks.map_err(|_| Field::RankPattern)?;
            let alphas = pattern(Field::AlphaPattern, self.text(Field::AlphaPattern));
            spec.alpha_pattern = alphas.map_err(|_| Field::AlphaPattern)?;
        }
        if self.has(Field::TargetModules) {
            spec.target_modules =
                modules(self.text(Field::TargetModules)).map_err(|_| Field::TargetModules)?;
            spec.layers_to_transform =
                layers(self.text(Field::Layers)).map_err(|_| Field::Layers)?;
        }
        if self.has(Field::LrRatio) {
            spec.loraplus_lr_ratio = self.real(Field::LrRatio)?;
        }
        if self.has(Field::VirtualTokens) {
            spec.num_virtual_tokens = self.size(Field::VirtualTokens)?;
        }
        Ok(spec)
    }

    /// The run, or the first field that stands in the way.
    pub fn run_spec(&self) -> Result<RunSpec, Field> {
        Ok(RunSpec {
            adapter: self.adapter_spec()?,
            initial_adapter: self.initial_adapter,
            data: self.data_spec()?,
            learning_rate: self.real(Field::LearningRate)?,
            lr_scheduler_type: self.scheduler,
            warmup_ratio: self.real(Field::WarmUp)?,
            weight_decay: self.real(Field::WeightDecay)?,
            max_grad_norm: self.real(Field::Clipping)?,
            precision: self.precision,
            num_train_epochs: self.real(Field::Epochs)?,
            max_steps: self.whole(Field::MaxSteps)?,
            per_device_train_batch_size: self.size(Field::BatchSize)?,
            gradient_accumulation_steps: self.size(Field::GradientAccumulation)?,
            packing: self.packing && self.goes_with_packing(),
            group_by_length: self.group_by_length,
            eval_steps: self.whole(Field::EvaluateEvery)?,
            seed: self.whole(Field::Seed)?,
            ..RunSpec::default()
        })
    }

    /// Makes a chat begin like the rows of the dataset; what the user changed stays.
    pub fn suggest(&mut self, preamble: Preamble, is_text: bool) {
        let (known, was_text) = &self.suggested;
        if self.system_prompt == known.system_prompt {
            self.system_prompt.clone_from(&preamble.system_prompt);
        }
        if self.as_text == *was_text {
            self.as_text = is_text;
        }
        self.suggested = (preamble, is_text);
    }

    /// Fills in the usual sequence length, or the model's context in tokens where that is shorter; what the user changed
    /// stays.
    pub fn fit_length(&mut self, context: usize) {
        let usual = Field::SequenceLength.default_text();
        let is_short =
            whole(Field::SequenceLength, usual).is_ok_and(|usual| (context as u64) < usual);
        let fitting = match is_short {
            true => context.to_string(),
            false => usual.to_owned(),
        };
        if self.text(Field::SequenceLength) == self.fitting_length {
            self.set(Field::SequenceLength, fitting.clone());
        }
        self.fitting_length = fitting;
    }

    /// JSON of each tool that the dataset's rows offer.
    pub fn tools(&self) -> &[String] {
        &self.suggested.0.tools
    }

    /// Whether the system prompt is the one that most of the dataset's rows have.
    pub fn has_system_prompt_of_data(&self) -> bool {
        let known = &self.suggested.0.system_prompt;
        !known.is_empty() && *known == self.system_prompt
    }

    /// What comes before the first turn of a chat.
    pub fn preamble(&self, as_text: bool) -> Preamble {
        if as_text {
            return Preamble::default();
        }
        Preamble {
            system_prompt: self.system_prompt.clone(),
            tools: match self.offers_tools {
                true => self.tools().to_vec(),
                false => Vec::new(),
            },
        }
    }

    /// The question, or the first field that stands in the way.
    pub fn generation_spec(
        &self,
        conversations: Vec<Conversation>,
        as_text: bool,
    ) -> Result<GenerationSpec, Field> {
        Ok(GenerationSpec {
            conversations,
            as_text,
            max_new_tokens: self.size(Field::MaxNewTokens)?,
            temperature: self.real(Field::Temperature)?,
            top_k: self.size(Field::TopK)?,
            top_p: self.real(Field::TopP)?,
            repetition_penalty: self.real(Field::RepetitionPenalty)?,
            seed: self.whole(Field::Variation)?,
        })
    }
}
