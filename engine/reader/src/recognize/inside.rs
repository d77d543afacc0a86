//! Rows that stand inside an object of the record.

use protocol::Mapping;

/// The mapping of fields inside the object `name`; a system text may stand outside.
pub(super) fn inside(name: &str, mut mapping: Mapping, outer_system: &Option<String>) -> Mapping {
    for (_, path) in mapping.parts_mut() {
        *path = format!("{name}.{path}");
    }
    if let Mapping::PromptCompletion { system, .. }
    | Mapping::Messages { system, .. }
    | Mapping::Preference { system, .. } = &mut mapping
        && system.is_none()
    {
        system.clone_from(outer_system);
    }
    mapping
}
