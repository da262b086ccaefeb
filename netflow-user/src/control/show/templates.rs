//! `netflow show templates`: what records look like on the wire.

use super::table::Table;
use crate::control::Templates;

/// The length that means: each value says it (RFC 7011 section 7).
const VARIABLE: u16 = 65_535;

/// The templates as lines.
pub fn templates(answer: &Templates) -> Vec<String> {
    let mut lines = Vec::new();
    if answer.templates.is_empty() {
        lines.push("no templates: NetFlow v5 has a fixed record".to_owned());
    }
    for template in &answer.templates {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let kind = if template.is_options { "options template" } else { "template" };
        let octets =
            template.record_octets.map_or_else(String::new, |octets| format!(", {octets} octets a record"));
        lines.push(format!("{}: {kind} {}{octets}", template.collector, template.id));
        let mut table =
            Table::new(2, ["  Element", if template.is_options { "Scope" } else { "Key" }, "Id", "Octets"]);
        for field in &template.fields {
            let id = match field.enterprise_number {
                0 => field.id.to_string(),
                enterprise => format!("{enterprise}/{}", field.id),
            };
            let octets = if field.octets == VARIABLE { "any".to_owned() } else { field.octets.to_string() };
            let key = if field.is_key { "yes" } else { "" };
            table.push(vec![format!("  {}", field.name), key.to_owned(), id, octets]);
        }
        lines.extend(table.lines());
    }
    lines
}
