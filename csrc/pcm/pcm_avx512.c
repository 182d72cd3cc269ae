/* Sample formats, gain, mix and level by AVX-512. */
#include "pcm/iwp_pcm.h"

#include "common/iwp_avx512.h"
#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#define LANES 32u /* 16-bit samples in a register */

IWP_AVX512 IWP_INLINE __m512i load_s16(const uint8_t *src, __mmask32 there)
{
    return _mm512_maskz_loadu_epi16(there, src);
}

/* Return which lanes of the next register have samples. `samples` is at least 1. */
IWP_AVX512 IWP_INLINE __mmask32 lanes_of(size_t samples)
{
    return (__mmask32)iwp_first(samples < LANES ? samples : LANES);
}

/*
 * Round 32 numbers to samples. The numbers are on the scale of 16-bit samples. NaN becomes 0.
 * Only numbers that are too high are limited before the conversion. The conversion returns the
 * lowest integer for numbers that are too low, and packing limits this integer.
 */
IWP_AVX512 IWP_INLINE __m512i s16_from_scaled(__m512 first, __m512 second)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512 highest = _mm512_set1_ps(32767.0f);
    const __mmask16 first_numbers = _mm512_cmp_ps_mask(first, first, _CMP_ORD_Q);
    const __mmask16 second_numbers = _mm512_cmp_ps_mask(second, second, _CMP_ORD_Q);
    const __m512 first_held = _mm512_maskz_min_ps(first_numbers, first, highest);
    const __m512 second_held = _mm512_maskz_min_ps(second_numbers, second, highest);
    const __m512i packed =
        _mm512_packs_epi32(_mm512_cvtps_epi32(first_held), _mm512_cvtps_epi32(second_held));

    /* Packing takes four numbers of each register alternately. */
    return _mm512_permutexvar_epi64(order, packed);
}

IWP_AVX512 IWP_INLINE __m512 f32_from_s16(__m256i samples)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(samples));
}

IWP_AVX512 void iwp_pcm_f32_from_s16_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const __m512 step = _mm512_set1_ps(1.0f / IWP_FULL_SCALE);

    for (; samples >= 16; samples -= 16, src += 32, dst += 64)
        _mm512_storeu_ps(
            dst, _mm512_mul_ps(f32_from_s16(_mm256_loadu_si256((const void *)src)), step));
    if (samples != 0) {
        const __mmask16 there = (__mmask16)iwp_first(samples);
        const __m256i last = _mm256_maskz_loadu_epi16(there, src);

        _mm512_mask_storeu_ps(dst, there, _mm512_mul_ps(f32_from_s16(last), step));
    }
}

IWP_AVX512 void iwp_pcm_s16_from_f32_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const __m512 scale = _mm512_set1_ps(IWP_FULL_SCALE);

    for (; samples >= LANES; samples -= LANES, src += 4 * LANES, dst += 2 * LANES) {
        const __m512 first = _mm512_mul_ps(_mm512_loadu_ps(src), scale);
        const __m512 second = _mm512_mul_ps(_mm512_loadu_ps(src + 64), scale);

        _mm512_storeu_si512(dst, s16_from_scaled(first, second));
    }
    if (samples != 0) {
        const __mmask32 there = (__mmask32)iwp_first(samples);
        const __m512 first = _mm512_maskz_loadu_ps((__mmask16)there, src);
        const __m512 second = _mm512_maskz_loadu_ps((__mmask16)(there >> 16), src + 64);
        const __m512i last =
            s16_from_scaled(_mm512_mul_ps(first, scale), _mm512_mul_ps(second, scale));

        _mm512_mask_storeu_epi16(dst, there, last);
    }
}

IWP_AVX512 IWP_INLINE __m512i gain_32(__m512i samples, __m512 gain)
{
    const __m512 first = f32_from_s16(_mm512_castsi512_si256(samples));
    const __m512 second = f32_from_s16(_mm512_extracti64x4_epi64(samples, 1));

    return s16_from_scaled(_mm512_mul_ps(first, gain), _mm512_mul_ps(second, gain));
}

IWP_AVX512 void iwp_pcm_gain_s16_avx512(uint8_t *dst, const uint8_t *src, size_t samples,
                                        float gain)
{
    const __m512 gains = _mm512_set1_ps(gain);

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += 2 * LANES)
        _mm512_storeu_si512(dst, gain_32(_mm512_loadu_si512(src), gains));
    if (samples != 0) {
        const __mmask32 there = lanes_of(samples);

        _mm512_mask_storeu_epi16(dst, there, gain_32(load_s16(src, there), gains));
    }
}

IWP_AVX512 void iwp_pcm_mix_s16_avx512(uint8_t *dst, const uint8_t *a, const uint8_t *b,
                                       size_t samples)
{
    for (; samples >= LANES; samples -= LANES, a += 2 * LANES, b += 2 * LANES, dst += 2 * LANES)
        _mm512_storeu_si512(dst,
                            _mm512_adds_epi16(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
    if (samples != 0) {
        const __mmask32 there = lanes_of(samples);

        _mm512_mask_storeu_epi16(dst, there,
                                 _mm512_adds_epi16(load_s16(a, there), load_s16(b, there)));
    }
}

IWP_AVX512 uint32_t iwp_pcm_peak_s16_avx512(const uint8_t *src, size_t samples)
{
    __m512i highest = _mm512_setzero_si512();

    while (samples != 0) {
        const size_t step = samples < LANES ? samples : LANES;
        /* The magnitude of -32768 is correct only as an unsigned number. */
        const __m512i magnitude = _mm512_abs_epi16(load_s16(src, lanes_of(samples)));

        highest = _mm512_max_epu16(highest, magnitude);
        samples -= step;
        src += 2 * step;
    }
    /* Take the larger lane of each pair as 32 bits, since 16-bit lanes have no reduction. */
    highest = _mm512_max_epu32(_mm512_srli_epi32(highest, 16),
                               _mm512_and_si512(highest, _mm512_set1_epi32(0xffff)));
    return (uint32_t)_mm512_reduce_max_epu32(highest);
}

IWP_AVX512 uint64_t iwp_pcm_energy_s16_avx512(const uint8_t *src, size_t samples)
{
    const __m512i low_half = _mm512_set1_epi64(0xffffffff);
    __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();

    while (samples != 0) {
        const size_t step = samples < LANES ? samples : LANES;
        const __m512i signal = load_s16(src, lanes_of(samples));
        /* The sum of two squares is at most 2^31, so it is correct as an unsigned number. */
        const __m512i squares = _mm512_madd_epi16(signal, signal);

        even = _mm512_add_epi64(even, _mm512_and_si512(squares, low_half));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(squares, 32));
        samples -= step;
        src += 2 * step;
    }
    return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(even, odd));
}

#endif
