//! Hardware modules with a PKCS#11 library. Keys are made inside, sensitive and not extractable; their reference is
//! the `CKA_ID` in hex, as `pkcs11-tool --list-objects` shows it.
//!
//! The library blocks, so its calls run on threads for that, never more than there are sessions.

mod objects;
mod token;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cryptoki::error::{Error as Fault, RvError};
use tokio::sync::Semaphore;

use super::settings;
use super::{Backend, Error, Held, Numbers, Payload, Place, REFERENCE_BYTES_MAX, Wanted, der, reference_of};
use crate::db::key::Key;
use token::Token;

pub use token::load;

/// See the module.
#[derive(Debug)]
pub struct Pkcs11 {
    name: String,
    token: Arc<Token>,
    /// Held by the thread and not by the request: one that ran into its deadline still occupies its session.
    sessions: Arc<Semaphore>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("the label of a token has 1 to 32 bytes")]
    Token,
}

/// Why a call of the library failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Library(#[from] Fault),
    #[error("there is no token {0:?} in any slot")]
    NoToken(String),
    #[error("reading the PIN")]
    Pin(#[source] runtime::config::Error),
    #[error("the token refused the PIN before: restart with the right one, more attempts would lock it")]
    PinRefused,
    #[error("no private key of secp256k1 has the id {0}")]
    UnknownKey(String),
    #[error("more than one private key has the id {0}")]
    Ambiguous(String),
    #[error(transparent)]
    Unusable(#[from] super::Unusable),
}

impl Pkcs11 {
    /// Takes the settings; the library is loaded when it is first needed.
    pub fn open(name: &str, settings: &settings::Pkcs11) -> Result<Self, Unfit> {
        let settings::Pkcs11 { module, token, pin, limits: _ } = settings;
        if token.is_empty() || token.len() > 32 {
            return Err(Unfit::Token);
        }
        let bounds = settings::Settings::Pkcs11(settings.clone()).bounds();
        Ok(Self {
            name: name.to_owned(),
            token: Arc::new(Token::new(Path::new(module), token, pin.clone())),
            sessions: Arc::new(Semaphore::new(usize::try_from(bounds.concurrent).unwrap_or(1))),
        })
    }

    async fn with_token<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Token) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Error> {
        let session = Arc::clone(&self.sessions).acquire_owned().await.map_err(Error::away)?;
        let token = Arc::clone(&self.token);
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&token);
            drop(session);
            result
        });
        Ok(done.await.map_err(Error::away)??)
    }

    fn held(&self, id: &[u8], public_key: domain::pubkey::PublicKey) -> Held {
        let place = Place::Remote { backend: self.name.clone(), reference: hex::encode(id) };
        Held { public_key, place }
    }
}

#[async_trait]
impl Backend for Pkcs11 {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error> {
        let id = uuid::Uuid::new_v4().into_bytes().to_vec();
        let label =
            format!("metis {} {} {}", wanted.role.as_str().to_lowercase(), wanted.name, wanted.key_id);
        let made = id.clone();
        let public = self
            .with_token(move |token| token.with_session(|session| objects::generate(session, &made, &label)))
            .await?;
        Ok(self.held(&id, public))
    }

    async fn find(&self, reference: &str) -> Result<Held, Error> {
        let id = id_of(reference)?;
        let wanted = id.clone();
        let public = self
            .with_token(move |token| {
                token.with_session(|session| {
                    objects::private_key(session, &wanted)?;
                    objects::public_key(session, &wanted)
                })
            })
            .await?;
        Ok(self.held(&id, public))
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let (id, digest) = (id_of(reference_of(key)?)?, *payload.digest());
        let signature = self
            .with_token(move |token| {
                token.with_session(|session| {
                    let private = token.handle_of(&id, || objects::private_key(session, &id))?;
                    objects::sign(session, private, digest.as_slice())
                })
            })
            .await?;
        Ok(der::signature_of_64(&signature)?)
    }

    async fn health(&self) -> Result<(), Error> {
        self.with_token(|token| token.with_session(objects::look)).await
    }
}

fn id_of(reference: &str) -> Result<Vec<u8>, Error> {
    let unknown = || Error::UnknownKey(reference.chars().take(REFERENCE_BYTES_MAX).collect());
    hex::decode(reference).ok().filter(|id| !id.is_empty()).ok_or_else(unknown)
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::UnknownKey(id) => Self::UnknownKey(id),
            Trouble::Unusable(unusable) => unusable.into(),
            Trouble::Pin(_) | Trouble::PinRefused | Trouble::Ambiguous(_) => Self::Refused(trouble.into()),
            Trouble::Library(Fault::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired
                | RvError::UserPinNotInitialized
                | RvError::CurveNotSupported
                | RvError::MechanismInvalid
                | RvError::KeyFunctionNotPermitted
                | RvError::TokenWriteProtected
                | RvError::TemplateInconsistent,
                _,
            )) => Self::Refused(trouble.into()),
            Trouble::Library(_) | Trouble::NoToken(_) => Self::Away(trouble.into()),
        }
    }
}
