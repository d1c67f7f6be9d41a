//! The Huffman code of HPACK (RFC 7541, Appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols. So only the
//! lengths have to be listed.

/// How many bits the code of each byte has; the last is the end of string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// The longest code.
const BITS_MAX: usize = 30;

/// A byte that is not a code, or a string that does not end in padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCode;

/// The code, arranged for decoding.
struct Code {
    /// For each length, its first code, in the highest bits of 32.
    first: [u32; BITS_MAX + 1],
    /// For each length, the index of its first symbol in `symbols`.
    offset: [u16; BITS_MAX + 1],
    /// All symbols, by length and number.
    symbols: [u16; 257],
    /// For each first byte of a code: its length and symbol, if it has at most eight bits; else a length of 0.
    short: [(u8, u8); 256],
}

static CODE: Code = arrange();

const fn arrange() -> Code {
    let mut code = Code {
        first: [u32::MAX; BITS_MAX + 1],
        offset: [0; BITS_MAX + 1],
        symbols: [0; 257],
        short: [(0, 0); 256],
    };
    let (mut next, mut placed, mut bits) = (0_u64, 0, 1);
    while bits <= BITS_MAX {
        code.first[bits] = next as u32;
        code.offset[bits] = placed as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == bits {
                code.symbols[placed] = symbol as u16;
                if bits <= 8 {
                    let mut at = (next >> 24) as usize;
                    let end = at + (1 << (8 - bits));
                    while at < end {
                        code.short[at] = (bits as u8, symbol as u8);
                        at += 1;
                    }
                }
                placed += 1;
                next += 1 << (32 - bits);
            }
            symbol += 1;
        }
        bits += 1;
    }
    code
}

/// Decodes `coded` and appends the result to `out`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), NoCode> {
    let (mut bits, mut count) = (0_u64, 0_usize);
    let mut rest = coded.iter();
    loop {
        while count <= 32 {
            let Some(&byte) = rest.next() else { break };
            bits |= u64::from(byte) << (56 - count);
            count += 8;
        }
        if count == 0 {
            return Ok(());
        }
        // Padding is the start of the end-of-string code, less than a byte of it (RFC 7541, 5.2). No code of seven bits
        // or fewer is all ones.
        if count < 8 && bits >> (64 - count) == (1 << count) - 1 {
            return Ok(());
        }
        let length = match CODE.short[(bits >> 56) as usize] {
            (0, _) => {
                let (length, symbol) = long(bits).filter(|(length, _)| *length <= count).ok_or(NoCode)?;
                out.push(u8::try_from(symbol).map_err(|_| NoCode)?);
                length
            }
            (length, symbol) if usize::from(length) <= count => {
                out.push(symbol);
                usize::from(length)
            }
            _ => return Err(NoCode),
        };
        bits <<= length;
        count -= length;
    }
}

/// Returns the length and the symbol of the code at the top of `bits`, which has more than eight bits.
fn long(bits: u64) -> Option<(usize, u16)> {
    let top = (bits >> 32) as u32;
    let length = (9..BITS_MAX).find(|length| top < CODE.first[length + 1]).unwrap_or(BITS_MAX);
    let number = top.checked_sub(CODE.first[length])? >> (32 - length);
    let symbol = CODE.symbols.get(usize::from(CODE.offset[length]) + number as usize)?;
    Some((length, *symbol))
}
