//! The table of error codes, the only one in the project: one line of [`codes!`] is one code.
//! The TypeScript table and `docs/errors.md` are generated from it, CLOSE and REJECT frames carry
//! [`Code::number`], and the Node-API edge returns it negated.
//!
//! A number is never reused or changed: a new code takes the next free one, wherever the alphabet
//! puts its line.

use std::fmt;

macro_rules! codes {
    ($($variant:ident = $number:literal, $text:literal, $retry:ident, $doc:literal;)*) => {
        /// What went wrong, as a stable code that programs may branch on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $doc] $variant = $number,)*
        }

        impl Code {
            /// Every code, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The `code` property of the JavaScript error, such as `ERR_AGAIN`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Whether the same call may succeed later without any change by the caller.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => codes!(@retry $retry),)* }
            }

            /// What happened, who is at fault and what to do about it, in one line for users.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// The code with this number; `None` if this version knows none.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
    (@retry retry) => { true };
    (@retry fatal) => { false };
}

codes! {
    Aborted = 1, "ABORT_ERR", fatal,
        "The caller's AbortSignal fired before the operation finished. Nobody is at fault: `cause` \
         is the signal's reason.";
    AddrInUse = 2, "ERR_ADDR_IN_USE", fatal,
        "Another listener already has this address. Fix the caller: close the other listener or \
         choose another name.";
    AddrNotAvailable = 31, "ERR_ADDR_NOT_AVAILABLE", fatal,
        "The address to listen at does not belong to this machine. Fix the caller: listen at an \
         address of one of its interfaces, or at `*` for all of them.";
    Again = 3, "ERR_AGAIN", retry,
        "The operation would have to wait: the peer is slower than the sender, or a queue is full. \
         Nobody is at fault: await `send()` instead of `trySend()`, or try again later.";
    ArchiveInvalid = 24, "ERR_ARCHIVE_INVALID", fatal,
        "Bytes that should be a value of a type are not. Whoever sent or stored them is at fault: \
         the message says which part is wrong.";
    BatchExpired = 4, "ERR_BATCH_EXPIRED", fatal,
        "A batch was used after its `consume()` callback returned, when its memory already held \
         other messages. Fix the caller: copy what must outlive the callback, or use \
         `batches()`.";
    BufferDetached = 5, "ERR_BUFFER_DETACHED", fatal,
        "The buffer was transferred or detached before its bytes were sent. Fix the caller: keep \
         the buffer until the send is accepted, or send a copy.";
    BufferTooSmall = 22, "ERR_BUFFER_TOO_SMALL", fatal,
        "A value does not fit into the buffer that it was to be written to. Fix the caller: the \
         message says how many bytes it needs.";
    ChannelsExhausted = 144, "ERR_CHANNELS_EXHAUSTED", fatal,
        "A `reliable` pipe sends on more channels than a session may have, which is 128, one of \
         them for types. Fix the caller: use fewer channels, or make some of them \
         `lossyChannels`.";
    Closed = 6, "ERR_CLOSED", fatal,
        "The pipe or listener was closed, by this side or in an orderly way by the peer. Not a \
         fault by itself: `reason` says who closed and why; open a new one to go on.";
    ConnectionLost = 7, "ERR_CONNECTION_LOST", retry,
        "The connection ended without a CLOSE: the peer crashed, was killed or became unreachable. \
         The peer or the network is at fault: dial again and resend what was not confirmed.";
    ConnectionRefused = 8, "ERR_CONNECTION_REFUSED", retry,
        "The listener turned the connection away: it is closing, its backlog is full, or nobody \
         listens at an address left behind. The other side is at fault: dial again later.";
    DeliveryFailed = 95, "ERR_DELIVERY_FAILED", fatal,
        "A message of a session was transmitted as often as `maxDeliveryAttempts` allows, and each \
         time the connection broke before it arrived. The network or the peer is at fault: the \
         message is given up, later ones go on.";
    Expired = 84, "ERR_EXPIRED", retry,
        "The time to live of a message was over before there was room for it. Nobody is at fault: \
         send it again if it is still of use, or raise `ttlMs`.";
    FormatUnsupported = 29, "ERR_FORMAT_UNSUPPORTED", fatal,
        "Nothing writes this format for this type. Fix the caller: ask for a format that the type \
         has, or register a writer for it.";
    InUse = 30, "ERR_IN_USE", retry,
        "A type or plugin is in use and cannot be taken out now. Nobody is at fault: try again \
         when its calls are done.";
    Internal = 9, "ERR_INTERNAL", fatal,
        "An invariant of Busbar itself did not hold. Busbar is at fault: please report the message \
         and the version.";
    InvalidAddress = 10, "ERR_INVALID_ADDRESS", fatal,
        "The address cannot be parsed or names an unknown scheme. Fix the caller: the message \
         shows the offending part and a well-formed example.";
    InvalidArgument = 11, "ERR_INVALID_ARGUMENT", fatal,
        "An argument or option has the wrong type or is out of range. Fix the caller: the message \
         names the argument, the value and what is allowed.";
    InvalidState = 132, "ERR_INVALID_STATE", fatal,
        "The call comes at the wrong time, such as a setting of a thread whose first pipe is open. \
         Fix the caller: make the call when the message says.";
    Io = 12, "ERR_IO", fatal,
        "The operating system refused a call that Busbar needs. The environment is at fault: the \
         message names the call and the error; check limits such as open files.";
    LoanExpired = 13, "ERR_LOAN_EXPIRED", fatal,
        "A loan was used after it was released or after its pipe closed. Fix the caller: copy the \
         bytes before `release()`.";
    MessageTooLarge = 14, "ERR_MESSAGE_TOO_LARGE", fatal,
        "A message or frame exceeds the limit agreed for the connection. The sender is at fault: \
         send less at once, or raise `maxMessageBytes` on both ends.";
    MethodNotFound = 50, "ERR_METHOD_NOT_FOUND", fatal,
        "The plugin has no method with this name. Fix the caller: the message lists the names \
         there are.";
    NotFound = 15, "ERR_NOT_FOUND", retry,
        "Nobody listens at this address, at least not yet. Check the name, start the listener \
         first, or dial again later.";
    NotSupported = 16, "ERR_NOT_SUPPORTED", fatal,
        "This platform, build or transport cannot do what was asked. Fix the caller: the message \
         names what is missing and what to use instead.";
    ObjectStale = 109, "ERR_OBJECT_STALE", fatal,
        "The object of a plugin, or of its parent, is gone: it was released, or what it was of has \
         ended or was reloaded. Get another one.";
    OutOfMemory = 17, "ERR_OUT_OF_MEMORY", retry,
        "Memory for a buffer or a shared segment could not be had. The environment is at fault: \
         raise the limit (container memory, /dev/shm), or lower `ringBytes` and `slabBytes`, and \
         try again.";
    ParentFailed = 108, "ERR_PARENT_FAILED", fatal,
        "A function failed that the program exposes to the plugin, and the plugin handed its \
         failure on. The message is what the function threw.";
    PermissionDenied = 18, "ERR_PERMISSION_DENIED", fatal,
        "The operating system or the listener does not allow this user to connect. The environment \
         is at fault: run both ends as the same user, or open the path's permissions.";
    PluginBudget = 66, "ERR_PLUGIN_BUDGET", fatal,
        "Too many images of libraries that nobody uses are left in memory: they are never \
         unmapped. Run plugins that panic or are reloaded that often in a process of their own.";
    PluginDamaged = 51, "ERR_PLUGIN_DAMAGED", fatal,
        "The file is no library, or not all of one. Whoever built or copied it is at fault: build \
         it again or copy it anew.";
    PluginFailed = 52, "ERR_PLUGIN_FAILED", fatal,
        "The plugin refused a call or its own start. What it means is up to the plugin: the \
         message is its own, with its status.";
    PluginInsecure = 53, "ERR_PLUGIN_INSECURE", fatal,
        "Other users can change the library or its folder. The owner of the file is at fault: \
         `chmod go-w`, or allow insecure files.";
    PluginMagic = 54, "ERR_PLUGIN_MAGIC", fatal,
        "What the entry of the library gives is no manifest. The library is at fault: build it \
         with the header or SDK of Busbar.";
    PluginName = 55, "ERR_PLUGIN_NAME", fatal,
        "A name in the library is no UTF-8, empty, or there twice. The library is at fault: the \
         message says which name.";
    PluginNull = 56, "ERR_PLUGIN_NULL", fatal,
        "Something in the library is null that must not be. The library is at fault: the message \
         says which field.";
    PluginPanic = 57, "ERR_PLUGIN_PANIC", fatal,
        "The plugin panicked; the message is its own. The plugin is at fault: its instance is not \
         called again, load it anew.";
    PluginSidecar = 58, "ERR_PLUGIN_SIDECAR", fatal,
        "The `.plugin.json` beside the library is no valid one, or is of another build. Write it \
         anew together with the library.";
    PluginSize = 59, "ERR_PLUGIN_SIZE", fatal,
        "A struct of the library has a size that no version of the contract ever had. The library \
         is at fault: build it with the header or SDK of Busbar.";
    PluginSymbol = 60, "ERR_PLUGIN_SYMBOL", fatal,
        "The library has no entry. The library is at fault: the message lists the functions that \
         were looked for.";
    PluginTarget = 61, "ERR_PLUGIN_TARGET", fatal,
        "The library was built for another system or processor. Fix the caller: choose the build \
         for this machine.";
    PluginUntrusted = 62, "ERR_PLUGIN_UNTRUSTED", fatal,
        "The library is on no list, and signed by nobody who is trusted. Check where it comes \
         from, then add its hash or have it signed.";
    PluginVersion = 63, "ERR_PLUGIN_VERSION", fatal,
        "The library was built for a version of the contract that this Busbar does not speak. \
         Neither is broken: upgrade the older one.";
    Protocol = 19, "ERR_PROTOCOL", fatal,
        "The peer broke the rules: what it sent or wrote into shared memory is not valid. The peer \
         is at fault and the connection is closed: check that it really runs Busbar and which \
         version.";
    SchemaInvalid = 25, "ERR_SCHEMA_INVALID", fatal,
        "A descriptor of a type contradicts itself or the rules. Whoever made it is at fault: the \
         message names the part and what it should be.";
    SchemaMismatch = 23, "ERR_SCHEMA_MISMATCH", fatal,
        "The messages of the peer are not of the type that this side reads. Neither is broken: the \
         message names both types with their hashes; give both ends the same version of the type.";
    SchemaVariant = 26, "ERR_SCHEMA_VARIANT", fatal,
        "A value has a variant that this version of its enum does not know. Neither side is \
         broken: update the reader, or declare a default variant.";
    SerializeFailed = 27, "ERR_SERIALIZE_FAILED", fatal,
        "A value is not of the type that it is to be written as. Fix the caller: the message names \
         the field, the value and what is allowed.";
    SessionLost = 94, "ERR_SESSION_LOST", fatal,
        "A session is over without having been closed: there was no connection for longer than \
         `sessionTimeoutMs`, or the peer was restarted. The network or the peer is at fault: what \
         was not acknowledged may or may not have arrived; open a new pipe to go on.";
    TimedOut = 20, "ERR_TIMED_OUT", retry,
        "The operation did not finish within its time limit. The peer is slow, stopped or absent: \
         try again, or raise `timeoutMs`.";
    TlsCertificateRequired = 91, "ERR_TLS_CERTIFICATE_REQUIRED", fatal,
        "The listener demands a certificate and the dialer has given none. The dialer is at fault: \
         set `tls.cert` and `tls.key` there.";
    TlsExpected = 92, "ERR_TLS_EXPECTED", fatal,
        "One end speaks TLS and the other does not. Fix the caller: use `tls://` on both ends, or \
         on neither.";
    TlsExpired = 89, "ERR_TLS_EXPIRED", fatal,
        "A certificate has expired or is not valid yet. Whoever shows it is at fault: renew it \
         (`setSecureContext()` needs no restart), and check the clocks.";
    TlsHandshake = 93, "ERR_TLS_HANDSHAKE", fatal,
        "The two ends could not agree on TLS: no common version, cipher or protocol. The message \
         says which; see `tls.minVersion`, and whether the other end is Busbar at all.";
    TlsUntrusted = 88, "ERR_TLS_UNTRUSTED", fatal,
        "A certificate is not trusted: nobody in `tls.ca` has signed it, or it is for another \
         purpose. The message says which end: give that one a certificate, or this one its `ca`.";
    TlsWrongName = 90, "ERR_TLS_WRONG_NAME", fatal,
        "The listener's certificate is for another name than the one dialed. Dial that name, set \
         `tls.servername`, or issue a certificate with this name among its subjectAltName.";
    TypeNotFound = 28, "ERR_TYPE_NOT_FOUND", fatal,
        "No type with this name and schema hash is registered. Fix the caller: check the spelling, \
         or register the type first.";
    Unreachable = 32, "ERR_UNREACHABLE", retry,
        "No way leads to the host, as far as this machine knows. The network is at fault: check \
         the address, the interfaces and the routes, or dial again later.";
    VersionMismatch = 21, "ERR_VERSION_MISMATCH", fatal,
        "The two ends have no protocol version in common. Neither is broken, one is too old: the \
         message names both ranges and which end to upgrade.";
    ZoneClosed = 64, "ERR_ZONE_CLOSED", fatal,
        "The zone was closed, or its parent was. Fix the caller: load the plugin again to go on.";
    ZoneCrashed = 72, "ERR_ZONE_CRASHED", retry,
        "The plugin's process ended while the call ran: the message says how. The plugin is at \
         fault: the process is started anew, so call again if calling twice does no harm. After \
         too many crashes it is not started any more: close the zone, and load it anew.";
    ZoneFaulted = 65, "ERR_ZONE_FAULTED", fatal,
        "The plugin panicked in an earlier call and is not called again. The plugin is at fault: \
         close the zone and load it anew.";
    ZoneHost = 73, "ERR_ZONE_HOST", fatal,
        "The executable that plugins run in, busbar-host, is missing, cannot be run, or is of \
         another version. The installation is at fault: install the package again.";
}

