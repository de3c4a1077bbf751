//! What things are called in Redis.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::journal::Name;

/// The keys of a stream: what is known of it, and its records. In a cluster the
/// part in braces decides where they lie. The first is also the channel on
/// which its followers listen.
pub(super) fn stream(prefix: &str, name: &Name) -> [String; 2] {
    let name = URL_SAFE_NO_PAD.encode(&name.0);
    [
        format!("{{{prefix}:{name}}}:meta"),
        format!("{{{prefix}:{name}}}:log"),
    ]
}

/// The key of an alias.
pub(super) fn alias(prefix: &str, alias: &Name) -> String {
    format!("{{{prefix}:alias:{}}}", URL_SAFE_NO_PAD.encode(&alias.0))
}

/// The channel on which one process is told what concerns the streams it owns;
/// 128 random bits, so that no two processes ever share it.
pub(super) fn process(prefix: &str) -> Result<String, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!(
        "{{{prefix}:process:{}}}",
        URL_SAFE_NO_PAD.encode(bits)
    ))
}

/// An owner's name: the process's channel, and which acquisition of which of
/// its places this is. No name is ever used twice.
pub(super) fn owner(process: &str, place: u64, acquisition: u64) -> String {
    format!("{process}/{place}/{acquisition}")
}
