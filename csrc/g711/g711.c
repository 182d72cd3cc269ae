/* mu-law and A-law by ITU-T G.711: dispatch and the scalar kernels. */
#include "g711/iwp_g711.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "common/iwp_table.h"
#include "include/iw_api.h"

#define ULAW(byte) ((byte) & 0x80 ? IWP_ULAW_MAGNITUDE(byte) : -IWP_ULAW_MAGNITUDE(byte))
#define ALAW(byte) ((byte) & 0x80 ? IWP_ALAW_MAGNITUDE(byte) : -IWP_ALAW_MAGNITUDE(byte))

static const int16_t linear_of_ulaw[256] = {IWP_TABLE_256(ULAW)};
static const int16_t linear_of_alaw[256] = {IWP_TABLE_256(ALAW)};

IWP_INLINE void decode(uint8_t *dst, const uint8_t *src, size_t samples, const int16_t *linear)
{
    size_t at;

    for (at = 0; at < samples; at++)
        memcpy(dst + 2 * at, &linear[src[at]], 2);
}

void iwp_g711_decode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    decode(dst, src, samples, linear_of_ulaw);
}

void iwp_g711_decode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    decode(dst, src, samples, linear_of_alaw);
}

/*
 * Return exponent * 16 + step. The exponent is the position of the highest bit of the number.
 * The step is the four bits below the highest bit. A float represents the numbers here exactly,
 * and its top bits contain the exponent and the step.
 */
IWP_INLINE int32_t exponent_and_step(int32_t number)
{
    const float value = (float)number;
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (int32_t)(bits >> 19) - IWP_FLOAT_ONE;
}

IWP_INLINE int32_t load_s16(const uint8_t *src)
{
    int16_t sample;

    memcpy(&sample, src, sizeof sample);
    return sample;
}

void iwp_g711_encode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const int32_t sample = load_s16(src + 2 * at);
        const int32_t ones = sample >> 15; /* 0, or all bits set for a negative sample */
        const int32_t magnitude = sample ^ ones;
        const int32_t clipped = magnitude < IWP_ULAW_CLIP ? magnitude : IWP_ULAW_CLIP;
        const int32_t code = exponent_and_step(clipped + IWP_ULAW_BIAS) - 7 * 16;

        dst[at] = (uint8_t)~((ones & 0x80) | code);
    }
}

void iwp_g711_encode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const int32_t sample = load_s16(src + 2 * at);
        const int32_t ones = sample >> 15;
        const int32_t magnitude = (sample ^ ones) >> 4;
        /* Segment 1 begins at 16. In segment 0 the code is the magnitude. */
        const int32_t code = magnitude < 16 ? magnitude : exponent_and_step(magnitude) - 3 * 16;

        dst[at] = (uint8_t)(((~ones & 0x80) | code) ^ IWP_ALAW_FLIP);
    }
}

void iw_g711_decode_ulaw(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->g711_decode_ulaw(dst, src, samples);
}

void iw_g711_decode_alaw(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->g711_decode_alaw(dst, src, samples);
}

void iw_g711_encode_ulaw(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->g711_encode_ulaw(dst, src, samples);
}

void iw_g711_encode_alaw(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->g711_encode_alaw(dst, src, samples);
}
