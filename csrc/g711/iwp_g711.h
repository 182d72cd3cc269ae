/* G.711 kernels, each with the contract of its iw_ twin. Included by g711*.c, iwp_kernels.c. */
#ifndef IWP_G711_H
#define IWP_G711_H

#include <stddef.h>
#include <stdint.h>

void iwp_g711_decode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);

#endif
