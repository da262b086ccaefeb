//! What is shown of a session.

use crate::{
    control::{FieldLine, TemplateLine},
    message::{OptionsField, OptionsTemplate, TemplateSet, template::Template},
};

/// What a session is and stays.
#[derive(Clone, Debug)]
pub(in crate::agent) struct About {
    /// What is spoken.
    pub(in crate::agent) protocol: &'static str,
    /// Where the collector was when the session began.
    pub(in crate::agent) peer: String,
    /// Whether messages may get lost, so that templates are repeated.
    pub(in crate::agent) is_lossy: bool,
    /// Without the collector's name.
    pub(in crate::agent) templates: Vec<TemplateLine>,
}

/// The templates of a session in words.
pub(super) fn templates(set: &TemplateSet) -> Vec<TemplateLine> {
    let flows = set.templates().iter().map(of_flows);
    flows.chain(set.options_templates().iter().map(|template| of_options(template))).collect()
}

fn of_flows(template: &Template) -> TemplateLine {
    let fields = template.fields.iter().map(|field| FieldLine {
        name: field.name().to_owned(),
        id: field.id(),
        enterprise_number: field.enterprise_number,
        octets: field.length,
        is_key: field.is_key,
    });
    TemplateLine {
        collector: String::new(),
        id: template.id,
        is_options: false,
        record_octets: Some(template.data_record_len),
        fields: fields.collect(),
    }
}

fn of_options(template: &OptionsTemplate) -> TemplateLine {
    let fields = template.fields.iter().enumerate().map(|(place, field)| FieldLine {
        name: field.name.to_owned(),
        id: field.id,
        enterprise_number: 0,
        octets: field.length,
        is_key: place < template.scopes,
    });
    let is_fixed = template.fields.iter().all(|field| field.length != OptionsField::VARIABLE);
    let octets = template.fields.iter().map(|field| usize::from(field.length)).sum();
    TemplateLine {
        collector: String::new(),
        id: template.id,
        is_options: true,
        record_octets: is_fixed.then_some(octets),
        fields: fields.collect(),
    }
}
