/*
 * mu-law and A-law by AVX2: decoding multiplies each lane by the power of two of its segment,
 * encoding reads segment and step out of a float, as the scalar kernels do.
 */
#include "g711/iwp_g711.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

#define LANES 32u /* samples a step, two registers of 16 */

IWP_AVX2 IWP_INLINE __m256i words(int value)
{
    return _mm256_set1_epi16((short)value);
}

/* The low byte of each word is looked up among sixteen; the high byte of the result is 0. */
IWP_AVX2 IWP_INLINE __m256i look_up(__m128i table, __m256i index)
{
    const __m256i both = _mm256_broadcastsi128_si256(table);

    return _mm256_and_si256(_mm256_shuffle_epi8(both, index), words(0xff));
}

/* `sign` is 0 or all bits: the number or its negative. */
IWP_AVX2 IWP_INLINE __m256i negate_if(__m256i number, __m256i sign)
{
    return _mm256_sub_epi16(_mm256_xor_si256(number, sign), sign);
}

IWP_AVX2 IWP_INLINE __m256i decode_ulaw_16(__m128i bytes)
{
    const __m128i powers =
        _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const __m256i code = _mm256_xor_si256(_mm256_cvtepu8_epi16(bytes), words(0xff));
    const __m256i power = look_up(powers, _mm256_srli_epi16(code, 4));
    const __m256i step = _mm256_and_si256(code, words(15));
    const __m256i size = _mm256_add_epi16(_mm256_slli_epi16(step, 3), words(IWP_ULAW_BIAS));
    const __m256i magnitude =
        _mm256_sub_epi16(_mm256_mullo_epi16(size, power), words(IWP_ULAW_BIAS));

    return negate_if(magnitude, _mm256_cmpgt_epi16(code, words(0x7f)));
}

IWP_AVX2 IWP_INLINE __m256i decode_alaw_16(__m128i bytes)
{
    const __m128i powers = _mm_setr_epi8(1, 1, 2, 4, 8, 16, 32, 64, 1, 1, 2, 4, 8, 16, 32, 64);
    const __m256i code = _mm256_xor_si256(_mm256_cvtepu8_epi16(bytes), words(IWP_ALAW_FLIP));
    const __m256i power = look_up(powers, _mm256_srli_epi16(code, 4));
    const __m256i step = _mm256_and_si256(code, words(15));
    /* All segments but the first have a bit above their steps. */
    const __m256i is_first =
        _mm256_cmpeq_epi16(_mm256_and_si256(code, words(0x70)), _mm256_setzero_si256());
    const __m256i bit = _mm256_andnot_si256(is_first, words(256));
    const __m256i size = _mm256_or_si256(_mm256_slli_epi16(step, 4), words(8));
    const __m256i magnitude = _mm256_mullo_epi16(_mm256_or_si256(size, bit), power);

    return negate_if(magnitude, _mm256_cmpgt_epi16(words(0x80), code));
}

/* Segment and step of 16 numbers: the float's exponent * 16 and its four highest bits. */
IWP_AVX2 IWP_INLINE __m256i exponents_and_steps(__m256i numbers)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i low = _mm256_unpacklo_epi16(numbers, zero);
    const __m256i high = _mm256_unpackhi_epi16(numbers, zero);
    const __m256i low_bits = _mm256_castps_si256(_mm256_cvtepi32_ps(low));
    const __m256i high_bits = _mm256_castps_si256(_mm256_cvtepi32_ps(high));

    return _mm256_packs_epi32(_mm256_srli_epi32(low_bits, 19),
                              _mm256_srli_epi32(high_bits, 19));
}

/* 16 codes in words. */
IWP_AVX2 IWP_INLINE __m256i encode_ulaw_16(const uint8_t *src)
{
    const __m256i samples = _mm256_loadu_si256((const void *)src);
    const __m256i ones = _mm256_srai_epi16(samples, 15); /* 0, or all bits when negative */
    const __m256i magnitude = _mm256_xor_si256(samples, ones);
    const __m256i clipped = _mm256_min_epi16(magnitude, words(IWP_ULAW_CLIP));
    const __m256i biased = _mm256_add_epi16(clipped, words(IWP_ULAW_BIAS));
    const __m256i code =
        _mm256_sub_epi16(exponents_and_steps(biased), words(IWP_FLOAT_ONE + 7 * 16));
    const __m256i sign = _mm256_and_si256(ones, words(0x80));

    return _mm256_xor_si256(_mm256_or_si256(sign, code), words(0xff));
}

IWP_AVX2 IWP_INLINE __m256i encode_alaw_16(const uint8_t *src)
{
    const __m256i samples = _mm256_loadu_si256((const void *)src);
    const __m256i ones = _mm256_srai_epi16(samples, 15);
    const __m256i magnitude = _mm256_srli_epi16(_mm256_xor_si256(samples, ones), 4);
    const __m256i above =
        _mm256_sub_epi16(exponents_and_steps(magnitude), words(IWP_FLOAT_ONE + 3 * 16));
    /* Segment 1 begins at 16; below it, in segment 0, the magnitude is the code. */
    const __m256i is_below = _mm256_cmpgt_epi16(words(16), magnitude);
    const __m256i code = _mm256_blendv_epi8(above, magnitude, is_below);
    const __m256i sign = _mm256_andnot_si256(ones, words(0x80));

    return _mm256_xor_si256(_mm256_or_si256(sign, code), words(IWP_ALAW_FLIP));
}

/* 32 codes from two registers of words, in their order. */
IWP_AVX2 IWP_INLINE __m256i narrow(__m256i first, __m256i second)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xd8);
}

IWP_AVX2 void iwp_g711_decode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES) {
        const __m128i first = _mm_loadu_si128((const void *)src);
        const __m128i second = _mm_loadu_si128((const void *)(src + 16));

        _mm256_storeu_si256((void *)dst, decode_ulaw_16(first));
        _mm256_storeu_si256((void *)(dst + 32), decode_ulaw_16(second));
    }
    iwp_g711_decode_ulaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_decode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES) {
        const __m128i first = _mm_loadu_si128((const void *)src);
        const __m128i second = _mm_loadu_si128((const void *)(src + 16));

        _mm256_storeu_si256((void *)dst, decode_alaw_16(first));
        _mm256_storeu_si256((void *)(dst + 32), decode_alaw_16(second));
    }
    iwp_g711_decode_alaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_encode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, narrow(encode_ulaw_16(src), encode_ulaw_16(src + 32)));
    iwp_g711_encode_ulaw_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_g711_encode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        _mm256_storeu_si256((void *)dst, narrow(encode_alaw_16(src), encode_alaw_16(src + 32)));
    iwp_g711_encode_alaw_scalar(dst, src, samples);
}

#endif
