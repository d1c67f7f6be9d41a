use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use proptest::prelude::*;

use super::LeftOutKeys;
use super::{Algorithm, Error, Hash, JwsError, KeyError, Keys, jwk, jws};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL.encode(bytes)
}

/// What makes signatures.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn rsa(size: KeySize, encoding: &'static dyn sig::RsaEncoding) -> (String, Sign) {
    let pair = RsaKeyPair::generate(size).unwrap();
    // The modulus stands before the exponent, which has two bytes of DER and is 65537.
    let der = pair.public_key().as_ref();
    let n = &der[der.len() - 5 - pair.public_modulus_len()..der.len() - 5];
    let jwk = format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, encode(n));
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    (jwk, Box::new(sign))
}

fn ecdsa(algorithm: &'static sig::EcdsaSigningAlgorithm, curve: &str) -> (String, Sign) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = pair.public_key().as_ref()[1..].to_vec();
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = format!(r#""kty":"EC","crv":"{curve}","x":"{}","y":"{}""#, encode(x), encode(y));
    (jwk, Box::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()))
}

fn eddsa() -> (String, Sign) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode(pair.public_key()));
    (jwk, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
}

fn token(header: &str, payload: &str, sign: &Sign) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    format!("{signed}.{}", encode(sign(signed.as_bytes())))
}

fn import(keys: &Keys, jwk: &str, algorithm: Option<Algorithm>) -> Result<u32, KeyError> {
    jwk::read(jwk, algorithm).and_then(|key| keys.import(key))
}

/// Why a key is refused.
fn refused(jwk: &str, algorithm: Option<Algorithm>) -> String {
    format!("{:?}", import(&Keys::default(), jwk, algorithm).unwrap_err())
}

/// The key of RFC 7515, A.1.
const RFC_SECRET: &str = r#"{"kty":"oct","alg":"HS256",
    "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const RFC_PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// The key of RFC 7515, A.3.
const RFC_P256: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
/// The key of RFC 8037, A.2.
const RFC_ED25519: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn rfc_token() -> String {
    format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
}

