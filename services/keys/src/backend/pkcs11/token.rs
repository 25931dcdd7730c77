//! A token: its library, loaded once for the process, and a pool of sessions that are logged in.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::error::{Error as Fault, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use runtime::config::Secret;

use super::Trouble;

/// More than any installation has on one token; beyond that the handles are looked up again.
const HANDLES_MAX: usize = 10_000;

/// Libraries of this process. They are initialised once and never finalised, because `C_Finalize` would end the
/// sessions of everybody.
static LIBRARIES: OnceLock<Mutex<HashMap<PathBuf, Library>>> = OnceLock::new();

/// Loads a library, or gives the one that is loaded.
pub fn load(module: &Path) -> Result<Library, Fault> {
    let libraries = LIBRARIES.get_or_init(Mutex::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = libraries.get(module) {
        return Ok(library.clone());
    }
    let library = Library::new(module)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Under another path, or by somebody else in this process.
        Ok(()) | Err(Fault::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(fault) => return Err(fault),
    }
    libraries.insert(module.to_owned(), library.clone());
    Ok(library)
}

/// See the module.
pub(super) struct Token {
    module: PathBuf,
    label: String,
    pin: Secret,
    idle: Mutex<Vec<Session>>,
    handles: Mutex<HashMap<Vec<u8>, ObjectHandle>>,
    /// A token locks itself after a few wrong PINs, and the health check alone would do that in a minute.
    pin_refused: AtomicBool,
}

impl Token {
    pub(super) fn new(module: &Path, label: &str, pin: Secret) -> Self {
        Self {
            module: module.to_owned(),
            label: label.to_owned(),
            pin,
            idle: Mutex::default(),
            handles: Mutex::default(),
            pin_refused: AtomicBool::new(false),
        }
    }

    /// Works in a session that is logged in. One that turns out to be lost is replaced, once; the work must be
    /// harmless twice up to the call that fails so, and every such call has done nothing.
    pub(super) fn with_session<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let pooled = self.idle().pop();
        let fresh = pooled.is_none();
        let session = match pooled {
            Some(session) => session,
            None => self.open()?,
        };
        match work(&session) {
            Err(trouble) if is_lost(&trouble) && !fresh => {}
            done => return self.finish(session, done),
        }
        // The others are as old as this one.
        drop(session);
        self.forget();
        let session = self.open()?;
        let done = work(&session);
        self.finish(session, done)
    }

    /// The handle of a private key, looked up once.
    pub(super) fn handle_of(
        &self,
        id: &[u8],
        look_up: impl FnOnce() -> Result<ObjectHandle, Trouble>,
    ) -> Result<ObjectHandle, Trouble> {
        if let Some(handle) = self.handles().get(id) {
            return Ok(*handle);
        }
        let handle = look_up()?;
        let mut handles = self.handles();
        if handles.len() >= HANDLES_MAX {
            handles.clear();
        }
        handles.insert(id.to_owned(), handle);
        Ok(handle)
    }

    fn finish<T>(&self, session: Session, done: Result<T, Trouble>) -> Result<T, Trouble> {
        match &done {
            Err(Trouble::Library(_)) => self.forget(),
            _ => self.idle().push(session),
        }
        done
    }

    fn forget(&self) {
        self.idle().clear();
        self.handles().clear();
    }

    fn open(&self) -> Result<Session, Trouble> {
        if self.pin_refused.load(Ordering::Relaxed) {
            return Err(Trouble::PinRefused);
        }
        let library = load(&self.module)?;
        let session = library.open_rw_session(self.slot(&library)?)?;
        let pin = self.pin.expose().map_err(Trouble::Pin)?;
        match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
            // All sessions of a process with a token are logged in together.
            Ok(()) | Err(Fault::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(fault) => {
                if matches!(fault, Fault::Pkcs11(RvError::PinIncorrect | RvError::PinLocked, _)) {
                    self.pin_refused.store(true, Ordering::Relaxed);
                }
                Err(fault.into())
            }
        }
    }

    fn slot(&self, library: &Library) -> Result<Slot, Trouble> {
        for slot in library.get_slots_with_initialized_token()? {
            if library.get_token_info(slot)?.label() == self.label {
                return Ok(slot);
            }
        }
        Err(Trouble::NoToken(self.label.clone()))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, ObjectHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another session may do better: this one, its login or the handle it used is gone.
fn is_lost(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Library(Fault::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid,
            _
        )) | Trouble::UnknownKey(_)
    )
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("module", &self.module)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
