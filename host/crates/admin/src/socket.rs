//! The control socket: a file that belongs to one gateway for as long as it runs.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::private_folder::{self, Turn};
use crate::request::Requests;
use crate::{server, web};

/// Connections at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 16;
/// For a gateway that has the socket to accept a connection, which the kernel does for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A control socket that is open. Dropping it ends its connections and removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// Device and inode of the file, so that only our own file is ever removed.
    file: (u64, u64),
    task: JoinHandle<()>,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The folder is not suitable.
    #[error("the folder {} cannot hold a control socket: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A running gateway has it.
    #[error("another gateway that runs has the control socket {}", path.display())]
    Held {
        /// The socket.
        path: PathBuf,
    },
    /// There is another file of that name.
    #[error("{} is there and no socket", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the control socket {} cannot be made: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Opens the socket at `path` and answers the requests of `requests`. The socket of a gateway that was killed is
    /// replaced.
    ///
    /// # Errors
    /// If the folder cannot be created or others can write to it, or if a running gateway has the socket.
    pub async fn open<H: Send + Sync + 'static>(
        path: &Path,
        requests: Requests<H>,
    ) -> Result<Self, SocketError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let unfit = |reason: String| SocketError::Folder { path: folder.to_path_buf(), reason };
        private_folder::make(folder).map_err(|error| unfit(error.to_string()))?;
        private_folder::check_private(folder).map_err(unfit)?;
        // Two gateways that start at once must not each replace the other's new socket as a stale one.
        let turn = Turn::take(folder).await.map_err(|error| unfit(error.to_string()))?;
        let io = |source| SocketError::Io { path: path.to_path_buf(), source };
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                check_stale(path).await?;
                std::fs::remove_file(path).and_then(|()| UnixListener::bind(path)).map_err(io)?
            }
            bound => bound.map_err(io)?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        let file = identity(path).map_err(io)?;
        drop(turn);
        let requests = Arc::new(requests);
        let serve = move |stream| server::serve(stream, requests.clone());
        let task = tokio::spawn(web::accept(listener, CONNECTIONS_MAX, serve));
        Ok(Self { path: path.to_path_buf(), file, task })
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Checks that the folder of a socket at `path` is suitable, as far as that shows without creating it, whichever user
/// asks.
///
/// # Errors
/// If others can write to it.
pub fn check_socket_folder(path: &Path) -> Result<(), SocketError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    private_folder::check_mode_of(folder)
        .map_err(|reason| SocketError::Folder { path: folder.to_path_buf(), reason })
}

/// Returns whether `path` is a socket on which no process listens.
async fn check_stale(path: &Path) -> Result<(), SocketError> {
    let io = |source| SocketError::Io { path: path.to_path_buf(), source };
    let meta = std::fs::symlink_metadata(path).map_err(io)?;
    if !meta.file_type().is_socket() {
        return Err(SocketError::Occupied { path: path.to_path_buf() });
    }
    let held = || SocketError::Held { path: path.to_path_buf() };
    match tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // A full queue also has a listener.
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(io(error)),
        _ => Err(held()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Another process that has the turn now finds our socket without a listener, and replaces it.
        let Ok(_turn) = Turn::try_take(folder) else { return };
        if identity(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("the control socket {} cannot be removed: {error}", self.path.display());
        }
    }
}
