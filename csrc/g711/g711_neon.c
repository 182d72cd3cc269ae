/*
 * mu-law and A-law by NEON. Each lane is shifted by its own segment. Encoding finds the segment
 * by counting the zeros above the highest bit.
 */
#include "g711/iwp_g711.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_NEON

#include <arm_neon.h>

#define LANES 8u

IWP_INLINE int16x8_t negate_where(int16x8_t numbers, uint16x8_t where)
{
    return vbslq_s16(where, vnegq_s16(numbers), numbers);
}

IWP_INLINE int16x8_t decode_ulaw_8(uint8x8_t bytes)
{
    const int16x8_t code = vreinterpretq_s16_u16(vmovl_u8(vmvn_u8(bytes)));
    const int16x8_t segment = vandq_s16(vshrq_n_s16(code, 4), vdupq_n_s16(7));
    const int16x8_t step = vandq_s16(code, vdupq_n_s16(15));
    const int16x8_t size = vaddq_s16(vshlq_n_s16(step, 3), vdupq_n_s16(IWP_ULAW_BIAS));
    const int16x8_t magnitude = vsubq_s16(vshlq_s16(size, segment), vdupq_n_s16(IWP_ULAW_BIAS));

    return negate_where(magnitude, vtstq_s16(code, vdupq_n_s16(0x80)));
}

IWP_INLINE int16x8_t decode_alaw_8(uint8x8_t bytes)
{
    const uint8x8_t flipped = veor_u8(bytes, vdup_n_u8(IWP_ALAW_FLIP));
    const int16x8_t code = vreinterpretq_s16_u16(vmovl_u8(flipped));
    const int16x8_t segment = vandq_s16(vshrq_n_s16(code, 4), vdupq_n_s16(7));
    const int16x8_t step = vandq_s16(code, vdupq_n_s16(15));
    const int16x8_t size = vorrq_s16(vshlq_n_s16(step, 4), vdupq_n_s16(8));
    /* All segments except segment 0 have a bit above the step. */
    const uint16x8_t has_bit = vtstq_s16(segment, segment);
    const int16x8_t bit = vandq_s16(vreinterpretq_s16_u16(has_bit), vdupq_n_s16(256));
    const int16x8_t shift = vmaxq_s16(vsubq_s16(segment, vdupq_n_s16(1)), vdupq_n_s16(0));
    const int16x8_t magnitude = vshlq_s16(vorrq_s16(size, bit), shift);

    return negate_where(magnitude, vcltq_s16(code, vdupq_n_s16(0x80)));
}

/*
 * Return position * 16 + step for numbers from 16 up. The position is the highest bit's index.
 * The step is the four bits below the highest bit. If a number is shifted down by position - 4,
 * its highest bit and the step remain.
 */
IWP_INLINE int16x8_t positions_and_steps(int16x8_t numbers)
{
    const int16x8_t position = vsubq_s16(vdupq_n_s16(15), vclzq_s16(numbers));
    const int16x8_t five_bits = vshlq_s16(numbers, vsubq_s16(vdupq_n_s16(4), position));

    return vaddq_s16(vshlq_n_s16(vsubq_s16(position, vdupq_n_s16(1)), 4), five_bits);
}

IWP_INLINE uint8x8_t encode_ulaw_8(int16x8_t samples)
{
    const int16x8_t ones = vshrq_n_s16(samples, 15); /* 0, or all bits set if negative */
    const int16x8_t magnitude = veorq_s16(samples, ones);
    const int16x8_t clipped = vminq_s16(magnitude, vdupq_n_s16(IWP_ULAW_CLIP));
    const int16x8_t biased = vaddq_s16(clipped, vdupq_n_s16(IWP_ULAW_BIAS));
    const int16x8_t code = vsubq_s16(positions_and_steps(biased), vdupq_n_s16(7 * 16));
    const int16x8_t sign = vandq_s16(ones, vdupq_n_s16(0x80));

    return vmvn_u8(vmovn_u16(vreinterpretq_u16_s16(vorrq_s16(sign, code))));
}

IWP_INLINE uint8x8_t encode_alaw_8(int16x8_t samples)
{
    const int16x8_t ones = vshrq_n_s16(samples, 15);
    const int16x8_t magnitude = vshrq_n_s16(veorq_s16(samples, ones), 4);
    const int16x8_t above = vsubq_s16(positions_and_steps(magnitude), vdupq_n_s16(3 * 16));
    /* Segment 1 begins at 16. In segment 0 the code is the magnitude. */
    const int16x8_t code = vbslq_s16(vcltq_s16(magnitude, vdupq_n_s16(16)), magnitude, above);
    const int16x8_t sign = vbicq_s16(vdupq_n_s16(0x80), ones);
    const uint8x8_t plain = vmovn_u16(vreinterpretq_u16_s16(vorrq_s16(sign, code)));

    return veor_u8(plain, vdup_n_u8(IWP_ALAW_FLIP));
}

IWP_INLINE int16x8_t load_samples(const uint8_t *src)
{
    return vreinterpretq_s16_u8(vld1q_u8(src));
}

IWP_INLINE void store_samples(uint8_t *dst, int16x8_t samples)
{
    vst1q_u8(dst, vreinterpretq_u8_s16(samples));
}

void iwp_g711_decode_ulaw_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        store_samples(dst, decode_ulaw_8(vld1_u8(src)));
    iwp_g711_decode_ulaw_scalar(dst, src, samples);
}

void iwp_g711_decode_alaw_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += LANES, dst += 2 * LANES)
        store_samples(dst, decode_alaw_8(vld1_u8(src)));
    iwp_g711_decode_alaw_scalar(dst, src, samples);
}

void iwp_g711_encode_ulaw_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        vst1_u8(dst, encode_ulaw_8(load_samples(src)));
    iwp_g711_encode_ulaw_scalar(dst, src, samples);
}

void iwp_g711_encode_alaw_neon(uint8_t *dst, const uint8_t *src, size_t samples)
{
    for (; samples >= LANES; samples -= LANES, src += 2 * LANES, dst += LANES)
        vst1_u8(dst, encode_alaw_8(load_samples(src)));
    iwp_g711_encode_alaw_scalar(dst, src, samples);
}

#endif
