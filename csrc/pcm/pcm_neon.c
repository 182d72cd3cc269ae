/* Sample formats, gain, mix and level by NEON. */
#include "pcm/iwp_pcm.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_NEON

#include <arm_neon.h>

#define LANES 8u /* 16-bit samples in a register */

IWP_INLINE int16x8_t load_s16(const uint8_t *src)
{
    return vreinterpretq_s16_u8(vld1q_u8(src));
}

IWP_INLINE void store_s16(uint8_t *dst, int16x8_t samples)
{
    vst1q_u8(dst, vreinterpretq_u8_s16(samples));
}

IWP_INLINE float32x4_t load_f32(const uint8_t *src)
{
    return vreinterpretq_f32_u8(vld1q_u8(src));
}

IWP_INLINE void store_f32(uint8_t *dst, float32x4_t values)
{
    vst1q_u8(dst, vreinterpretq_u8_f32(values));
}

IWP_INLINE float32x4_t low_f32(int16x8_t samples)
{
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(samples)));
}

IWP_INLINE float32x4_t high_f32(int16x8_t samples)
{
    return vcvtq_f32_s32(vmovl_high_s16(samples));
}

/* The conversion rounds to the nearest integer, halves to even. It saturates. NaN becomes 0. */
IWP_INLINE int16x8_t s16_from_scaled(float32x4_t first, float32x4_t second)
{
    return vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(first)), vcvtnq_s32_f32(second));
}

void iwp_pcm_f32_from_s16_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += 4 * LANES) {
        const int16x8_t signal = load_s16(src);

        store_f32(dst, vmulq_n_f32(low_f32(signal), 1.0f / IWP_FULL_SCALE));
        store_f32(dst + 2 * LANES, vmulq_n_f32(high_f32(signal), 1.0f / IWP_FULL_SCALE));
    }
    iwp_pcm_f32_from_s16_scalar(dst, src, samples);
}

void iwp_pcm_s16_from_f32_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 4 * LANES, dst += 2 * LANES) {
        const float32x4_t first = vmulq_n_f32(load_f32(src), IWP_FULL_SCALE);
        const float32x4_t second = vmulq_n_f32(load_f32(src + 2 * LANES), IWP_FULL_SCALE);

        store_s16(dst, s16_from_scaled(first, second));
    }
    iwp_pcm_s16_from_f32_scalar(dst, src, samples);
}

void iwp_pcm_gain_s16_neon(uint8_t *dst, const uint8_t *src, size_t samples, float gain)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += 2 * LANES) {
        const int16x8_t signal = load_s16(src);

        store_s16(dst, s16_from_scaled(vmulq_n_f32(low_f32(signal), gain),
                                       vmulq_n_f32(high_f32(signal), gain)));
    }
    iwp_pcm_gain_s16_scalar(dst, src, samples, gain);
}

void iwp_pcm_mix_s16_neon(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, a += 2 * LANES, b += 2 * LANES, dst += 2 * LANES)
        store_s16(dst, vqaddq_s16(load_s16(a), load_s16(b)));
    iwp_pcm_mix_s16_scalar(dst, a, b, samples);
}

uint32_t iwp_pcm_peak_s16_neon(const uint8_t *src, size_t samples)
{
    uint16x8_t highest = vdupq_n_u16(0);
    uint32_t rest, peak;

    /* The magnitude of -32768 is correct only as an unsigned number. */
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES)
        highest = vmaxq_u16(highest, vreinterpretq_u16_s16(vabsq_s16(load_s16(src))));
    peak = vmaxvq_u16(highest);
    rest = iwp_pcm_peak_s16_scalar(src, samples);
    return peak > rest ? peak : rest;
}

uint64_t iwp_pcm_energy_s16_neon(const uint8_t *src, size_t samples)
{
    uint64x2_t sums = vdupq_n_u64(0);

    for (; samples >= LANES; samples -= LANES, src += 2 * LANES) {
        const int16x8_t signal = load_s16(src);
        const int32x4_t low = vmull_s16(vget_low_s16(signal), vget_low_s16(signal));
        const int32x4_t high = vmull_high_s16(signal, signal);

        sums = vpadalq_u32(sums, vreinterpretq_u32_s32(low));
        sums = vpadalq_u32(sums, vreinterpretq_u32_s32(high));
    }
    return vaddvq_u64(sums) + iwp_pcm_energy_s16_scalar(src, samples);
}

#endif
