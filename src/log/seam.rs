/// The place where one upstream connection ended and the next began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    /// The last block of the earlier connection.
    pub after: u64,
    /// What is known of what lies between.
    pub kind: SeamKind,
}

/// What is known of a seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeamKind {
    /// Nothing was lost: proved by the upstream's ids, or declared.
    Exact,
    /// Events are known or feared lost.
    Gap {
        /// How many, where dense ids tell.
        lost: Option<u64>,
    },
    /// The new connection restates everything: what came before is stale.
    Snapshot,
}
