/*
 * mu-law and A-law by AVX-512: decoding shifts each lane by its own segment, encoding reads
 * segment and step out of a float, as the scalar kernels do.
 */
#include "g711/iwp_g711.h"

#include "common/iwp_avx512.h"
#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#define LANES 32u

IWP_AVX512 IWP_INLINE __m512i words(int value)
{
    return _mm512_set1_epi16((short)value);
}

/* 32 codes to samples. A code is sign << 7 | segment << 4 | step. */
IWP_AVX512 IWP_INLINE __m512i decode_ulaw_32(__m256i bytes)
{
    const __m512i code = _mm512_cvtepu8_epi16(bytes);
    const __m512i inverted = _mm512_xor_si512(code, words(0x7f));
    const __m512i segment = _mm512_and_si512(_mm512_srli_epi16(inverted, 4), words(7));
    const __m512i step = _mm512_and_si512(inverted, words(15));
    const __m512i size = _mm512_add_epi16(_mm512_slli_epi16(step, 3), words(IWP_ULAW_BIAS));
    const __m512i biased = _mm512_sllv_epi16(size, segment);
    const __mmask32 positive = _mm512_test_epi16_mask(code, words(0x80));

    return _mm512_mask_sub_epi16(_mm512_sub_epi16(words(IWP_ULAW_BIAS), biased), positive,
                                 biased, words(IWP_ULAW_BIAS));
}

IWP_AVX512 IWP_INLINE __m512i decode_alaw_32(__m256i bytes)
{
    const __m512i code = _mm512_xor_si512(_mm512_cvtepu8_epi16(bytes), words(IWP_ALAW_FLIP));
    const __m512i segment = _mm512_and_si512(_mm512_srli_epi16(code, 4), words(7));
    const __m512i step = _mm512_and_si512(code, words(15));
    const __m512i size = _mm512_add_epi16(_mm512_slli_epi16(step, 4), words(8));
    const __mmask32 has_bit = _mm512_test_epi16_mask(segment, segment);
    const __m512i whole = _mm512_mask_add_epi16(size, has_bit, size, words(256));
    const __m512i shift = _mm512_subs_epu16(segment, words(1));
    const __m512i magnitude = _mm512_sllv_epi16(whole, shift);
    const __mmask32 negative = _mm512_testn_epi16_mask(code, words(0x80));

    return _mm512_mask_sub_epi16(magnitude, negative, words(0), magnitude);
}

/* Segment and step of 32 numbers: the float's exponent * 16 and its four highest bits. */
IWP_AVX512 IWP_INLINE __m512i exponents_and_steps(__m512i numbers)
{
    const __m512i low = _mm512_unpacklo_epi16(numbers, words(0));
    const __m512i high = _mm512_unpackhi_epi16(numbers, words(0));
    const __m512i low_bits = _mm512_castps_si512(_mm512_cvtepi32_ps(low));
    const __m512i high_bits = _mm512_castps_si512(_mm512_cvtepi32_ps(high));

    return _mm512_packs_epi32(_mm512_srli_epi32(low_bits, 19),
                              _mm512_srli_epi32(high_bits, 19));
}

IWP_AVX512 IWP_INLINE __m256i encode_ulaw_32(__m512i samples)
{
    const __m512i ones = _mm512_srai_epi16(samples, 15); /* 0, or all bits when negative */
    const __m512i magnitude = _mm512_xor_si512(samples, ones);
    const __m512i clipped = _mm512_min_epi16(magnitude, words(IWP_ULAW_CLIP));
    const __m512i biased = _mm512_add_epi16(clipped, words(IWP_ULAW_BIAS));
    const __m512i code =
        _mm512_sub_epi16(exponents_and_steps(biased), words(IWP_FLOAT_ONE + 7 * 16));
    /* ~((ones & 0x80) | code), and the upper byte is cut off. */
    const __m512i inverted = _mm512_ternarylogic_epi64(ones, words(0x80), code, 0x15);

    return _mm512_cvtepi16_epi8(inverted);
}

IWP_AVX512 IWP_INLINE __m256i encode_alaw_32(__m512i samples)
{
    const __m512i ones = _mm512_srai_epi16(samples, 15);
    const __m512i magnitude = _mm512_srli_epi16(_mm512_xor_si512(samples, ones), 4);
    const __m512i above =
        _mm512_sub_epi16(exponents_and_steps(magnitude), words(IWP_FLOAT_ONE + 3 * 16));
    /* Segment 1 begins at 16; below it, in segment 0, the magnitude is the code. */
    const __mmask32 is_below = _mm512_cmplt_epi16_mask(magnitude, words(16));
    const __m512i code = _mm512_mask_mov_epi16(above, is_below, magnitude);
    const __m512i flip = words(IWP_ALAW_FLIP | 0x80);
    /* A positive sample has the sign bit: (ones & 0x80) turns it back. */
    const __m512i sign = _mm512_and_si512(ones, words(0x80));

    return _mm512_cvtepi16_epi8(_mm512_ternarylogic_epi64(code, sign, flip, 0x96));
}

IWP_AVX512 void iwp_g711_decode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    __mmask32 there;

    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        _mm512_storeu_si512(dst, decode_ulaw_32(_mm256_loadu_si256((const void *)src)));
    if (samples == 0)
        return;
    there = (__mmask32)iwp_first(samples);
    _mm512_mask_storeu_epi16(dst, there, decode_ulaw_32(_mm256_maskz_loadu_epi8(there, src)));
}

IWP_AVX512 void iwp_g711_decode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    __mmask32 there;

    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        _mm512_storeu_si512(dst, decode_alaw_32(_mm256_loadu_si256((const void *)src)));
    if (samples == 0)
        return;
    there = (__mmask32)iwp_first(samples);
    _mm512_mask_storeu_epi16(dst, there, decode_alaw_32(_mm256_maskz_loadu_epi8(there, src)));
}

IWP_AVX512 void iwp_g711_encode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    __mmask32 there;

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, encode_ulaw_32(_mm512_loadu_si512(src)));
    if (samples == 0)
        return;
    there = (__mmask32)iwp_first(samples);
    _mm256_mask_storeu_epi8(dst, there, encode_ulaw_32(_mm512_maskz_loadu_epi16(there, src)));
}

IWP_AVX512 void iwp_g711_encode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    __mmask32 there;

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, encode_alaw_32(_mm512_loadu_si512(src)));
    if (samples == 0)
        return;
    there = (__mmask32)iwp_first(samples);
    _mm256_mask_storeu_epi8(dst, there, encode_alaw_32(_mm512_maskz_loadu_epi16(there, src)));
}

#endif
