/*
 * mu-law and A-law by AVX2, 32 samples at a time. Decoding multiplies a number that depends on
 * the step by a power of two that depends on the segment. Encoding reads the segment and the
 * step from the bits of a float, as the scalar kernels do.
 */
#include "g711/iwp_g711.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

#define LANES 32u /* the codes in one register; their samples fill two registers */

/* The same sixteen bytes in both halves of a register. The first byte is the lowest. */
#define BOTH_HALVES(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/* Two registers of samples. */
struct pair {
    __m256i low, high;
};

IWP_AVX2 IWP_INLINE __m256i words(int value)
{
    return _mm256_set1_epi16((short)value);
}

IWP_AVX2 IWP_INLINE __m256i bytes(int value)
{
    return _mm256_set1_epi8((char)value);
}

/* Return a_even * b_even + a_odd * b_odd for each byte: a is unsigned, b is signed. */
IWP_AVX2 IWP_INLINE struct pair multiply(__m256i a_even, __m256i a_odd, __m256i b_even,
                                         __m256i b_odd)
{
    const __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a_even, a_odd),
                                             _mm256_unpacklo_epi8(b_even, b_odd));
    const __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a_even, a_odd),
                                              _mm256_unpackhi_epi8(b_even, b_odd));

    return (struct pair){low, high};
}

/* Return the segments of codes, 0 to 7 in each byte. */
IWP_AVX2 IWP_INLINE __m256i segments_of(__m256i codes)
{
    return _mm256_and_si256(_mm256_srli_epi16(codes, 4), bytes(7));
}

