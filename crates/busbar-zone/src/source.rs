//! A library's file: read once, and what was read is what is verified, copied and loaded.
//!
//! Beside `NAME.so` there may be `NAME.plugin.json`, which says what is in it without any of its
//! code being run, and `NAME.plugin.json.sig`, an Ed25519 signature of that text in hexadecimal.
//! As the text holds the library's hash, it stands for the library.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::trust::{FileHash, Signed, Trust, parse_signature};
use crate::{Error, ErrorKind, Result, Stage};

/// No library is larger.
const LIBRARY_BYTES_MAX: u64 = 1 << 30;
/// No text beside it is longer.
const SIDECAR_BYTES_MAX: u64 = 1 << 20;

/// What `NAME.plugin.json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Sidecar {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What it was compiled for, such as `x86_64-linux`.
    pub target: String,
    /// SHA-256 of the library.
    pub sha256: String,
    /// Full names of its types, each with its hash as 16 digits.
    #[serde(default)]
    pub types: std::collections::BTreeMap<String, String>,
    /// Names of its methods.
    #[serde(default)]
    pub methods: Vec<String>,
}

impl Sidecar {
    /// Whether the library says of itself what this says.
    ///
    /// # Errors
    /// `Sidecar`.
    pub(crate) fn check(&self, id: &str, version: &str) -> Result<()> {
        if (id, version) == (&*self.id, &*self.version) {
            return Ok(());
        }
        let message = format!(
            "it says to be {id} {version}, but the .plugin.json says {} {}",
            self.id, self.version
        );
        Err(Error::new(ErrorKind::Sidecar, Stage::Bind, message))
    }
}

/// A library that may be loaded.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is, without symbolic links.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: FileHash,
    pub(crate) sidecar: Option<Sidecar>,
}

impl Source {
    /// Reads and verifies the library at `path`. None of its code runs.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `Insecure`, `Sidecar`, `Untrusted`.
    pub(crate) fn read(path: &Path, trust: &Trust) -> Result<Self> {
        Self::read_named(path, trust).map_err(|error| error.of(path.display().to_string()))
    }

    fn read_named(path: &Path, trust: &Trust) -> Result<Self> {
        let path =
            path.canonicalize().map_err(|error| io_error(&error, "there is no such file"))?;
        if !trust.is_insecure_allowed() {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let metadata = folder.metadata();
            let metadata = metadata.map_err(|error| io_error(&error, "its folder is gone"))?;
            check_owner(&metadata, "its folder")?;
        }
        let bytes = read_checked(&path, LIBRARY_BYTES_MAX, trust)?;
        let hash = FileHash::of(&bytes);
        let text = optional(read_checked(&beside(&path, ""), SIDECAR_BYTES_MAX, trust))?;
        let signature = optional(read_checked(&beside(&path, ".sig"), SIDECAR_BYTES_MAX, trust))?;
        let sidecar = text.as_deref().map(|text| parse(text, hash)).transpose()?;
        let signed = match (&text, signature) {
            (Some(bytes), Some(signature)) => {
                Some(Signed { bytes, signature: decode(&signature)? })
            }
            _ => None,
        };
        trust.check(hash, signed.as_ref())?;
        Ok(Self { path, bytes, hash, sidecar })
    }
}

/// `NAME.plugin.json` for `NAME.so`, and what belongs to it.
fn beside(library: &Path, more: &str) -> PathBuf {
    let stem = library.file_stem().unwrap_or_default();
    let mut name = stem.to_owned();
    name.push(".plugin.json");
    name.push(more);
    library.with_file_name(name)
}

fn parse(text: &[u8], hash: FileHash) -> Result<Sidecar> {
    let sidecar: Sidecar = serde_json::from_slice(text).map_err(|error| {
        sidecar_error(format!("the .plugin.json beside it: {error}")).with_source(error)
    })?;
    if FileHash::parse(&sidecar.sha256) != Some(hash) {
        let message =
            format!("its SHA-256 is {hash}, but the .plugin.json says {}", sidecar.sha256);
        return Err(sidecar_error(message));
    }
    Ok(sidecar)
}

fn decode(signature: &[u8]) -> Result<ed25519_dalek::Signature> {
    let text = str::from_utf8(signature).unwrap_or_default().trim();
    parse_signature(text).ok_or_else(|| {
        sidecar_error(String::from("its .plugin.json.sig is no signature of 128 digits"))
    })
}

fn sidecar_error(message: String) -> Error {
    Error::new(ErrorKind::Sidecar, Stage::Verify, message)
}

fn optional(read: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The bytes of a file that only its owner can change. What is checked is what was opened, and not
/// what has the name a moment later.
fn read_checked(path: &Path, bytes_max: u64, trust: &Trust) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| io_error(&error, "there is no such file"))?;
    let failed = |error: io::Error| io_error(&error, "there is no such file");
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::Io, Stage::Verify, "it is no regular file"));
    }
    if !trust.is_insecure_allowed() {
        check_owner(&metadata, "it")?;
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("it has more than {bytes_max} bytes");
        return Err(Error::new(ErrorKind::Io, Stage::Verify, message));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn check_owner(metadata: &Metadata, what: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let insecure = |message| Err(Error::new(ErrorKind::Insecure, Stage::Verify, message));
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return insecure(format!(
            "{what} can be written to by others (mode {mode:o}): chmod go-w, or allow insecure files"
        ));
    }
    // SAFETY: it takes nothing and cannot fail.
    let user = unsafe { libc::geteuid() };
    if metadata.uid() != user && metadata.uid() != 0 {
        let owner = metadata.uid();
        return insecure(format!("{what} belongs to user {owner}, and not to {user} or root"));
    }
    Ok(())
}

/// Access lists are for their administrators.
#[cfg(not(unix))]
fn check_owner(_metadata: &Metadata, _what: &str) -> Result<()> {
    Ok(())
}

fn io_error(error: &io::Error, not_found: &'static str) -> Error {
    let is_not_found = error.kind() == io::ErrorKind::NotFound;
    let kind = if is_not_found { ErrorKind::NotFound } else { ErrorKind::Io };
    let message = if is_not_found { not_found.to_owned() } else { error.to_string() };
    Error::new(kind, Stage::Verify, message)
}