#[test]
fn verifies_the_examples_of_the_rfcs() {
    let keys = Keys::default();
    let numbers: Vec<u32> =
        [RFC_SECRET, RFC_P256, RFC_ED25519].iter().map(|jwk| import(&keys, jwk, None).unwrap()).collect();
    let verified = keys.verify_jws(&rfc_token(), &numbers).unwrap();
    assert_eq!((verified.key, verified.header.as_str()), (1, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}"));
    assert!(String::from_utf8(verified.payload).unwrap().starts_with(r#"{"iss":"joe""#));
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{RFC_PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(keys.verify_jws(&es256, &numbers).unwrap().key, 2);
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(keys.verify_jws(eddsa, &numbers).unwrap().payload, b"Example of Ed25519 signing");
}

#[test]
fn verifies_every_algorithm_and_nothing_that_was_changed() {
    let made = [
        ("RS256", rsa(KeySize::Rsa2048, &sig::RSA_PKCS1_SHA256)),
        ("RS384", rsa(KeySize::Rsa2048, &sig::RSA_PKCS1_SHA384)),
        ("RS512", rsa(KeySize::Rsa3072, &sig::RSA_PKCS1_SHA512)),
        ("PS256", rsa(KeySize::Rsa2048, &sig::RSA_PSS_SHA256)),
        ("PS384", rsa(KeySize::Rsa2048, &sig::RSA_PSS_SHA384)),
        ("PS512", rsa(KeySize::Rsa2048, &sig::RSA_PSS_SHA512)),
        ("ES256", ecdsa(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        ("ES384", ecdsa(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        ("ES512", ecdsa(&sig::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")),
        ("EdDSA", eddsa()),
    ];
    let keys = Keys::default();
    let set: Vec<String> = made.iter().map(|(alg, (jwk, _))| format!(r#"{{"alg":"{alg}",{jwk}}}"#)).collect();
    let numbers = keys
        .import_set(&format!(r#"{{"keys":[{}]}}"#, set.join(",")), None, &LeftOutKeys::default(), &mut || {
            Ok(())
        })
        .unwrap()
        .unwrap();
    assert_eq!(numbers, Vec::from_iter(1..=10));
    for (at, (alg, (_, sign))) in made.iter().enumerate() {
        let good = token(&format!(r#"{{"alg":"{alg}"}}"#), r#"{"sub":"a"}"#, sign);
        let verified = keys.verify_jws(&good, &numbers).unwrap_or_else(|error| panic!("{alg}: {error:?}"));
        assert_eq!((verified.key, &*verified.payload), (numbers[at], &br#"{"sub":"a"}"#[..]), "{alg}");
        let changed = good.replacen(&encode(r#"{"sub":"a"}"#), &encode(r#"{"sub":"b"}"#), 1);
        assert!(matches!(keys.verify_jws(&changed, &numbers), Err(JwsError::WrongSignature)), "{alg}");
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let signature = BASE64URL.decode(signature).unwrap();
        assert!(
            keys.verify(numbers[at], signed.as_bytes(), &signature, &mut || Ok(())).unwrap().unwrap(),
            "{alg}"
        );
        for other in numbers.iter().filter(|other| **other != numbers[at]) {
            assert!(
                !keys.verify(*other, signed.as_bytes(), &signature, &mut || Ok(())).unwrap().unwrap(),
                "{alg}, key {other}"
            );
        }
        let short = &signature[..signature.len() - 1];
        assert!(
            !keys.verify(numbers[at], signed.as_bytes(), short, &mut || Ok(())).unwrap().unwrap(),
            "{alg}"
        );
        assert!(
            matches!(keys.mac(numbers[at], b"x", &mut || Ok(())).unwrap(), Err(Error::WrongAlgorithm)),
            "{alg}"
        );
    }
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let keys = Keys::default();
    let (jwk, _) = rsa(KeySize::Rsa2048, &sig::RSA_PKCS1_SHA256);
    let key = import(&keys, &format!("{{{jwk}}}"), Some(Algorithm::Rs256)).unwrap();
    // The old trick: the public key, which everybody has, taken as the secret of an HMAC.
    let secret = jwk.clone();
    let sign: Sign = Box::new(move |message| {
        super::hmac(Hash::Sha256, secret.as_bytes(), message, &mut || Ok(())).unwrap().unwrap()
    });
    for alg in ["HS256", "none", "None", "", "RS384", "PS256"] {
        let forged = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}", &sign);
        assert!(matches!(keys.verify_jws(&forged, &[key]), Err(JwsError::NoKey)), "{alg}");
    }
    let forged = token(r#"{"alg":"RS256"}"#, "{}", &sign);
    assert!(matches!(keys.verify_jws(&forged, &[key]), Err(JwsError::WrongSignature)));
    assert!(matches!(keys.verify_jws(&rfc_token(), &[]), Err(JwsError::NoKey)), "without keys");
    assert!(
        matches!(keys.verify_jws(&rfc_token(), &[0, 7]), Err(JwsError::NoKey)),
        "keys that there are not"
    );
}

#[test]
fn a_kid_chooses_among_keys_where_both_sides_have_one() {
    let keys = Keys::default();
    let secret = |kid: &str| RFC_SECRET.replace(r#""kty""#, &format!(r#""kid":"{kid}","kty""#));
    let (a, b) = (import(&keys, &secret("a"), None).unwrap(), import(&keys, &secret("b"), None).unwrap());
    let without = import(&keys, RFC_SECRET, None).unwrap();
    assert_ne!(a, b, "the same secret under two names is two keys");
    let signing = keys.0.get(a).unwrap();
    let sign: Sign = Box::new(move |message| signing.mac(message, &mut || Ok(())).unwrap().unwrap());
    let of_b = token(r#"{"alg":"HS256","kid":"b"}"#, "{}", &sign);
    assert_eq!(keys.verify_jws(&of_b, &[a, b, without]).unwrap().key, b);
    assert_eq!(keys.verify_jws(&of_b, &[a, without]).unwrap().key, without, "a key without a name may be it");
    assert!(matches!(keys.verify_jws(&of_b, &[a]), Err(JwsError::NoKey)));
    assert_eq!(
        keys.verify_jws(&rfc_token(), &[b]).unwrap().key,
        b,
        "so may any where the token says nothing"
    );
}

#[test]
fn tries_at_most_eight_keys() {
    let keys = Keys::default();
    let secret =
        |at: usize| super::Key::secret(&[u8::try_from(at).unwrap(); 32], Algorithm::Hs256, None).unwrap();
    let mut numbers: Vec<u32> = (0..8).map(|at| keys.import(secret(at)).unwrap()).collect();
    numbers.insert(7, import(&keys, RFC_SECRET, None).unwrap());
    assert!(keys.verify_jws(&rfc_token(), &numbers).is_ok(), "the eighth");
    numbers.swap(7, 8);
    assert!(matches!(keys.verify_jws(&rfc_token(), &numbers), Err(JwsError::WrongSignature)), "the ninth");
}

#[test]
fn refuses_tokens_that_could_be_read_in_two_ways() {
    let keys = Keys::default();
    let key = import(&keys, RFC_SECRET, None).unwrap();
    let signing = keys.0.get(key).unwrap();
    let sign: Sign = Box::new(move |message| signing.mac(message, &mut || Ok(())).unwrap().unwrap());
    let check = |token: &str| format!("{:?}", keys.verify_jws(token, &[key]).unwrap_err());
    for (header, reason) in [
        (r#"{"alg":"HS256","alg":"HS256"}"#, "twice"),
        (r#"{"alg":"HS256","x":1,"x":2}"#, "twice"),
        (r#"{"typ":"JWT"}"#, "missing field `alg`"),
        (r#"{"alg":["HS256"]}"#, "expected a string"),
        (r#"{"alg":"HS256","kid":7}"#, "expected a string"),
        (r#"["HS256"]"#, "expected a JSON object"),
        (r#"{"alg":"HS256"} x"#, "trailing"),
        (r#"{"alg":"HS256","crit":["exp"]}"#, "critical"),
        (r#"{"alg":"HS256","b64":false}"#, "critical"),
        ("", "EOF"),
    ] {
        let told = check(&token(header, "{}", &sign));
        assert!(told.contains(reason), "{header}: {told}");
    }
    let good = token(r#"{"alg":"HS256"}"#, "{}", &sign);
    assert!(keys.verify_jws(&good, &[key]).is_ok());
    for bad in [
        "".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}.e30"),
        good.replace('.', ".."),
        good.rsplit_once('.').unwrap().0.to_owned(),
        // Another last character with the same bytes.
        good.replacen("e30.", "e31.", 1),
    ] {
        assert!(check(&bad).starts_with("Malformed"), "{bad:?}: {}", check(&bad));
    }
    let long = format!("{good}{}", "A".repeat((64 << 10) - good.len() + 1));
    assert!(matches!(keys.verify_jws(&long, &[key]), Err(JwsError::TooLarge)));
}

#[test]
fn refuses_weak_keys() {
    for (bytes, algorithm) in [(31, Algorithm::Hs256), (47, Algorithm::Hs384), (63, Algorithm::Hs512)] {
        let secret = |bytes| super::Key::secret(&vec![7; bytes], algorithm, None);
        assert!(
            matches!(secret(bytes), Err(KeyError::Weak(_))) && secret(bytes + 1).is_ok(),
            "{algorithm:?}"
        );
    }
    let number = |bytes: usize| encode(vec![0xff; bytes]);
    let rsa =
        |n: &str, e: &str| refused(&format!(r#"{{"kty":"RSA","alg":"RS256","n":"{n}","e":"{e}"}}"#), None);
    assert!(rsa(&number(255), "AQAB").contains("2048 to 8192 bits here, not 2040"));
    assert!(rsa(&number(1025), "AQAB").contains("not 8200"));
    assert!(rsa(&encode([0, 1]), "AQAB").contains("leading zeros"));
    for e in [&[3][..], &[1, 0, 0], &[0, 1, 0, 1], &[1, 0, 0, 0, 1], &[]] {
        assert!(rsa(&number(256), &encode(e)).contains("exponent"), "{e:?}");
    }
    let mut small = [0; 32];
    for sign in [0, 0x80] {
        small[31] = sign;
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, encode(small));
        assert!(refused(&jwk, None).contains("small order"), "{sign}");
    }
    let off_curve = RFC_P256.replace("x_FE", "x_FF");
    assert!(refused(&off_curve, None).contains("not those of a key"));
}

#[test]
fn a_key_is_for_one_algorithm() {
    let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
    assert!(refused(rsa, None).starts_with("WrongAlgorithm"), "it leaves open which");
    assert!(refused(rsa, Some(Algorithm::Hs256)).contains("an RSA key is not for HS256"));
    assert!(refused(rsa, Some(Algorithm::Es256)).contains("an RSA key is not for ES256"));
    assert!(refused(RFC_P256, Some(Algorithm::Es384)).contains("not for ES384"));
    assert!(refused(RFC_ED25519, Some(Algorithm::Rs256)).contains("not for RS256"));
    assert!(refused(RFC_SECRET, Some(Algorithm::Hs384)).contains("it is for HS256, and HS384 is wanted"));
    let confused = RFC_SECRET.replace("HS256", "RS256");
    assert!(refused(&confused, None).contains("not for RS256"));
}

#[test]
fn refuses_keys_that_are_for_something_else() {
    for (change, reason) in [
        (r#""use":"enc","#, "for `enc`"),
        (r#""key_ops":["encrypt"],"#, "key_ops"),
        (r#""d":"AAAA","#, "private"),
        (r#""alg":"ECDH-ES","#, "`ECDH-ES`"),
    ] {
        let told = refused(&RFC_P256.replacen('{', &format!("{{{change}"), 1), None);
        assert!(told.starts_with("Unsupported") && told.contains(reason), "{change}: {told}");
    }
    assert!(refused(r#"{"kty":"EC","crv":"secp256k1"}"#, None).contains("`secp256k1`"));
    assert!(refused(r#"{"kty":"OKP","crv":"X25519"}"#, None).contains("`X25519`"));
    assert!(refused(r#"{"kty":"AKP"}"#, None).contains("`AKP`"));
}

#[test]
fn reads_keys_strictly() {
    for (jwk, reason) in [
        ("", "EOF"),
        ("[]", "JSON Web Key"),
        (r#"{"alg":"HS256"}"#, "kty"),
        (r#"{"kty":"oct","kty":"RSA"}"#, "duplicate"),
        (r#"{"kty":"oct","alg":"HS256"}"#, "no `k`"),
        (r#"{"kty":"oct","alg":"HS256","k":"AAA="}"#, "not base64url"),
        (r#"{"kty":"oct","alg":"HS256","k":"AAB+"}"#, "not base64url"),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "coordinates"),
        (r#"{"kty":"EC"}"#, "no `crv`"),
    ] {
        let told = refused(jwk, None);
        assert!(told.starts_with("Malformed") && told.contains(reason), "{jwk}: {told}");
    }
    assert!(matches!(jwk::read(&" ".repeat((64 << 10) + 1), None), Err(KeyError::TooLarge)));
    assert!(matches!(
        jwk::read_set(&" ".repeat((1 << 20) + 1), None, &mut || Ok(())).unwrap(),
        Err(KeyError::TooLarge)
    ));
}

#[test]
fn takes_from_a_set_what_it_can_use() {
    let keys = Keys::default();
    let rsa = rsa(KeySize::Rsa2048, &sig::RSA_PKCS1_SHA256).0;
    let set = format!(
        r#"{{"keys":[{{"kty":"AKP"}},{{"use":"enc",{rsa}}},{RFC_P256},{{"alg":"RS256",{rsa}}},{RFC_P256}]}}"#
    );
    let import = |set: &str, algorithm| {
        keys.import_set(set, algorithm, &LeftOutKeys::default(), &mut || Ok(())).unwrap()
    };
    assert_eq!(import(&set, None).unwrap(), [1, 2], "one that is there twice is one");
    assert_eq!(import(&set, Some(Algorithm::Rs256)).unwrap(), [2], "importing again gives the same");
    assert_eq!(import(r#"{"keys":[]}"#, None).unwrap(), [0_u32; 0]);
    let open = format!(r#"{{"keys":[{{{rsa}}},{RFC_P256}]}}"#);
    assert_eq!(import(&open, None).unwrap(), [1], "the first leaves open which algorithm it is for");
    assert_eq!(import(&open, Some(Algorithm::Ps256)).unwrap(), [3]);
    // One bad key does not take the good ones with it.
    let bad = format!(r#"{{"keys":[{{}},{{"kty":"RSA","alg":"RS256","n":"!","e":"AQAB"}},5,{RFC_P256}]}}"#);
    assert_eq!(import(&bad, None).unwrap(), [1]);
    assert!(matches!(import(r#"{}"#, None), Err(KeyError::Malformed(_))));
}

#[test]
fn what_no_call_could_use_of_a_set_is_told_once_with_its_id() {
    let (keys, left_out) = (Keys::default(), LeftOutKeys::default());
    let rsa = rsa(KeySize::Rsa2048, &sig::RSA_PKCS1_SHA256).0;
    let set = format!(
        r#"{{"keys":[{{"kid":"open",{rsa}}},{{"kid":"said","alg":"RS512",{rsa}}},{{"kid":"enc","use":"enc",{rsa}}},{{"kty":"RSA","n":"!"}}]}}"#
    );
    for algorithm in [None, Some(Algorithm::Rs256)] {
        assert_eq!(keys.import_set(&set, algorithm, &left_out, &mut || Ok(())).unwrap().unwrap().len(), 1);
    }
    let names: Vec<String> = left_out.take().into_iter().map(|key| key.name).collect();
    assert!(
        names.len() == 2 && names.contains(&"enc".to_owned()) && names.contains(&"number 4".to_owned()),
        "{names:?}"
    );
    keys.import_set(&set, None, &left_out, &mut || Ok(())).unwrap().unwrap();
    assert!(left_out.take().is_empty(), "each is told once");
}

#[test]
fn bounds_the_keys_of_a_policy() {
    let keys = Keys::default();
    let secret = |at: u16| {
        let secret: Vec<u8> = at.to_be_bytes().iter().copied().cycle().take(32).collect();
        super::Key::secret(&secret, Algorithm::Hs256, None).unwrap()
    };
    for at in 0..1000 {
        assert_eq!(keys.import(secret(at)).unwrap(), u32::from(at) + 1);
    }
    assert!(matches!(keys.import(secret(1000)), Err(KeyError::TooMany)));
    assert_eq!(keys.import(secret(7)).unwrap(), 8, "those that there are can be had again");
    keys.forget(8);
    assert_eq!(keys.verify(8, b"", b"", &mut || Ok(())).unwrap(), Err(super::Error::NoKey));
    assert_eq!(keys.import(secret(1000)).unwrap(), 1001, "a number that no other had");
}

#[test]
fn a_key_is_tried_once_however_many_times_it_is_named() {
    let keys = Keys::default();
    let import =
        |at: u8| keys.import(super::Key::secret(&[at; 32], Algorithm::Hs256, None).unwrap()).unwrap();
    let numbers: Vec<u32> = (0..10).map(import).collect();
    let signing = super::Key::secret(&[1; 32], Algorithm::Hs256, None).unwrap();
    let sign: Sign = Box::new(move |message| signing.mac(message, &mut || Ok(())).unwrap().unwrap());
    let token = token(r#"{"alg":"HS256"}"#, "{}", &sign);
    // The right one after many of another one, which would use up the tries.
    let again = [vec![numbers[0]; 900], vec![numbers[1]]].concat();
    assert_eq!(keys.verify_jws(&token, &again).unwrap().key, numbers[1]);
    // The ninth is not tried.
    let ninth = [&numbers[2..10], &numbers[1..2]].concat();
    assert!(matches!(keys.verify_jws(&token, &ninth), Err(JwsError::WrongSignature)));
    let most = vec![numbers[1]; 1000];
    assert!(keys.verify_jws(&token, &most).is_ok());
    assert!(matches!(keys.verify_jws(&token, &[most, vec![1]].concat()), Err(JwsError::TooLarge)));
}

#[test]
fn what_takes_long_looks_at_the_time_in_between() {
    let keys = Keys::default();
    let key = keys.import(super::Key::secret(&[7; 64], Algorithm::Hs512, None).unwrap()).unwrap();
    let data = vec![0; 1 << 20];
    let times = |work: &dyn Fn(crate::CheckTime<'_>)| {
        let mut looks = 0;
        work(&mut || {
            looks += 1;
            Ok(())
        });
        looks
    };
    assert!(times(&|look| drop(super::digest(Hash::Sha256, &data, look))) >= 16);
    assert!(times(&|look| drop(super::hmac(Hash::Sha256, &data, &data, look))) >= 32);
    assert!(times(&|look| drop(keys.mac(key, &data, look))) >= 16);
    assert!(times(&|look| assert!(keys.verify(key, &data, b"", look).is_ok())) >= 16);
    let set = format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"x"}"#; 1000].join(","));
    assert!(times(&|look| drop(keys.import_set(&set, None, &LeftOutKeys::default(), look))) >= 1000);
}

#[test]
fn computes_digests_and_codes() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let abc = |hash| hex(super::digest(hash, b"abc", &mut || Ok(())).unwrap().unwrap());
    assert!(abc(Hash::Sha256).starts_with("ba7816bf8f01cfea"));
    assert!(abc(Hash::Sha384).starts_with("cb00753f45a35e8b"));
    assert!(abc(Hash::Sha512).starts_with("ddaf35a193617aba"));
    // RFC 4231, 4.3.
    let code = |hash| {
        hex(super::hmac(hash, b"Jefe", b"what do ya want for nothing?", &mut || Ok(())).unwrap().unwrap())
    };
    assert!(code(Hash::Sha256).starts_with("5bdcc146bf60754e"));
    assert!(code(Hash::Sha384).starts_with("af45d2e376484031"));
    assert!(code(Hash::Sha512).starts_with("164b7a7bfcf819e2"));
    let keys = Keys::default();
    let secret = [7; 64];
    for (algorithm, hash) in
        [(Algorithm::Hs256, Hash::Sha256), (Algorithm::Hs384, Hash::Sha384), (Algorithm::Hs512, Hash::Sha512)]
    {
        let key = keys.import(super::Key::secret(&secret, algorithm, None).unwrap()).unwrap();
        assert_eq!(
            keys.mac(key, b"m", &mut || Ok(())).unwrap().unwrap(),
            super::hmac(hash, &secret, b"m", &mut || Ok(())).unwrap().unwrap()
        );
        assert!(
            keys.verify(key, b"m", &keys.mac(key, b"m", &mut || Ok(())).unwrap().unwrap(), &mut || Ok(()))
                .unwrap()
                .unwrap()
        );
        assert!(
            !keys
                .verify(key, b"n", &keys.mac(key, b"m", &mut || Ok(())).unwrap().unwrap(), &mut || Ok(()))
                .unwrap()
                .unwrap()
        );
    }
}

#[test]
fn bounds_what_a_call_works_on() {
    let keys = Keys::default();
    let key = import(&keys, RFC_SECRET, None).unwrap();
    let (most, more) = (vec![0; 1 << 20], vec![0; (1 << 20) + 1]);
    assert!(
        super::digest(Hash::Sha512, &most, &mut || Ok(())).unwrap().is_ok()
            && keys.mac(key, &most, &mut || Ok(())).unwrap().is_ok()
    );
    assert!(matches!(super::digest(Hash::Sha512, &more, &mut || Ok(())).unwrap(), Err(Error::TooLarge)));
    assert!(matches!(super::hmac(Hash::Sha256, &more, b"", &mut || Ok(())).unwrap(), Err(Error::TooLarge)));
    assert!(matches!(super::hmac(Hash::Sha256, b"", &more, &mut || Ok(())).unwrap(), Err(Error::TooLarge)));
    assert!(matches!(keys.mac(key, &more, &mut || Ok(())).unwrap(), Err(Error::TooLarge)));
    assert!(matches!(keys.verify(key, &more, b"", &mut || Ok(())).unwrap(), Err(Error::TooLarge)));
    assert!(matches!(keys.verify(9, b"", b"", &mut || Ok(())).unwrap(), Err(Error::NoKey)));
}

proptest! {
    #[test]
    fn no_text_makes_a_key_or_token_panic(text in ".{0,200}") {
        drop(jwk::read(&text, None));
        drop(jwk::read_set(&text, Some(Algorithm::Es256), &mut || Ok(())));
        drop(jws::parse(&text));
    }

    #[test]
    fn no_member_makes_a_key_panic(
        kty in "RSA|EC|OKP|oct",
        crv in "P-256|P-384|P-521|Ed25519",
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        e in proptest::collection::vec(any::<u8>(), 0..6),
        wanted in proptest::sample::select(vec![
            None, Some(Algorithm::Hs256), Some(Algorithm::Ps512), Some(Algorithm::Es512), Some(Algorithm::Eddsa),
        ]),
    ) {
        let (bytes, e) = (encode(bytes), encode(e));
        let jwk = format!(
            r#"{{"kty":"{kty}","crv":"{crv}","n":"{bytes}","e":"{e}","x":"{bytes}","y":"{bytes}","k":"{bytes}"}}"#
        );
        let keys = Keys::default();
        if let Ok(key) = import(&keys, &jwk, wanted) {
            // Whatever is taken for a key bears a check.
            let _ = keys.verify(key, b"message", &[0; 64], &mut || Ok(())).unwrap().unwrap();
        }
    }

    #[test]
    fn no_changed_token_is_believed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let keys = Keys::default();
        let key = import(&keys, RFC_SECRET, None).unwrap();
        let good = rfc_token();
        let mut changed = good.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        let verified = String::from_utf8(changed).ok().filter(|changed| *changed != good);
        if let Some(changed) = verified {
            prop_assert!(keys.verify_jws(&changed, &[key]).is_err(), "{changed}");
        }
    }
}
