//! A certificate's subject as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::asn1_rs::Any;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Attributes that have a short name (RFC 4514 §3); all others go by number.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// `CN=worker-7,OU=ops,O=Example`: the most specific first. ASCII only, and
/// unambiguous: who chooses a part of the name cannot make it look like another.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes: Vec<_> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The first name of another kind: a URI, or else a host. No subject begins with
/// `URI=` or `DNS=`.
pub(super) fn alternative(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let names = &names.value.general_names;
    let uri = names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(format!("URI={}", escaped(uri))),
        _ => None,
    });
    let host = || {
        names.iter().find_map(|name| match name {
            GeneralName::DNSName(host) => Some(format!("DNS={}", escaped(host))),
            _ => None,
        })
    };
    uri.or_else(host)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == number);
    match (short, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => format!("{name}={}", escaped(value)),
        _ => format!("{number}=#{}", hex(&encoded(attribute.attr_value()))),
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.extend(['\\', char::from(byte)]);
            }
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02x}");
            }
        }
    }
    text
}

/// The value's BER encoding, as it is told where there is no text.
fn encoded(value: &Any<'_>) -> Vec<u8> {
    use x509_parser::asn1_rs::ToDer as _;
    value.to_der_vec().unwrap_or_default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::FromDer;

    use super::*;

    fn of(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, certificate) = X509Certificate::from_der(made.der()).unwrap();
        text(certificate.subject())
    }

    #[test]
    fn the_most_specific_comes_first() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example"),
            (DnType::CommonName, "worker-7"),
        ];
        assert_eq!(of(&parts), "CN=worker-7,O=Example,C=DE");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn a_value_cannot_look_like_another_part() {
        for (value, expected) in [
            ("a,O=admin", "CN=a\\,O=admin"),
            ("a+UID=0", "CN=a\\+UID=0"),
            ("\\", "CN=\\\\"),
            (" a ", "CN=\\ a\\ "),
            ("#00", "CN=\\#00"),
            ("a\r\nX: 1", "CN=a\\0d\\0aX: 1"),
            ("zo\u{eb}", "CN=zo\\c3\\ab"),
        ] {
            assert_eq!(of(&[(DnType::CommonName, value)]), expected);
        }
    }

    #[test]
    fn what_has_no_short_name_goes_by_number() {
        let kind = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(of(&[(kind, "hi")]), "1.2.3.4=#0c026869");
    }

    /// Reads what [`escaped`] wrote.
    fn unescaped(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut read = Vec::new();
        while let Some(byte) = bytes.next() {
            read.push(match byte {
                b'\\' => match bytes.next().unwrap() {
                    high if high.is_ascii_hexdigit() => {
                        let pair = [high, bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap()
                    }
                    other => other,
                },
                byte => byte,
            });
        }
        read
    }

    proptest! {
        #[test]
        fn values_can_be_read_back(value in ".{0,20}") {
            let written = escaped(&value);
            prop_assert!(written.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(unescaped(&written), value.as_bytes());
        }
    }
}
