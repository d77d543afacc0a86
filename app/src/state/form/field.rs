//! The fields of the form: the settings of [`protocol::SETTINGS`], which says what each is called and does.

use protocol::{Group, SETTINGS, Setting};

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Field(usize);

impl Field {
    /// The field of a setting, by its name in recipes. As a constant, a name that no setting has does not compile.
    pub const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < SETTINGS.len() {
            if is_same(SETTINGS[index].name.as_bytes(), name.as_bytes()) {
                return Self(index);
            }
            index += 1;
        }
        panic!("a setting has this name")
    }

    /// All fields, in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SETTINGS.len()).map(Self)
    }

    /// The fields of a part of the page.
    pub fn of(group: Group) -> impl Iterator<Item = Self> {
        Self::all().filter(move |field| field.setting().group == group)
    }

    /// Its line of the table.
    pub fn setting(self) -> &'static Setting {
        &SETTINGS[self.0]
    }

    /// Whether there is a control for it. What is typed about rows has none.
    pub fn is_on_page(self) -> bool {
        self.setting().group != Group::Rows || !self.setting().is_typed()
    }

    /// The field's accessible name.
    pub fn label(self) -> &'static str {
        self.setting().label
    }

    pub(super) fn index(self) -> usize {
        self.0
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}
