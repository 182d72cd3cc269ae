/* PCM kernels, each with the contract of its iw_ twin. Included by pcm*.c, iwp_kernels.c. */
#ifndef IWP_PCM_H
#define IWP_PCM_H

#include <stddef.h>
#include <stdint.h>

void iwp_pcm_f32_from_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_s16_from_f32_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_pcm_swap_s16_scalar(uint8_t *dst, const uint8_t *src, size_t samples);

#endif
