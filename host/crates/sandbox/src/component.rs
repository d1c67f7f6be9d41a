//! A compiled component, linked to the host functions.

pub(crate) mod anatomy;
pub(crate) mod bindings;
pub(crate) mod hooks;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod weigh;
pub(crate) mod wipe;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use portcullis_model::Lock;
use sha2::{Digest as _, Sha256};
use wasmtime::Module;
use wasmtime::component::InstancePre;

use crate::ComponentInfo;
use crate::component::hooks::HookIndices;
use crate::component::image::{Instrumented, NoImage};
use crate::component::wipe::{WipeIndices, WipeableCode};
use crate::direct::DirectCode;
use crate::instance::state::State;

/// A compiled component. Any number of policies can be made of it.
pub struct PolicyComponent {
    pub(crate) info: ComponentInfo,
    /// What `configure` is called in, and hooks too if instances are shared.
    pub(crate) linked: Linked,
    /// The same without the component around it, if instances are shared and it is of the usual form.
    pub(crate) direct: Option<DirectCode>,
    /// What a configured image is made of; why there can be none.
    pub(crate) image: Result<ImageSource, NoImage>,
}

/// A configured image, compiled.
#[expect(clippy::large_enum_variant, reason = "there is one for each configuration of a policy")]
pub(crate) enum Image {
    /// A component.
    Linked(Linked),
    /// Its main module, which is called directly.
    Direct(DirectCode),
}

/// What the instances that serve exchanges are made of.
#[derive(Clone, Copy)]
pub(crate) enum Code<'a> {
    /// A component.
    Linked(&'a Linked),
    /// Its main module, which is called directly.
    Direct(&'a DirectCode),
}

impl Image {
    pub(crate) fn code(&self) -> Code<'_> {
        match self {
            Self::Linked(linked) => Code::Linked(linked),
            Self::Direct(direct) => Code::Direct(direct),
        }
    }
}

impl<'a> Code<'a> {
    /// Returns the bytes of the second memory that its instances have to be wiped with, and whether wiping one went
    /// wrong; `None` if they are not wiped.
    pub(crate) fn wipe(self) -> Option<(usize, &'a AtomicBool)> {
        match self {
            Self::Linked(linked) => linked.wipe.as_ref().map(|wipe| (wipe.kept_bytes, &wipe.failed)),
            Self::Direct(direct) => direct.wipe.as_ref().map(|wipe| (wipe.bytes, &wipe.failed)),
        }
    }
}

/// Compiled code with its imports filled in, and the indices of its hooks.
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<State>,
    pub(crate) indices: HookIndices,
    /// How its instances are wiped, if they are.
    pub(crate) wipe: Option<WipeIndices>,
}

/// What configured images of a component are made of.
pub(crate) struct ImageSource {
    pub(crate) component: Instrumented,
    pub(crate) digest: [u8; 32],
    /// The code of its images that is the same in all of them, by digest.
    pub(crate) code: Lock<HashMap<[u8; 32], Module>>,
    pub(crate) wipeable: WipeableCode,
}

impl ImageSource {
    pub(crate) fn new(component: Instrumented) -> Self {
        let digest = Sha256::digest(component.borrow_owner()).into();
        Self { component, digest, code: Lock::default(), wipeable: WipeableCode::default() }
    }
}

/// What compiling gave.
#[derive(Debug)]
pub struct Compiled {
    /// The component.
    pub component: Arc<PolicyComponent>,
    /// How long it took.
    pub took: Duration,
    /// Whether the code came from the cache on disk.
    pub cached: bool,
}

impl PolicyComponent {
    /// What the component says about itself.
    #[must_use]
    pub fn info(&self) -> &ComponentInfo {
        &self.info
    }
}

impl std::fmt::Debug for PolicyComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyComponent").field("info", &self.info).finish_non_exhaustive()
    }
}
