//! Chance that can be told again: the same seed and the same question give the same answer, in whatever order one asks.
//!
//! Services run side by side, so a shared stream of random numbers would be dealt out differently in every run. Here every
//! question ("is the payment of order 17 declined?") has a stream of its own. This is SplitMix64; it is not for secrets.

/// A stream of chance for one question.
#[derive(Clone, Debug)]
pub struct Rng(u64);

/// Offset basis and prime of 64-bit FNV-1a.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Rng {
    /// The stream of `question` in the world of `seed`.
    pub fn of(seed: u64, question: &str) -> Self {
        let hash = question.bytes().fold(FNV_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        let mut rng = Self(seed ^ hash);
        // Seeds that differ in one bit begin far apart.
        rng.0 = rng.next();
        rng
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A whole number below `end`; 0 where there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias is below `end` in 2^64, and nobody sees it.
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Whether something that happens `per_mille` times in a thousand happens now.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of several; the first where there is only that.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(all.len() as u64);
        all.get(usize::try_from(at).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_one_answer_per_seed() {
        let ask = |seed, question| {
            let mut rng = Rng::of(seed, question);
            [rng.next(), rng.next()]
        };
        assert_eq!(ask(1, "a"), ask(1, "a"));
        assert_ne!(ask(1, "a"), ask(2, "a"));
        assert_ne!(ask(1, "a"), ask(1, "b"));
    }

    #[test]
    fn shares_are_about_what_was_asked_for() {
        let happened = (0..10_000).filter(|n| Rng::of(7, &n.to_string()).happens(60)).count();
        assert!((400..800).contains(&happened), "{happened} of 10000 at 60 per mille");
        assert_eq!((0..1_000).filter(|n| Rng::of(*n, "never").happens(0)).count(), 0);
    }
}