/* A quarter of the magnitude is (33 + 2 * step) * 2^segment - 33. */
IWP_AVX2 IWP_INLINE struct pair decode_ulaw_32(__m256i text)
{
    const __m256i powers = BOTH_HALVES(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i sizes =
        BOTH_HALVES(33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63);
    const __m256i codes = _mm256_xor_si256(text, bytes(0xff));
    const __m256i sign = _mm256_or_si256(codes, bytes(1));
    const __m256i size = _mm256_shuffle_epi8(sizes, _mm256_and_si256(codes, bytes(15)));
    const __m256i power = _mm256_shuffle_epi8(powers, segments_of(codes));
    const struct pair quarters = multiply(power, bytes(1), _mm256_sign_epi8(size, sign),
                                          _mm256_sign_epi8(bytes(-33), sign));

    return (struct pair){_mm256_slli_epi16(quarters.low, 2),
                         _mm256_slli_epi16(quarters.high, 2)};
}

/*
 * A magnitude is size * 2^max(segment - 1, 0). The size is 8 + 16 * step in segment 0, and
 * 264 + 16 * step in the other segments. A size does not fit in a byte, so the function adds
 * two equal products with half of the size.
 */
IWP_AVX2 IWP_INLINE struct pair decode_alaw_32(__m256i text)
{
    const __m256i powers = BOTH_HALVES(1, 1, 2, 4, 8, 16, 32, 64, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i bits =
        BOTH_HALVES(0, -128, -128, -128, -128, -128, -128, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i sizes =
        BOTH_HALVES(4, 12, 20, 28, 36, 44, 52, 60, 68, 76, 84, 92, 100, 108, 116, 124);
    const __m256i codes = _mm256_xor_si256(text, bytes(IWP_ALAW_FLIP | 0x80));
    const __m256i sign = _mm256_or_si256(codes, bytes(1));
    const __m256i segments = segments_of(codes);
    const __m256i step = _mm256_shuffle_epi8(sizes, _mm256_and_si256(codes, bytes(15)));
    const __m256i size = _mm256_or_si256(step, _mm256_shuffle_epi8(bits, segments));
    const __m256i power = _mm256_sign_epi8(_mm256_shuffle_epi8(powers, segments), sign);

    return multiply(size, size, power, power);
}

/*
 * Load codes in a changed order. Unpacking each half of the register restores the right order.
 */
IWP_AVX2 IWP_INLINE __m256i load_codes(const uint8_t *src)
{
    return _mm256_permute4x64_epi64(_mm256_loadu_si256((const void *)src), 0xd8);
}

IWP_AVX2 IWP_INLINE void store_pair(uint8_t *dst, struct pair samples)
{
    _mm256_storeu_si256((void *)dst, samples.low);
    _mm256_storeu_si256((void *)(dst + LANES), samples.high);
}

IWP_AVX2 IWP_INLINE struct pair load_pair(const uint8_t *src)
{
    return (struct pair){_mm256_loadu_si256((const void *)src),
                         _mm256_loadu_si256((const void *)(src + LANES))};
}

/* Return the magnitudes of samples. The magnitude of a negative sample is its complement. */
IWP_AVX2 IWP_INLINE __m256i magnitude_of(__m256i samples, __m256i *ones)
{
    *ones = _mm256_srai_epi16(samples, 15); /* 0, or all bits set for a negative sample */
    return _mm256_xor_si256(samples, *ones);
}

/*
 * Return segment * 16 + step for numbers from 2^7 to 2^15 - 1. The highest bit of a number is
 * at 7 + segment. For smaller numbers, the result is at most a sixteenth of the number.
 *
 * The upper half of a float contains the sign, the exponent, and the seven highest bits of the
 * fraction. An odd word is converted to a float together with the even word below it. The
 * conversion rounds, but rounding never changes the upper half of the float: the top bit of the
 * even word is zero, so a carry stops there.
 *
 * The last multiplication divides by 2^3 and rounds to the nearest. Because 4 is subtracted
 * before the multiplication, the result is rounded down.
 */
IWP_AVX2 IWP_INLINE __m256i segments_and_steps(__m256i numbers)
{
    const __m256i even = _mm256_and_si256(numbers, _mm256_set1_epi32(0xffff));
    const __m256i even_bits = _mm256_castps_si256(_mm256_cvtepi32_ps(even));
    const __m256i odd_bits = _mm256_castps_si256(_mm256_cvtepi32_ps(numbers));
    const __m256i halves = _mm256_blend_epi16(_mm256_srli_epi32(even_bits, 16), odd_bits, 0xaa);
    /*
     * The exponent of 2^7 for even words, and of 2^23 for odd words. The 4 in the next line
     * makes the multiplication round down.
     */
    const __m256i lowest = _mm256_set1_epi32((127 + 23) << 23 | (127 + 7) << 7);
    const __m256i above = _mm256_sub_epi16(halves, _mm256_add_epi16(lowest, words(4)));

    return _mm256_mulhrs_epi16(above, words(1 << 12));
}

/* Put packed bytes in order. Packing takes the halves of its two registers alternately. */
IWP_AVX2 IWP_INLINE __m256i in_order(__m256i packed)
{
    return _mm256_permute4x64_epi64(packed, 0xd8);
}

IWP_AVX2 IWP_INLINE __m256i signs_of(__m256i first_ones, __m256i second_ones)
{
    return _mm256_and_si256(_mm256_packs_epi16(first_ones, second_ones), bytes(0x80));
}

IWP_AVX2 IWP_INLINE __m256i encode_ulaw_32(struct pair samples)
{
    __m256i first_ones, second_ones;
    const __m256i first = magnitude_of(samples.low, &first_ones);
    const __m256i second = magnitude_of(samples.high, &second_ones);
    /* The sum is limited to 32767, where mu-law clips. */
    const __m256i bias = words(IWP_ULAW_BIAS);
    const __m256i codes =
        _mm256_packus_epi16(segments_and_steps(_mm256_adds_epi16(first, bias)),
                            segments_and_steps(_mm256_adds_epi16(second, bias)));
    const __m256i flip = _mm256_xor_si256(signs_of(first_ones, second_ones), bytes(0xff));

    return in_order(_mm256_xor_si256(codes, flip));
}

IWP_AVX2 IWP_INLINE __m256i encode_alaw_32(struct pair samples)
{
    __m256i first_ones, second_ones;
    const __m256i first = magnitude_of(samples.low, &first_ones);
    const __m256i second = magnitude_of(samples.high, &second_ones);
    const __m256i above =
        _mm256_packus_epi16(segments_and_steps(first), segments_and_steps(second));
    /* Segment 1 begins at 16. In segment 0 the code is a sixteenth of the magnitude. */
    const __m256i sixteenth =
        _mm256_packus_epi16(_mm256_srli_epi16(first, 4), _mm256_srli_epi16(second, 4));
    const __m256i codes = _mm256_max_epu8(above, _mm256_min_epu8(sixteenth, bytes(16)));
    const __m256i flip =
        _mm256_xor_si256(signs_of(first_ones, second_ones), bytes(IWP_ALAW_FLIP | 0x80));

    return in_order(_mm256_xor_si256(codes, flip));
}

IWP_AVX2 void iwp_g711_decode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        store_pair(dst, decode_ulaw_32(load_codes(src)));
    iwp_g711_decode_ulaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_decode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        store_pair(dst, decode_alaw_32(load_codes(src)));
    iwp_g711_decode_alaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_encode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, encode_ulaw_32(load_pair(src)));
    iwp_g711_encode_ulaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_encode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, encode_alaw_32(load_pair(src)));
    iwp_g711_encode_alaw_scalar(dst, src, samples);
}

#endif
