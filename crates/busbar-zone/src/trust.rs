//! Whose libraries are loaded: lists of hashes, and keys whose owners sign.

use std::collections::HashMap;
use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result, Stage};

/// SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHash([u8; 32]);

impl FileHash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }

    /// The first 16 digits: enough to tell files apart for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who vouches for libraries. By default nobody has to, as nobody vouches for npm packages either;
/// but files that others can change are refused.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    allowed: HashMap<String, Vec<FileHash>>,
    keys: Vec<VerifyingKey>,
    insecure: bool,
}

impl Trust {
    /// Accepts the file with this hash for the plugin `id`; files that nothing accepts are refused
    /// from now on.
    pub fn allow(&mut self, id: impl Into<String>, hash: FileHash) -> &mut Self {
        self.allowed.entry(id.into()).or_default().push(hash);
        self
    }

    /// Accepts what the owner of this Ed25519 key has signed, likewise.
    ///
    /// # Errors
    /// `InvalidArgument` for 64 hexadecimal digits that are no key.
    pub fn allow_key(&mut self, key: &str) -> Result<&mut Self> {
        let bytes: Option<[u8; 32]> = parse_hex(key);
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        self.keys.push(key.ok_or_else(|| {
            let message = format!("{key:?} is no Ed25519 public key of 64 hexadecimal digits");
            Error::new(ErrorKind::InvalidArgument, Stage::Verify, message)
        })?);
        Ok(self)
    }

    /// Loads files although others can change them.
    pub fn allow_insecure(&mut self) -> &mut Self {
        self.insecure = true;
        self
    }

    pub(crate) fn is_insecure_allowed(&self) -> bool {
        self.insecure
    }

    fn is_open(&self) -> bool {
        self.allowed.is_empty() && self.keys.is_empty()
    }

    /// Before anything of the file runs: whether anybody vouches for it.
    ///
    /// # Errors
    /// `Untrusted`.
    pub(crate) fn check(&self, hash: FileHash, signed: Option<&Signed<'_>>) -> Result<()> {
        let is_listed = || self.allowed.values().any(|hashes| hashes.contains(&hash));
        let is_signed = || {
            signed.is_some_and(|it| {
                self.keys.iter().any(|key| key.verify_strict(it.bytes, &it.signature).is_ok())
            })
        };
        if self.is_open() || is_listed() || is_signed() {
            return Ok(());
        }
        let signature = match signed {
            Some(_) if !self.keys.is_empty() => "its signature is of no key that is trusted",
            _ => "it has no signature",
        };
        let message = format!("the hash {hash} is on no list, and {signature}");
        Err(Error::new(ErrorKind::Untrusted, Stage::Verify, message))
    }

    /// Once it says who it is: whether that is who was meant.
    ///
    /// # Errors
    /// `Untrusted`.
    pub(crate) fn check_id(&self, id: &str, hash: FileHash) -> Result<()> {
        let lists = || self.allowed.iter().filter(|(_, hashes)| hashes.contains(&hash));
        if lists().next().is_none() || lists().any(|(listed, _)| listed == id) {
            return Ok(());
        }
        let message = format!("it says to be {id}, but its hash is listed for another plugin");
        Err(Error::new(ErrorKind::Untrusted, Stage::Bind, message))
    }
}

/// Bytes that somebody signed.
pub(crate) struct Signed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) signature: Signature,
}

/// A signature as 128 hexadecimal digits.
pub(crate) fn parse_signature(text: &str) -> Option<Signature> {
    parse_hex::<64>(text).map(|bytes| Signature::from_bytes(&bytes))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
