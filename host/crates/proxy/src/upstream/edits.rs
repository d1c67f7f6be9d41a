//! Changes of an upstream's endpoints by an operator, while exchanges run.

use portcullis_model::Name;
use portcullis_traffic::{Edit, EditError};

use super::SharedUpstream;

impl SharedUpstream {
    /// Changes an endpoint. The change holds until it is undone or the process ends, for as long as the upstream and
    /// the endpoint are in the configuration.
    ///
    /// # Errors
    /// If it cannot be changed so.
    pub(crate) fn edit(&self, address: &Name, edit: Edit) -> Result<(), EditError> {
        let mut edits = self.edits.lock();
        edits.edit(&self.config.endpoints, address, edit)?;
        // Under the lock, so that of two changes at once the later one is published last.
        self.replace(&edits.apply(&self.config.endpoints));
        Ok(())
    }

    /// Takes over changes that were made since it was built: it is part of the running generation from now on.
    pub(crate) fn begin(&self) {
        let mut edits = self.edits.lock();
        let were_there = edits.words().next().is_some();
        edits.follow(&self.config.endpoints);
        if were_there {
            self.replace(&edits.apply(&self.config.endpoints));
        }
    }

    /// Returns the endpoints that were changed, each with a word for how.
    pub(crate) fn edits(&self) -> Vec<(Name, &'static str)> {
        self.edits.lock().words().map(|(address, word)| (address.clone(), word)).collect()
    }
}
