/* PCM kernels; iw_api.h describes each iw_ function. Included by pcm*.c, iwp_kernels.c. */
#ifndef IWP_PCM_H
#define IWP_PCM_H

#include <stddef.h>
#include <stdint.h>

void iwp_pcm_f32_from_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_f32_from_s16_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_f32_from_s16_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_f32_from_s16_neon(uint8_t *dst, const uint8_t *src, size_t samples);

void iwp_pcm_s16_from_f32_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_s16_from_f32_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_s16_from_f32_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_s16_from_f32_neon(uint8_t *dst, const uint8_t *src, size_t samples);

void iwp_pcm_gain_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples, float gain);
void iwp_pcm_gain_s16_avx2(uint8_t *dst, const uint8_t *src, size_t samples, float gain);
void iwp_pcm_gain_s16_avx512(uint8_t *dst, const uint8_t *src, size_t samples, float gain);
void iwp_pcm_gain_s16_neon(uint8_t *dst, const uint8_t *src, size_t samples, float gain);

void iwp_pcm_mix_s16_scalar(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);
void iwp_pcm_mix_s16_avx2(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);
void iwp_pcm_mix_s16_avx512(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);
void iwp_pcm_mix_s16_neon(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);

uint32_t iwp_pcm_peak_s16_scalar(const uint8_t *src, size_t samples);
uint32_t iwp_pcm_peak_s16_avx2(const uint8_t *src, size_t samples);
uint32_t iwp_pcm_peak_s16_avx512(const uint8_t *src, size_t samples);
uint32_t iwp_pcm_peak_s16_neon(const uint8_t *src, size_t samples);

uint64_t iwp_pcm_energy_s16_scalar(const uint8_t *src, size_t samples);
uint64_t iwp_pcm_energy_s16_avx2(const uint8_t *src, size_t samples);
uint64_t iwp_pcm_energy_s16_avx512(const uint8_t *src, size_t samples);
uint64_t iwp_pcm_energy_s16_neon(const uint8_t *src, size_t samples);

#define IWP_FULL_SCALE 32768.0f

#endif
