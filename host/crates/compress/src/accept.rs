//! `Accept-Encoding` (RFC 9110, 12.5.3).

#[cfg(test)]
mod tests;

use portcullis_http::Fields;
use portcullis_model::Coding;

/// The weight of what is wanted most, in thousandths.
const FULL: u16 = 1000;
/// The weight of a plain body that the client does not mention: it takes one, and likes each coding that it mentions
/// better.
const UNSAID: u16 = 1;

/// Which codings a client takes, and which of them it likes best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// By place in [`Coding::ALL`], in thousandths; 0 is not taken.
    weights: [u16; Coding::ALL.len()],
    /// The weight of a plain body.
    identity: u16,
}

impl Default for Accepted {
    /// What a client takes that says nothing of codings: a plain body. RFC 9110 allows any coding then, which clients
    /// that say nothing mostly cannot read.
    fn default() -> Self {
        Self { weights: [0; Coding::ALL.len()], identity: FULL }
    }
}

impl Accepted {
    /// Reads all lines of the field. Members that are malformed do not count, and of several for one coding the first
    /// does.
    #[must_use]
    pub fn read(fields: &Fields) -> Self {
        let (mut listed, mut identity, mut any) = ([None; Coding::ALL.len()], None, None);
        let mut lines = fields.get_all(b"accept-encoding").peekable();
        if lines.peek().is_none() {
            return Self::default();
        }
        for member in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
            let (name, parameters) = match member.iter().position(|byte| *byte == b';') {
                Some(at) => (&member[..at], &member[at + 1..]),
                None => (member, &[][..]),
            };
            let Some(weight) = weight(parameters) else { continue };
            let name = name.trim_ascii();
            let place = match Coding::named(name) {
                Some(coding) => &mut listed[place(coding)],
                None if name == b"*" => &mut any,
                None if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                None => continue,
            };
            place.get_or_insert(weight);
        }
        Self {
            weights: listed.map(|weight| weight.or(any).unwrap_or(0)),
            identity: identity.or(any).unwrap_or(UNSAID),
        }
    }

    /// Returns the coding of `codings` that the client likes best, of several alike the first. `None` if a plain body
    /// is liked better, or none of them is taken.
    #[must_use]
    pub fn choose(&self, codings: &[Coding]) -> Option<Coding> {
        let mut best: Option<(Coding, u16)> = None;
        for coding in codings {
            let weight = self.weights[place(*coding)];
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((*coding, weight));
            }
        }
        best.filter(|(_, weight)| *weight >= self.identity).map(|(coding, _)| coding)
    }

    /// Returns those of `codings` that the client likes at least as well as a plain body, the one that it likes best
    /// first, and of several alike in their order.
    #[must_use]
    pub fn in_order(&self, codings: &[Coding]) -> Vec<Coding> {
        let mut left = codings.to_vec();
        let mut order = Vec::new();
        while let Some(best) = self.choose(&left) {
            left.retain(|coding| *coding != best);
            order.push(best);
        }
        order
    }

    /// Returns whether the client says that it does not take a plain body.
    #[must_use]
    pub fn refuses_plain(&self) -> bool {
        self.identity == 0
    }
}

fn place(coding: Coding) -> usize {
    match coding {
        Coding::Zstd => 0,
        Coding::Brotli => 1,
        Coding::Gzip => 2,
    }
}

/// Returns the weight that the parameters of a member give it, in thousandths, or `None` if they are malformed.
fn weight(parameters: &[u8]) -> Option<u16> {
    let parameters = parameters.trim_ascii();
    if parameters.is_empty() {
        return Some(FULL);
    }
    let [b'q' | b'Q', b'=', value @ ..] = parameters else { return None };
    let (whole, rest) = value.split_first()?;
    let fraction = match rest {
        [] => &[][..],
        [b'.', fraction @ ..] if fraction.len() <= 3 => fraction,
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => FULL,
        _ => return None,
    };
    let mut unit = FULL / 10;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (thousandths <= FULL).then_some(thousandths)
}
