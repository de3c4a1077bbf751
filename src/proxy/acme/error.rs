use std::error::Error;
use std::fmt;
use std::io;

/// Why there is no certificate this time.
#[derive(Debug)]
pub(super) enum OrderError {
    /// The authority said no, or said nothing.
    Authority(instant_acme::Error),
    /// It did not believe that a name is ours.
    Unproved(String),
    /// It has no such challenge for a name.
    NoChallenge(String),
    /// The folder, or the file of authorities.
    Files(io::Error),
    /// What was made or issued is of no use.
    Unusable(String),
    /// All in all it took too long.
    Timeout,
}

impl OrderError {
    /// Whether the authority does not know the account: it was deleted there,
    /// or is that of another authority.
    pub(super) fn is_of_account(&self) -> bool {
        const KIND: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
        matches!(self, Self::Authority(instant_acme::Error::Api(problem))
            if problem.r#type.as_deref() == Some(KIND))
    }
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Authority(error)
    }
}

impl From<rcgen::Error> for OrderError {
    fn from(error: rcgen::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<io::Error> for OrderError {
    fn from(error: io::Error) -> Self {
        Self::Files(error)
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(error) => {
                write!(f, "the authority: {error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Unproved(why) => write!(
                f,
                "{why}; the names must lead to this proxy, on port 80 for http-01 and on port \
                 443 for tls-alpn-01"
            ),
            Self::NoChallenge(name) => write!(
                f,
                "the authority has no such challenge for {name}; choose the other one by \
                 acme.challenge"
            ),
            Self::Files(error) => error.fmt(f),
            Self::Unusable(why) => write!(f, "the certificate cannot be used: {why}"),
            Self::Timeout => f.write_str("it takes too long"),
        }
    }
}

impl Error for OrderError {}
