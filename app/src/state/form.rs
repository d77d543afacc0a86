//! The form's texts and the numbers in them. What a person types is kept as typed; it is read leniently, and what
//! cannot be read has a sentence that says so.

mod field;
mod parse;

pub use field::Field;
pub use parse::{modules, number};

use protocol::{
    Access, Conversation, DataSpec, FileSide, FindingKind, GenerationSpec, Group, MergedKind,
    Method, Preamble, RunSpec, Setting, Settings, Side, TargetModule,
};

/// The texts of all fields as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// By field; empty where nothing is typed.
    texts: Vec<String>,
    /// What is chosen rather than typed; what is typed is as at first in here.
    pub settings: Settings,
    /// The method of the adapter that is continued, if one is.
    pub continued: Method,
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
            texts: Field::all().map(first_text).collect(),
            settings: Settings::default(),
            continued: Method::default(),
            gguf_type: MergedKind::GgufQ8_0,
            prompt: String::new(),
            system_prompt: String::new(),
            as_text: false,
            offers_tools: true,
            suggested: (Preamble::default(), false),
            fitting_length: first_text(LENGTH),
        }
    }
}

const LENGTH: Field = Field::named("max_seq_length");
const MODULES: Field = Field::named("target_modules");

/// What a field holds at first.
fn first_text(field: Field) -> String {
    field.setting().text(&Settings::default())
}

