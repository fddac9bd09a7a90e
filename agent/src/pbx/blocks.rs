//! Which of 64 bytes are quotes, commas and line feeds, found with what the processor has for it.

/// Which of 64 bytes are what: bit 0 stands for the first.
pub(super) struct Masks {
    pub(super) quotes: u64,
    pub(super) commas: u64,
    pub(super) line_feeds: u64,
}

/// No more bytes than these are looked at in one go.
pub(super) const WINDOW: usize = 16 * 1024;

/// Places in a window, with room for what is written beside them.
pub(super) type Places = [u16; WINDOW + 64];

/// A set of instructions.
pub(super) trait Lanes {
    /// Looks at a block.
    fn masks(block: &[u8; 64]) -> Masks;

    /// Bit i is set where an odd number of bits is set in 0..=i: from an opening quote up to before the closing one.
    fn parity(quotes: u64) -> u64;

    /// Writes the places of a mask's bits into a list from place `at` on, `base` added to each; says where the list ends then.
    /// Some more of the list may be written over.
    #[inline(always)]
    fn put(mask: u64, base: u16, list: &mut Places, at: usize) -> usize {
        put_each(mask, base, list, at);
        at + mask.count_ones() as usize
    }
}

/// Some places are written without looking: where there are no more, nothing is guessed wrong.
#[inline(always)]
fn put_each(mut mask: u64, base: u16, list: &mut Places, mut at: usize) {
    const AT_ONCE: usize = 8;
    loop {
        for slot in &mut list[at.min(WINDOW)..][..AT_ONCE] {
            *slot = base + mask.trailing_zeros() as u16;
            mask &= mask.wrapping_sub(1);
        }
        if mask == 0 {
            return;
        }
        at += AT_ONCE;
    }
}

/// The same for a mask of a kind that hardly ever comes: kept apart, it does not stand in the way of the others.
#[cfg(target_arch = "x86_64")]
#[cold]
#[inline(never)]
fn put_many(mask: u64, base: u16, list: &mut Places, at: usize) {
    put_each(mask, base, list, at);
}

/// The instructions that every processor has for which the program was built.
pub(super) struct Everywhere;

impl Lanes for Everywhere {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe { by_sse2(block) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        let equal = |byte| block.iter().rev().fold(0_u64, |mask, &other| (mask << 1) | u64::from(other == byte));
        Masks { quotes: equal(b'"'), commas: equal(b','), line_feeds: equal(b'\n') }
    }

    #[inline(always)]
    fn parity(quotes: u64) -> u64 {
        let mut parity = quotes;
        parity ^= parity << 1;
        parity ^= parity << 2;
        parity ^= parity << 4;
        parity ^= parity << 8;
        parity ^= parity << 16;
        parity ^ (parity << 32)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn by_sse2(block: &[u8; 64]) -> Masks {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let mut masks = Masks { quotes: 0, commas: 0, line_feeds: 0 };
    let (lanes, _) = block.as_chunks::<16>();
    for (index, lane) in lanes.iter().enumerate() {
        let [low, high] = [0, 8].map(|at| i64::from_le_bytes(std::array::from_fn(|i| lane[at + i])));
        let bytes = _mm_set_epi64x(high, low);
        let equal = |byte: u8| u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u16);
        masks.quotes |= equal(b'"') << (16 * index);
        masks.commas |= equal(b',') << (16 * index);
        masks.line_feeds |= equal(b'\n') << (16 * index);
    }
    masks
}

/// AVX2, and the multiplication without carries that comes with it.
#[cfg(target_arch = "x86_64")]
pub(super) struct Wide;

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// Whether this processor has all that is enabled where [`Wide`] is used.
    pub(super) fn is_here() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("popcnt")
    }
}

/// To be used by functions that enable these instructions alone, which only [`Wide::is_here`] allows to be called.
#[cfg(target_arch = "x86_64")]
impl Lanes for Wide {
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8};

        // SAFETY: see above; each load reads 32 of the block's 64 bytes, wherever they lie.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast());
            let equal = |byte: u8| {
                let byte = _mm256_set1_epi8(byte as i8);
                let half = |bytes| u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, byte)) as u32);
                half(low) | half(high) << 32
            };
            Masks { quotes: equal(b'"'), commas: equal(b','), line_feeds: equal(b'\n') }
        }
    }

    #[inline(always)]
    fn parity(quotes: u64) -> u64 {
        use std::arch::x86_64::{_mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set1_epi8};

        // SAFETY: see above.
        unsafe {
            _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(quotes as i64), _mm_set1_epi8(-1))) as u64
        }
    }
}

/// AVX-512, with the instruction that gathers bytes by a mask.
#[cfg(target_arch = "x86_64")]
pub(super) struct Widest;

#[cfg(target_arch = "x86_64")]
impl Widest {
    /// Whether this processor has all that is enabled where [`Widest`] is used.
    pub(super) fn is_here() -> bool {
        Wide::is_here()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
    }
}

/// To be used by functions that enable these instructions alone, which only [`Widest::is_here`] allows to be called.
#[cfg(target_arch = "x86_64")]
impl Lanes for Widest {
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_set1_epi8};

        // SAFETY: see above; the load reads the block's 64 bytes, wherever they lie.
        unsafe {
            let bytes = _mm512_loadu_si512(block.as_ptr().cast());
            let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8));
            Masks { quotes: equal(b'"'), commas: equal(b','), line_feeds: equal(b'\n') }
        }
    }

    #[inline(always)]
    fn parity(quotes: u64) -> u64 {
        Wide::parity(quotes)
    }

    #[inline(always)]
    fn put(mask: u64, base: u16, list: &mut Places, at: usize) -> usize {
        use std::arch::x86_64::{
            _mm256_add_epi16, _mm256_cvtepu8_epi16, _mm256_set1_epi16, _mm256_storeu_si256, _mm512_castsi512_si128,
            _mm512_loadu_si512, _mm512_maskz_compress_epi8,
        };

        const AT_ONCE: usize = 16;
        static NUMBERS: [u8; 64] = {
            let mut numbers = [0; 64];
            let mut at = 0;
            while at < 64 {
                numbers[at] = at as u8;
                at += 1;
            }
            numbers
        };
        let slots = &mut list[at.min(WINDOW)..][..AT_ONCE];
        // SAFETY: see above; the load reads the 64 numbers, and the store writes the 16 slots.
        unsafe {
            let places = _mm512_maskz_compress_epi8(mask, _mm512_loadu_si512(NUMBERS.as_ptr().cast()));
            let places = _mm256_cvtepu8_epi16(_mm512_castsi512_si128(places));
            let places = _mm256_add_epi16(places, _mm256_set1_epi16(base as i16));
            _mm256_storeu_si256(slots.as_mut_ptr().cast(), places);
        }
        let count = mask.count_ones() as usize;
        if count > AT_ONCE {
            put_many(mask, base, list, at);
        }
        at + count
    }
}
