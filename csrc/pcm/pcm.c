/* Sample formats: dispatch and the scalar kernels. */
#include "pcm/iwp_pcm.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "include/iw_api.h"

#define FULL_SCALE 32768.0f

/*
 * Added to a number in [-32768, 32767], this makes the float's lowest bit worth 1: the addition
 * rounds to a whole number, halves to even, and leaves it in the low 16 bits of the float.
 */
#define ROUNDER 12582912.0f /* 1.5 * 2^23 */

void iwp_pcm_f32_from_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        int16_t sample;
        float value;

        memcpy(&sample, src + 2 * at, sizeof sample);
        value = (float)sample * (1.0f / FULL_SCALE);
        memcpy(dst + 4 * at, &value, sizeof value);
    }
}

IWP_INLINE uint16_t s16_from_f32(float value)
{
    float scaled = value * FULL_SCALE;
    uint32_t bits;

    scaled = scaled == scaled ? scaled : 0.0f; /* NaN alone differs from itself */
    scaled = scaled > -32768.0f ? scaled : -32768.0f;
    scaled = scaled < 32767.0f ? scaled : 32767.0f;
    scaled += ROUNDER;
    memcpy(&bits, &scaled, sizeof bits);
    return (uint16_t)bits;
}

void iwp_pcm_s16_from_f32_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        float value;
        uint16_t sample;

        memcpy(&value, src + 4 * at, sizeof value);
        sample = s16_from_f32(value);
        memcpy(dst + 2 * at, &sample, sizeof sample);
    }
}

void iwp_pcm_swap_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const uint8_t first = src[2 * at];

        dst[2 * at] = src[2 * at + 1];
        dst[2 * at + 1] = first;
    }
}

void iw_pcm_f32_from_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->pcm_f32_from_s16(dst, src, samples);
}

void iw_pcm_s16_from_f32(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->pcm_s16_from_f32(dst, src, samples);
}

void iw_pcm_swap_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->pcm_swap_s16(dst, src, samples);
}
