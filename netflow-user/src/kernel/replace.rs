//! Another meter in place of the running one, where options that are compiled into it change: no packet is missed.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::{Attachment, EntryPoint, Kernel, KernelError, LoadOptions, Programs, loader::Loader};

/// What a meter was replaced by.
pub struct Replaced {
    /// The one before, which nothing comes to any more once its programs have ended: to be flipped and drained twice, as
    /// at the end, and dropped.
    pub before: Kernel,
    /// Interfaces that are not metered any more, one line each.
    pub failed: Vec<KernelError>,
}

impl Kernel {
    /// Loads another meter beside this one, with maps of its own, and moves every link to it in one step each: a packet
    /// comes to the one or to the other. What sends this exporter's messages is known to the new one before.
    ///
    /// # Errors
    /// What [`Self::load`] says, or a program that an interface needs is refused; then the meter is as it was.
    pub fn replace(&mut self, options: &LoadOptions) -> Result<Replaced, KernelError> {
        let (mut next, loaded) = match &mut self.programs {
            Programs::Here(_) => {
                let (loader, loaded, descriptors) = Loader::load(options, None)?;
                (Self::open(Programs::Gone, options, loaded, descriptors)?, Some(loader))
            }
            Programs::There(process) => (Self::load_in(process, options)?, None),
            Programs::Gone => return Err(KernelError::Missing { name: "programs" }),
        };
        for socket in self.own_sockets.known() {
            next.leave_out(socket)?;
        }
        let links: Vec<(EntryPoint, BorrowedFd<'_>)> = self
            .attached
            .iter()
            .flat_map(|attached| &attached.links)
            .map(|(entry, link)| (*entry, link.as_fd()))
            .collect();
        let (moved, lost) = match (&mut self.programs, loaded) {
            (Programs::Here(current), Some(mut loader)) => {
                let taken = loader.take_over(&links, current)?;
                next.programs = Programs::Here(Box::new(loader));
                taken
            }
            (Programs::There(process), _) => process.take_over(&links)?,
            _ => return Err(KernelError::Missing { name: "programs" }),
        };
        let mut moved = moved.into_iter();
        let mut failed = Vec::new();
        for attached in std::mem::take(&mut self.attached) {
            let all = attached.links.iter().fold(true, |all, _| moved.next().unwrap_or(false) && all);
            let Attachment { interface, index, .. } = attached.attachment.clone();
            let how = attached.how;
            next.attached.push(attached);
            if !all || lost.contains(&index) {
                // What cannot be moved is attached anew.
                next.detach(index);
                failed.extend(next.attach(&interface, index, &how).err());
            }
        }
        let mut before = std::mem::replace(self, next);
        before.programs = Programs::Gone;
        Ok(Replaced { before, failed })
    }
}
