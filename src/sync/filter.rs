//! Stage 4: which records belong to the organization's current set, by its Power BI filters.

use crate::domain::entity::Entity;
use crate::domain::filter::{Condition, FilterColumn};
use crate::domain::manifest::Manifest;
use crate::store::organizations::Organization;
use crate::store::records::Cell;

/// The filters of one entity, ready for its records.
pub(super) struct Filters {
    /// Whether the filters on what is the same for all records let any through.
    open: bool,
    fields: Vec<(Place, Condition)>,
}

enum Place {
    /// The position of a typed column.
    Column(usize),
    /// The name of a field of the organization's own.
    Custom(String),
}

impl Filters {
    pub(super) fn new(
        entity: Entity,
        filters: &[(FilterColumn, Condition)],
        manifest: &Manifest,
        organization: &Organization,
    ) -> Self {
        let mut open = true;
        let mut fields = Vec::new();
        for (column, condition) in filters {
            match column {
                FilterColumn::LmsProvider | FilterColumn::CrmProvider => {
                    // A provider's derived column exists for the entity it is chiefly read for.
                    if manifest.kind.entity() == entity {
                        open &= condition.holds(Some(&manifest.title));
                    }
                }
                FilterColumn::Organization => open &= condition.holds(Some(&organization.name)),
                FilterColumn::Field(target) if target.entity == entity => {
                    let place =
                        entity.column(&target.field).map_or_else(|| Place::Custom(target.field.clone()), Place::Column);
                    fields.push((place, condition.clone()));
                }
                FilterColumn::Field(_) => {}
            }
        }
        Filters { open, fields }
    }

    /// Returns whether a record belongs to the current set. `custom` are the organization's own fields by name.
    pub(super) fn pass(&self, columns: &[Cell<'_>], custom: &[(&str, Cell<'_>)]) -> bool {
        self.open
            && self.fields.iter().all(|(place, condition)| {
                let cell = match place {
                    Place::Column(position) => columns.get(*position),
                    Place::Custom(name) => custom.iter().find(|(known, _)| known == name).map(|(_, cell)| cell),
                };
                condition.holds(cell.and_then(Cell::text).as_deref())
            })
    }
}
