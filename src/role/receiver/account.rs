//! What the receiver removes: what stands in the way of a backup.
//!
//! Its deletions are counted, limited and told apart from the generator's.

use super::Work;
use crate::{
    dest::{
        Dest,
        delete::{Removals, Remover},
    },
    error::Result,
    filter::Filters,
    log::Log,
    role::{Deletions, Transfer, check_going_on},
};

/// Takes the name of something deleted to the client.
pub type Message = Box<dyn Fn(&[u8]) + Send>;

/// What is remembered about deletions.
pub(super) struct Account {
    pub removals: Removals,
    filters: Filters,
    deletions: Deletions,
    message: Message,
}

impl Account {
    pub fn new(transfer: &Transfer, dest: Dest<'_>, log: &Log, given: Given) -> Self {
        let Given { mut filters, filesystem, message } = given;
        filters.start_at(&dest.names.base);
        Self {
            removals: transfer.removals(dest, filesystem),
            filters,
            deletions: Deletions::new(transfer, log, false),
            message,
        }
    }
}

/// What the session knows about deletions here.
pub struct Given {
    /// What is spared.
    pub filters: Filters,
    /// The device that the destination stands on.
    pub filesystem: u64,
    pub message: Message,
}

impl Work<'_> {
    /// Lets something remove things at the destination; deletions are told as they happen, and end when the run does.
    pub(super) fn removing<T>(&mut self, act: impl FnOnce(&mut Remover<'_>) -> T) -> Result<T> {
        let Self { dest, log, account, .. } = self;
        let Account { removals, filters, deletions, message } = account;
        let each = |path: &[u8], mode: u32| {
            deletions.happened(path, mode, |name| message(name));
            check_going_on(log)
        };
        removals.through(*dest, filters, each, act)
    }
}
