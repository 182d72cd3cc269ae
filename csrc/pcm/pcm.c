/* Sample formats: dispatch and the scalar kernels. */
#include "pcm/iwp_pcm.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "include/iw_api.h"

/*
 * Adding this number to a float in [-32768, 32767] rounds the float. The lowest bit of the sum
 * has the value 1, so the addition rounds to an integer, with halves to even. This integer is
 * in the low 16 bits of the sum.
 */
#define ROUNDER 12582912.0f /* 1.5 * 2^23 */

IWP_INLINE int16_t load_s16(const uint8_t *src)
{
    int16_t sample;

    memcpy(&sample, src, sizeof sample);
    return sample;
}

/* Round a value on the scale of 16-bit samples, limit it and store it. NaN becomes 0. */
IWP_INLINE void store_s16(uint8_t *dst, float value)
{
    uint32_t bits;
    uint16_t sample;

    value = value == value ? value : 0.0f; /* only NaN differs from itself */
    value = value > -32768.0f ? value : -32768.0f;
    value = value < 32767.0f ? value : 32767.0f;
    value += ROUNDER;
    memcpy(&bits, &value, sizeof bits);
    sample = (uint16_t)bits;
    memcpy(dst, &sample, sizeof sample);
}

void iwp_pcm_f32_from_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const float value = (float)load_s16(src + 2 * at) * (1.0f / IWP_FULL_SCALE);

        memcpy(dst + 4 * at, &value, sizeof value);
    }
}

void iwp_pcm_s16_from_f32_scalar(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        float value;

        memcpy(&value, src + 4 * at, sizeof value);
        store_s16(dst + 2 * at, value * IWP_FULL_SCALE);
    }
}

void iwp_pcm_gain_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples, float gain)
{
    size_t at;

    for (at = 0; at < samples; at++)
        store_s16(dst + 2 * at, (float)load_s16(src + 2 * at) * gain);
}

void iwp_pcm_mix_s16_scalar(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const int32_t sum = load_s16(a + 2 * at) + load_s16(b + 2 * at);
        const int32_t above = sum > -32768 ? sum : -32768;
        const int16_t held = (int16_t)(above < 32767 ? above : 32767);

        memcpy(dst + 2 * at, &held, sizeof held);
    }
}

uint32_t iwp_pcm_peak_s16_scalar(const uint8_t *src, size_t samples)
{
    int32_t lowest = 0, highest = 0;
    size_t at;

    for (at = 0; at < samples; at++) {
        const int32_t sample = load_s16(src + 2 * at);

        lowest = sample < lowest ? sample : lowest;
        highest = sample > highest ? sample : highest;
    }
    return (uint32_t)(-lowest > highest ? -lowest : highest);
}

uint64_t iwp_pcm_energy_s16_scalar(const uint8_t *src, size_t samples)
{
    uint64_t energy = 0;
    size_t at;

    for (at = 0; at < samples; at++) {
        const int32_t sample = load_s16(src + 2 * at);

        energy += (uint32_t)(sample * sample);
    }
    return energy;
}

void iw_pcm_f32_from_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->pcm_f32_from_s16(dst, src, samples);
}

void iw_pcm_s16_from_f32(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iwp_kernels_active()->pcm_s16_from_f32(dst, src, samples);
}

/*
 * There is no vector kernel, because such a kernel would save almost no time for 10 ms of
 * audio.
 */
void iw_pcm_swap_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    size_t at;

    for (at = 0; at < samples; at++) {
        const uint8_t first = src[2 * at];

        dst[2 * at] = src[2 * at + 1];
        dst[2 * at + 1] = first;
    }
}

void iw_pcm_gain_s16(uint8_t *dst, const uint8_t *src, size_t samples, float gain)
{
    iwp_kernels_active()->pcm_gain_s16(dst, src, samples, gain);
}

void iw_pcm_mix_s16(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples)
{
    iwp_kernels_active()->pcm_mix_s16(dst, a, b, samples);
}

uint32_t iw_pcm_peak_s16(const uint8_t *src, size_t samples)
{
    return iwp_kernels_active()->pcm_peak_s16(src, samples);
}

uint64_t iw_pcm_energy_s16(const uint8_t *src, size_t samples)
{
    return iwp_kernels_active()->pcm_energy_s16(src, samples);
}
