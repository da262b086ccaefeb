//! Golden files: a line per field, `octets # name value`.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use netflow_user::message::{
    DataType, OptionsField, OptionsTemplate, Protocol, TemplateSet, template::Template,
};

/// The octets of a golden file, without its comments.
pub fn octets(text: &str) -> Vec<u8> {
    let digits: String = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).collect();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The text of a golden file.
pub fn render(templates: &TemplateSet, remark: &str, octets: &[u8]) -> String {
    let mut text = String::new();
    for line in remark.lines() {
        writeln!(text, "# {line}").unwrap();
    }
    Renderer { templates, text, rest: octets }.message()
}

const HEADER_IPFIX: [(usize, &str); 5] =
    [(2, "Version"), (2, "Length"), (4, "Export Time"), (4, "Sequence Number"), (4, "Observation Domain ID")];
const HEADER_V9: [(usize, &str); 6] = [
    (2, "Version"),
    (2, "Count"),
    (4, "sysUpTime"),
    (4, "UNIX Secs"),
    (4, "Sequence Number"),
    (4, "Source ID"),
];

struct Renderer<'a> {
    templates: &'a TemplateSet,
    text: String,
    rest: &'a [u8],
}

impl<'a> Renderer<'a> {
    fn message(mut self) -> String {
        self.heading("Message Header");
        let header: &[(usize, &str)] = match self.templates.protocol() {
            Protocol::Ipfix => &HEADER_IPFIX,
            Protocol::NetflowV9 => &HEADER_V9,
        };
        for (length, name) in header {
            self.number(*length, name);
        }
        while !self.rest.is_empty() {
            self.set();
        }
        self.text
    }

    fn set(&mut self) {
        self.heading("Set");
        let after = self.rest;
        let id = self.number(2, "Set ID");
        let length = usize::try_from(self.number(2, "Length")).unwrap();
        let after = &after[length..];
        match self.templates.templates().iter().find(|template| u64::from(template.id) == id) {
            Some(template) => {
                while self.rest.len() - after.len() >= template.data_record_len {
                    self.data_record(template);
                }
            }
            None if id < 256 => {
                // Padding is shorter than a record.
                while self.rest.len() > after.len() + 3 {
                    if matches!(id, 1 | 3) { self.options_template_record() } else { self.template_record() }
                }
            }
            None => {
                let template = self.options_template(id);
                let shortest: usize =
                    template.fields.iter().map(|field| usize::from(field.length % 65_535)).sum();
                while self.rest.len() - after.len() >= shortest {
                    self.options_record(&template);
                }
            }
        }
        let padding = self.rest.len() - after.len();
        if padding > 0 {
            self.field(padding, "padding");
        }
    }

    fn template_record(&mut self) {
        self.heading("Template Record");
        let id = self.number(2, "Template ID");
        let template =
            self.templates.templates().iter().find(|template| u64::from(template.id) == id).unwrap();
        self.number(2, "Field Count");
        for field in &template.fields {
            let whose = match field.enterprise_number {
                0 => String::new(),
                number => format!(" of enterprise {number}"),
            };
            let text = format!("{} {}{whose}, {} octets", field.id(), field.name(), field.length);
            self.field(field.specifier_len(), &text);
        }
    }

    fn options_template(&self, id: u64) -> OptionsTemplate {
        **self.templates.options_templates().iter().find(|template| u64::from(template.id) == id).unwrap()
    }

    fn options_template_record(&mut self) {
        self.heading("Options Template Record");
        let id = self.number(2, "Template ID");
        let template = self.options_template(id);
        match self.templates.protocol() {
            Protocol::Ipfix => {
                self.number(2, "Field Count");
                self.number(2, "Scope Field Count");
            }
            Protocol::NetflowV9 => {
                self.number(2, "Option Scope Length");
                self.number(2, "Option Length");
            }
        }
        for (place, field) in template.fields.iter().enumerate() {
            let scope = if place < template.scopes { ", scope" } else { "" };
            self.field(4, &format!("{} {}, {} octets{scope}", field.id, field.name, field.length));
        }
    }

    fn options_record(&mut self, template: &OptionsTemplate) {
        self.heading("Options Data Record");
        for field in template.fields {
            match (field.name, field.length) {
                (name, OptionsField::VARIABLE) => {
                    let length = usize::from(self.rest[0]);
                    let text = String::from_utf8(self.rest[1..=length].to_vec()).unwrap();
                    self.field(length + 1, &format!("{name} {text:?}"));
                }
                (name @ ("interfaceName" | "interfaceDescription"), length) => {
                    let text = String::from_utf8(self.rest[..length.into()].to_vec()).unwrap();
                    self.field(length.into(), &format!("{name} {:?}", text.trim_end_matches('\0')));
                }
                (name @ "samplingProbability", _) => {
                    let value = f64::from_be_bytes(self.rest[..8].try_into().unwrap());
                    self.field(8, &format!("{name} {value}"));
                }
                (name, length) => {
                    self.number(length.into(), name);
                }
            }
        }
    }

    fn data_record(&mut self, template: &Template) {
        self.heading("Data Record");
        for field in &template.fields {
            let length = usize::from(field.length);
            let octets = &self.rest[..length];
            match field.element.data_type() {
                DataType::Ipv4Address => {
                    let address = Ipv4Addr::from(<[u8; 4]>::try_from(octets).unwrap());
                    self.field(length, &format!("{} {address}", field.name()));
                }
                DataType::Ipv6Address => {
                    let address = Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap());
                    self.field(length, &format!("{} {address}", field.name()));
                }
                DataType::MacAddress => {
                    let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
                    self.field(length, &format!("{} {}", field.name(), digits.join(":")));
                }
                _ => {
                    self.number(length, field.name());
                }
            }
        }
    }

    fn heading(&mut self, name: &str) {
        writeln!(self.text, "\n# {name}").unwrap();
    }

    fn number(&mut self, length: usize, name: &str) -> u64 {
        let value = self.rest[..length].iter().fold(0, |value, &octet| value << 8 | u64::from(octet));
        self.field(length, &format!("{name} {value}"));
        value
    }

    fn field(&mut self, length: usize, comment: &str) {
        let (octets, rest) = self.rest.split_at(length);
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        writeln!(self.text, "{hex:<16} # {comment}").unwrap();
        self.rest = rest;
    }
}
