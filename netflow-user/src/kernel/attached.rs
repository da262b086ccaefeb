//! Which interfaces are attached to, on the side that holds the links.

use netflow_common::names;

use super::{AttachOptions, Attachment, Hook, Kernel, KernelError, Link, Programs, attach::Links};
use crate::filter::DataLink;

/// An interface that is attached to. The links are here, and not where the programs are: they end with this process.
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    pub(super) how: AttachOptions,
    pub(super) links: Links,
}

impl Attached {
    fn is_without_link(&self) -> bool {
        [self.attachment.ingress, self.attachment.egress].contains(&Some(Hook::Clsact))
    }
}

impl Kernel {
    /// Attaches the meter to an interface.
    ///
    /// # Errors
    /// One line with cause and remedy; nothing is left attached.
    pub fn attach(
        &mut self,
        interface: &str,
        index: u32,
        how: &AttachOptions,
    ) -> Result<Attachment, KernelError> {
        if let (Some(filter), Link::RawIp) = (&self.filter, how.link) {
            // Its compiler, which says why, is in this process.
            filter.program(DataLink::RawIp)?;
        }
        let (attachment, links) = match &mut self.programs {
            Programs::Here(loader) => loader.attach(interface, index, how)?,
            Programs::There(process) => process.attach(interface, index, how)?,
            Programs::Gone => return Err(KernelError::Missing { name: names::PROGRAM_XDP }),
        };
        self.attached.push(Attached { attachment: attachment.clone(), how: *how, links });
        Ok(attachment)
    }

    /// What is attached, in the order in which it came.
    pub fn attachments(&self) -> Vec<&Attachment> {
        self.attached.iter().map(|attached| &attached.attachment).collect()
    }

    /// Detaches from one interface; whether it was attached. Programs that still run end before the next
    /// flip's wait returns. Of an interface that is gone only the memory of it is given back.
    pub fn detach(&mut self, index: u32) -> bool {
        let (gone, rest): (Vec<_>, Vec<_>) =
            self.attached.drain(..).partition(|attached| attached.attachment.index == index);
        self.attached = rest;
        if gone.iter().any(Attached::is_without_link) {
            match &mut self.programs {
                Programs::Here(loader) => loader.detach(index),
                Programs::There(process) => process.detach(index),
                Programs::Gone => {}
            }
        }
        !gone.is_empty()
    }

    /// Detaches everywhere. Programs that still run end before the next flip's wait returns.
    pub fn detach_all(&mut self) {
        while let Some(attached) = self.attached.first() {
            self.detach(attached.attachment.index);
        }
    }
}
