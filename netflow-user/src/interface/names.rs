//! Names of the interfaces by ifIndex, kept up to date while they are followed.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use super::selection::Links;

/// What an interface is called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InterfaceName {
    /// interfaceName: `eth0`.
    pub name: String,
    /// interfaceDescription: what the operator calls it (`ip link set eth0 alias TEXT`), where it has one.
    pub alias: Option<String>,
}

/// All names at one time, by ifIndex.
pub type Names = Arc<BTreeMap<u32, InterfaceName>>;

/// The names as they are now, for whoever tells them: cheap to clone and to ask, from any thread.
#[derive(Clone, Debug)]
pub struct InterfaceNames(watch::Receiver<Names>);

impl InterfaceNames {
    /// Names that stay as they are: of the interfaces of a capture, say, or none.
    pub fn fixed(names: BTreeMap<u32, InterfaceName>) -> Self {
        Self(watch::channel(Arc::new(names)).1)
    }

    /// The names now. Whoever keeps the result can tell by [`Arc::ptr_eq`] whether it is still the same.
    pub fn now(&self) -> Names {
        self.0.borrow().clone()
    }
}

/// Where the names are changed.
#[derive(Debug)]
pub(super) struct NamesSource(watch::Sender<Names>);

impl NamesSource {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Names::default()))
    }

    pub(super) fn names(&self) -> InterfaceNames {
        InterfaceNames(self.0.subscribe())
    }

    /// Tells them, if one is another.
    pub(super) fn update(&self, links: &Links) {
        let name =
            |link: &super::Interface| InterfaceName { name: link.name.clone(), alias: link.alias.clone() };
        let same = {
            let told = self.0.borrow();
            told.len() == links.len()
                && links.iter().all(|(index, link)| {
                    told.get(index).is_some_and(|told| told.name == link.name && told.alias == link.alias)
                })
        };
        if !same {
            let names = links.iter().map(|(index, link)| (*index, name(link))).collect();
            self.0.send_replace(Arc::new(names));
        }
    }
}
