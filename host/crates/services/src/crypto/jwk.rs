//! JSON Web Keys: RFC 7517, with the members of RFC 7518, 6, and RFC 8037.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::{Key, malformed};
use super::left_out::LeftOut;
use super::types::{Algorithm, KeyError};
use crate::numbered::Content;
use crate::{CheckTime, OutOfTime};

/// Bytes of a key: one of RSA has some 3,000 with its certificates.
const KEY_BYTES_MAX: usize = 64 << 10;
/// Bytes of a key set.
const SET_BYTES_MAX: usize = 1 << 20;

/// The members that count. A member that is there twice is an error, as RFC 7517, 4, wants it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    /// Of a private key.
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Reads a key. `wanted` binds one that does not say its algorithm, and must agree with one that does.
pub(super) fn read(jwk: &str, wanted: Option<Algorithm>) -> Result<Key, KeyError> {
    if jwk.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    let jwk: Jwk = serde_json::from_str(jwk).map_err(|error| not_a("JSON Web Key", &error))?;
    if jwk.d.is_some() {
        let message = "a private key: give the gateway its public part only";
        return Err(KeyError::Unsupported(message.to_owned()));
    }
    if let Some(usage) = jwk.usage.as_deref().filter(|usage| *usage != "sig") {
        return Err(KeyError::Unsupported(format!("a key for `{usage}` and not for signatures")));
    }
    let verifies = |operations: &Vec<String>| operations.iter().any(|operation| operation == "verify");
    if jwk.key_ops.as_ref().is_some_and(|operations| !verifies(operations)) {
        return Err(KeyError::Unsupported("its `key_ops` do not have `verify`".to_owned()));
    }
    let said = match jwk.alg.as_deref() {
        Some(alg) => {
            let known = Algorithm::named(alg);
            Some(known.ok_or_else(|| KeyError::Unsupported(format!("the algorithm `{alg}`")))?)
        }
        None => None,
    };
    match (said, wanted) {
        (Some(said), Some(wanted)) if said != wanted => {
            let (said, wanted) = (said.name(), wanted.name());
            Err(KeyError::WrongAlgorithm(format!("it is for {said}, and {wanted} is wanted")))
        }
        (said, wanted) => jwk.into_key(said.or(wanted)),
    }
}

/// A key of a set, or why it cannot be used.
pub(super) type ReadKey = Result<Key, LeftOut>;

/// Reads the keys of a set that can be used here. RFC 7517, 5: what is not understood is ignored. So is what is
/// malformed, for a set may hold keys for others, and one bad key must not take the good ones with it. Looks at the
/// time after each, of which a set may have thousands.
pub(super) fn read_set(
    jwks: &str,
    wanted: Option<Algorithm>,
    check_time: CheckTime<'_>,
) -> Result<Result<Vec<(Content, ReadKey)>, KeyError>, OutOfTime> {
    if jwks.len() > SET_BYTES_MAX {
        return Ok(Err(KeyError::TooLarge));
    }
    let set: Set<'_> = match serde_json::from_str(jwks) {
        Ok(set) => set,
        Err(error) => return Ok(Err(not_a("JSON Web Key Set", &error))),
    };
    let mut keys = Vec::new();
    for (at, jwk) in set.keys.into_iter().enumerate() {
        check_time()?;
        let read = read(jwk.get(), wanted).map_err(|error| LeftOut {
            name: kid(jwk.get()).unwrap_or_else(|| format!("number {}", at + 1)),
            reason: describe(&error),
        });
        keys.push((digest(jwk.get()), read));
    }
    Ok(Ok(keys))
}

/// Returns the digest by which a key of a set is known.
fn digest(jwk: &str) -> Content {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, jwk.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}

/// The `kid` of a key that could not be read, as far as it has one.
fn kid(jwk: &str) -> Option<String> {
    const SHOWN_MAX: usize = 100;
    let jwk: serde_json::Value = serde_json::from_str(jwk).ok()?;
    Some(jwk.get("kid")?.as_str()?.chars().take(SHOWN_MAX).collect())
}

fn describe(error: &KeyError) -> String {
    match error {
        KeyError::Malformed(reason) | KeyError::WrongAlgorithm(reason) => reason.clone(),
        KeyError::Unsupported(what) => format!("not supported: {what}"),
        KeyError::Weak(reason) => format!("too weak: {reason}"),
        KeyError::TooLarge => "it is too large".to_owned(),
        KeyError::TooMany => "there are too many keys".to_owned(),
    }
}

