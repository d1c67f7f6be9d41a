//! What routes do with a request that their policies have permitted: a file for each action.

pub(crate) mod forward;