impl Code {
    /// The number that stands for this code in CLOSE and REJECT frames; 0 is never a code.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D10] every code has its own number and string, and both lead back to it
    #[test]
    fn every_code_is_named_and_numbered_once() {
        for (index, &code) in Code::ALL.iter().enumerate() {
            assert_ne!(code.number(), 0, "{code}: 0 means a clean close");
            assert_eq!(Code::from_number(code.number()), Some(code));
            assert_eq!(Code::ALL.iter().filter(|other| other.as_str() == code.as_str()).count(), 1);
            let name = format!("{code:?}");
            assert!(index == 0 || format!("{:?}", Code::ALL[index - 1]) < name, "{name}: order");
            let derived = name.chars().fold(String::from("ERR"), |mut text, c| {
                if c.is_uppercase() {
                    text.push('_');
                }
                text.extend(c.to_uppercase());
                text
            });
            assert!(code == Code::Aborted || code.as_str() == derived, "{code} for {name}");
        }
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(u16::MAX), None);
    }

    /// [D10] exactly these codes are worth a retry
    #[test]
    fn retryable_codes() {
        let retryable: Vec<_> = Code::ALL.iter().copied().filter(|c| c.is_retryable()).collect();
        assert_eq!(
            retryable,
            [
                Code::Again,
                Code::ConnectionLost,
                Code::ConnectionRefused,
                Code::Expired,
                Code::InUse,
                Code::NotFound,
                Code::OutOfMemory,
                Code::TimedOut,
                Code::Unreachable,
                Code::ZoneCrashed,
            ]
        );
    }

    /// [D10] the text for users is one finished line
    #[test]
    fn docs_are_single_lines() {
        for code in Code::ALL {
            let doc = code.doc();
            assert!(doc.ends_with('.') && doc.len() > 60 && !doc.contains('\n'), "{code}: {doc}");
        }
    }
}