impl Jwk {
    fn into_key(self, algorithm: Option<Algorithm>) -> Result<Key, KeyError> {
        match self.kty.as_str() {
            "oct" => {
                let algorithm = algorithm.ok_or_else(undecided)?;
                Key::secret(&member("k", self.k.as_deref())?, algorithm, self.kid)
            }
            "RSA" => {
                let algorithm = algorithm.ok_or_else(undecided)?;
                if !matches!(algorithm.name().as_bytes(), [b'R' | b'P', ..]) {
                    return Err(not_for("an RSA key", algorithm));
                }
                let (n, e) = (member("n", self.n.as_deref())?, member("e", self.e.as_deref())?);
                Key::rsa(&n, &e, algorithm, self.kid)
            }
            "EC" => {
                let (curve, bytes) = match self.crv.as_deref() {
                    Some("P-256") => (Algorithm::Es256, 32),
                    Some("P-384") => (Algorithm::Es384, 48),
                    Some("P-521") => (Algorithm::Es512, 66),
                    other => return Err(unknown_curve(other)),
                };
                let algorithm = algorithm.unwrap_or(curve);
                if algorithm != curve {
                    return Err(not_for("a key of this curve", algorithm));
                }
                let (x, y) = (member("x", self.x.as_deref())?, member("y", self.y.as_deref())?);
                // RFC 7518, 6.2.1.2: as many bytes as the curve has, with leading zeros.
                if x.len() != bytes || y.len() != bytes {
                    return Err(malformed("`x` and `y` are not as long as the curve's coordinates"));
                }
                Key::public(&[&[4], x.as_slice(), &y].concat(), algorithm, self.kid)
            }
            "OKP" => {
                if self.crv.as_deref() != Some("Ed25519") {
                    return Err(unknown_curve(self.crv.as_deref()));
                }
                let algorithm = algorithm.unwrap_or(Algorithm::Eddsa);
                if algorithm != Algorithm::Eddsa {
                    return Err(not_for("a key of this curve", algorithm));
                }
                let x = member("x", self.x.as_deref())?;
                if is_of_small_order(&x) {
                    return Err(KeyError::Weak(
                        "a point of small order, for which anybody can sign".to_owned(),
                    ));
                }
                Key::public(&x, algorithm, self.kid)
            }
            other => Err(KeyError::Unsupported(format!("the key type `{other}`"))),
        }
    }
}

/// The bytes of a member: base64url without padding, in the one way to write them.
fn member(name: &str, text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let text = text.ok_or_else(|| KeyError::Malformed(format!("it has no `{name}`")))?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|error| KeyError::Malformed(format!("`{name}` is not base64url: {error}")))
}

/// The encodings of the points of Ed25519 whose order divides 8, without the sign: with such a key there are signatures
/// that hold for many messages.
fn is_of_small_order(point: &[u8]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let Ok(mut point) = <[u8; 32]>::try_from(point) else { return false };
    point[31] &= 0x7f;
    let [first, middle @ .., last] = &point;
    let all = |byte: u8| middle.iter().all(|other| *other == byte);
    // y is 0 or 1; p - 1, p or p + 1, where p is 2^255 - 19; or one of two more.
    let small = *last == 0 && *first <= 1 && all(0);
    let about_p = *last == 0x7f && (0xec..=0xee).contains(first) && all(0xff);
    small || about_p || ORDER_8.contains(&point)
}

fn not_a(what: &str, error: &serde_json::Error) -> KeyError {
    KeyError::Malformed(format!("not a {what}: {error}"))
}

fn undecided() -> KeyError {
    KeyError::WrongAlgorithm("it has no `alg`, so say which algorithm it is for".to_owned())
}

fn not_for(what: &str, algorithm: Algorithm) -> KeyError {
    KeyError::WrongAlgorithm(format!("{what} is not for {}", algorithm.name()))
}

fn unknown_curve(curve: Option<&str>) -> KeyError {
    match curve {
        Some(curve) => KeyError::Unsupported(format!("the curve `{curve}`")),
        None => malformed("it has no `crv`"),
    }
}
