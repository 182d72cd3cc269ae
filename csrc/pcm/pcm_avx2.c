/* Sample formats, gain, mix and level by AVX2. */
#include "pcm/iwp_pcm.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

#define LANES 16u /* 16-bit samples in a register */

IWP_AVX2 IWP_INLINE __m256i load(const uint8_t *src)
{
    return _mm256_loadu_si256((const void *)src);
}

IWP_AVX2 IWP_INLINE void store(uint8_t *dst, __m256i bytes)
{
    _mm256_storeu_si256((void *)dst, bytes);
}

/* Load eight samples as floats on the scale of 16-bit samples. */
IWP_AVX2 IWP_INLINE __m256 load_scaled(const uint8_t *src)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)src)));
}

IWP_AVX2 IWP_INLINE __m256 load_f32(const uint8_t *src)
{
    return _mm256_castsi256_ps(load(src));
}

/*
 * Convert to integers. NaN becomes 0. Only numbers that are too high are limited here. The
 * conversion returns the lowest integer for numbers that are too low, and packing limits this
 * integer.
 */
IWP_AVX2 IWP_INLINE __m256i hold(__m256 scaled)
{
    const __m256 is_number = _mm256_cmp_ps(scaled, scaled, _CMP_ORD_Q);
    const __m256 number = _mm256_and_ps(scaled, is_number);

    return _mm256_cvtps_epi32(_mm256_min_ps(number, _mm256_set1_ps(32767.0f)));
}

/* Round 16 numbers to samples. The numbers are on the scale of 16-bit samples. */
IWP_AVX2 IWP_INLINE __m256i s16_from_scaled(__m256 first, __m256 second)
{
    /* Packing takes four numbers of each register alternately. */
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(hold(first), hold(second)), 0xd8);
}

IWP_AVX2 void iwp_pcm_f32_from_s16_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const __m256 step = _mm256_set1_ps(1.0f / IWP_FULL_SCALE);

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += 4 * LANES) {
        const __m256 first = _mm256_mul_ps(load_scaled(src), step);
        const __m256 second = _mm256_mul_ps(load_scaled(src + LANES), step);

        store(dst, _mm256_castps_si256(first));
        store(dst + 2 * LANES, _mm256_castps_si256(second));
    }
    iwp_pcm_f32_from_s16_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_pcm_s16_from_f32_avx2(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const __m256 scale = _mm256_set1_ps(IWP_FULL_SCALE);

    for (; samples >= LANES; samples -= LANES, src += 4 * LANES, dst += 2 * LANES)
        store(dst, s16_from_scaled(_mm256_mul_ps(load_f32(src), scale),
                                   _mm256_mul_ps(load_f32(src + 2 * LANES), scale)));
    iwp_pcm_s16_from_f32_scalar(dst, src, samples);
}

IWP_AVX2 void iwp_pcm_gain_s16_avx2(uint8_t *dst, const uint8_t *src, size_t samples,
                                    float gain)
{
    const __m256 gains = _mm256_set1_ps(gain);

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += 2 * LANES)
        store(dst, s16_from_scaled(_mm256_mul_ps(load_scaled(src), gains),
                                   _mm256_mul_ps(load_scaled(src + LANES), gains)));
    iwp_pcm_gain_s16_scalar(dst, src, samples, gain);
}

IWP_AVX2 void iwp_pcm_mix_s16_avx2(uint8_t *dst, const uint8_t *a, const uint8_t *b,
                                   size_t samples)
{
    for (; samples >= LANES; samples -= LANES, a += 2 * LANES, b += 2 * LANES, dst += 2 * LANES)
        store(dst, _mm256_adds_epi16(load(a), load(b)));
    iwp_pcm_mix_s16_scalar(dst, a, b, samples);
}

IWP_AVX2 uint32_t iwp_pcm_peak_s16_avx2(const uint8_t *src, size_t samples)
{
    __m256i highest = _mm256_setzero_si256();
    __m128i half;
    uint32_t rest, peak;

    /* The magnitude of -32768 is correct only as an unsigned number. */
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES)
        highest = _mm256_max_epu16(highest, _mm256_abs_epi16(load(src)));
    half = _mm_max_epu16(_mm256_castsi256_si128(highest), _mm256_extracti128_si256(highest, 1));
    /*
     * One instruction finds the lowest of eight numbers. The highest number has the lowest
     * complement.
     */
    half = _mm_minpos_epu16(_mm_xor_si128(half, _mm_set1_epi16(-1)));
    peak = 0xffffu - ((uint32_t)_mm_cvtsi128_si32(half) & 0xffffu);
    rest = iwp_pcm_peak_s16_scalar(src, samples);
    return peak > rest ? peak : rest;
}

IWP_AVX2 uint64_t iwp_pcm_energy_s16_avx2(const uint8_t *src, size_t samples)
{
    const __m256i low_half = _mm256_set1_epi64x(0xffffffff);
    __m256i sums = _mm256_setzero_si256();
    uint64_t energies[4];

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES) {
        const __m256i signal = load(src);
        /* The sum of two squares is at most 2^31, so it is correct as an unsigned number. */
        const __m256i squares = _mm256_madd_epi16(signal, signal);
        const __m256i even = _mm256_and_si256(squares, low_half);

        sums = _mm256_add_epi64(sums, _mm256_add_epi64(even, _mm256_srli_epi64(squares, 32)));
    }
    _mm256_storeu_si256((void *)energies, sums);
    return energies[0] + energies[1] + energies[2] + energies[3] +
           iwp_pcm_energy_s16_scalar(src, samples);
}

#endif
