//! Answers as text for people.

mod explanation;
mod export;
pub mod flows;
mod interfaces;
mod ledger;
mod summary;
pub mod table;
mod templates;

pub use self::{
    explanation::explanation, export::export, flows::flows, interfaces::interfaces, ledger::ledger,
    summary::summary, templates::templates,
};