fn names(modules: impl Iterator<Item = TargetModule>) -> String {
    modules
        .map(TargetModule::name)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Form {
    pub fn text(&self, field: Field) -> &str {
        &self.texts[field.index()]
    }

    pub fn set(&mut self, field: Field, text: impl Into<String>) {
        self.texts[field.index()] = text.into();
    }

    /// Why the field's text cannot be used, if so.
    pub fn error(&self, field: Field) -> Option<String> {
        let mut settings = self.as_far_as_readable();
        let setting = field.setting();
        let text = self.text(field);
        parse::read(setting, text, &mut settings).err().or_else(|| {
            let what = setting.problems(&settings).into_iter().next()?;
            Some(format!("{}: {what}", setting.label))
        })
    }

    /// The chosen modules, as far as they can be read.
    pub fn target_modules(&self) -> Vec<TargetModule> {
        modules(self.text(MODULES)).unwrap_or_default()
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
        self.set(MODULES, names(all.filter(|module| chosen.contains(module))));
    }

    /// Leaves out the rows of a finding, or puts them back.
    pub fn toggle_left_out(&mut self, kind: FindingKind) {
        let left_out = &mut self.settings.run.data.leave_out;
        match left_out.iter().position(|&known| known == kind) {
            Some(at) => {
                left_out.remove(at);
            }
            None => left_out.push(kind),
        }
        left_out.sort_unstable();
    }

    /// Says what a file's rows are for; nothing is noted where that is what its name says anyway.
    pub fn choose_side(&mut self, file: &str, by_name: Option<Side>, side: Side) {
        let sides = &mut self.settings.run.data.file_sides;
        sides.retain(|known| known.file != file);
        if side != by_name.unwrap_or(Side::Train) {
            let file = file.to_owned();
            sides.push(FileSide { file, side });
        }
    }

    /// Fills in the settings of an earlier run, with a new adapter.
    pub fn take(&mut self, run: &RunSpec) {
        let run = Settings::from(run);
        self.settings.run.initial_adapter = None;
        let is_taken = |field: &Field| field.setting().group.is_of_run() && field.is_on_page();
        for field in Field::all().filter(is_taken) {
            match field.setting().is_typed() {
                true => self.set(field, field.setting().text(&run)),
                false => field.setting().copy(&run, &mut self.settings),
            }
        }
    }

    /// What was found about other rows says nothing about new ones; what a recipe says of them does.
    pub fn begin_rows(&mut self, recipe: Option<&RunSpec>) {
        let rows = recipe.map(Settings::from).unwrap_or_default();
        for field in Field::of(Group::Rows).filter(|field| field.is_on_page()) {
            field.setting().copy(&rows, &mut self.settings);
        }
    }

    /// The index of what is chosen of a setting's few values.
    pub fn chosen(&self, field: Field) -> usize {
        match &field.setting().access {
            Access::Choice(choice) => choice.chosen(&self.settings),
            _ => 0,
        }
    }

    /// Chooses one of a setting's few values. What is as the last method had it to begin with becomes as this one has it.
    pub fn choose(&mut self, field: Field, index: usize) {
        let Access::Choice(choice) = &field.setting().access else {
            return;
        };
        let before = Settings::from(&RunSpec::of_method(self.method()));
        choice.choose(&mut self.settings, index);
        let after = Settings::from(&RunSpec::of_method(self.method()));
        for field in Field::all().filter(|field| field.setting().is_typed()) {
            let text = field.setting().text(&after);
            let was = field.setting().text(&before);
            if text != was && *self.text(field) == was {
                self.set(field, text);
            }
        }
    }

    /// Whether a setting that can be on or off is on.
    pub fn is_on(&self, field: Field) -> bool {
        match &field.setting().access {
            Access::Switch(at) => *(at.get)(&self.settings),
            _ => false,
        }
    }

    pub fn switch(&mut self, field: Field, is_on: bool) {
        if let Access::Switch(at) = &field.setting().access {
            *(at.get_mut)(&mut self.settings) = is_on;
        }
    }

    fn method(&self) -> Method {
        self.settings.run.adapter.method
    }

    /// Whether the field means anything to the chosen method, or to an adapter that is gone on with.
    pub fn has(&self, field: Field) -> bool {
        let setting = field.setting();
        match self.settings.run.initial_adapter {
            // What is gone on with has a form already, and its method is not the form's.
            Some(_) => !setting.is_of_adapter && (setting.is_used)(self.continued.facts()),
            None => (setting.is_used)(self.method().facts()),
        }
    }

    /// Some of the settings as the form says, or the first field that stands in the way. What the method has no use for
    /// is as at first.
    fn read(&self, is_wanted: fn(&Setting) -> bool) -> Result<Settings, Field> {
        let mut settings = Settings::default();
        settings.run.initial_adapter = self.settings.run.initial_adapter;
        let is_read =
            |field: &Field| is_wanted(field.setting()) && field.is_on_page() && self.has(*field);
        for field in Field::all().filter(is_read) {
            self.read_field(field, &mut settings).map_err(|_| field)?;
        }
        settings.run.data.seed = settings.run.seed;
        let is_bad = |field: &Field| !field.setting().problems(&settings).is_empty();
        match Field::all().filter(is_read).find(is_bad) {
            Some(field) => Err(field),
            None => Ok(settings),
        }
    }

    fn read_field(&self, field: Field, settings: &mut Settings) -> Result<(), String> {
        let setting = field.setting();
        if setting.is_typed() {
            return parse::read(setting, self.text(field), settings);
        }
        setting.copy(&self.settings, settings);
        Ok(())
    }

    /// All settings, as at first where they cannot be read.
    fn as_far_as_readable(&self) -> Settings {
        let mut settings = Settings::default();
        for field in Field::all().filter(|field| self.has(*field)) {
            // What is wrong is told of the field itself.
            let _ = self.read_field(field, &mut settings);
        }
        settings
    }

    /// How rows become examples, or the first field that stands in the way.
    pub fn data_spec(&self) -> Result<DataSpec, Field> {
        let read = self.read(|setting| setting.group.is_of_data() || setting.name == "seed");
        Ok(read?.run.data)
    }

    /// The run, or the first field that stands in the way.
    pub fn run_spec(&self) -> Result<RunSpec, Field> {
        Ok(self.read(|setting| setting.group.is_of_run())?.run)
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
        let usual = Settings::default().run.data.max_seq_length;
        let fitting = usual.min(context).to_string();
        if self.text(LENGTH) == self.fitting_length {
            self.set(LENGTH, fitting.clone());
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
        let read = self.read(|setting| !setting.group.is_of_run())?;
        Ok(GenerationSpec {
            conversations,
            as_text,
            ..read.generation
        })
    }
}
