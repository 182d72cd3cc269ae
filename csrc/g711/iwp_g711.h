/* G.711 kernels, each with the contract of its iw_ twin. Included by g711*.c, iwp_kernels.c. */
#ifndef IWP_G711_H
#define IWP_G711_H

#include <stddef.h>
#include <stdint.h>

void iwp_g711_decode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_ulaw_neon(uint8_t *dst, const uint8_t *src, size_t samples);

void iwp_g711_decode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_decode_alaw_neon(uint8_t *dst, const uint8_t *src, size_t samples);

void iwp_g711_encode_ulaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_ulaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_ulaw_neon(uint8_t *dst, const uint8_t *src, size_t samples);

void iwp_g711_encode_alaw_scalar(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_alaw_avx2(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples);
void iwp_g711_encode_alaw_neon(uint8_t *dst, const uint8_t *src, size_t samples);

/*
 * mu-law: the inverted byte is sign, 3 bits of segment, 4 bits of step. A magnitude plus 132
 * has its highest bit at 7 + segment, and the step in the four bits below it.
 * A-law: the same, once every second bit is inverted. A magnitude has its highest bit at
 * 7 + segment, save in segment 0, which goes on below segment 1 with the same steps.
 */
#define IWP_ULAW_BIAS 132
#define IWP_ULAW_CLIP (32767 - IWP_ULAW_BIAS)
#define IWP_ALAW_FLIP 0x55

/* The magnitude that a byte stands for, of either sign, for tables; its top bit is the sign. */
#define IWP_ULAW_MAGNITUDE(byte) IWP_ULAW_OF(~(byte) & 0x7f)
#define IWP_ALAW_MAGNITUDE(byte) IWP_ALAW_OF(((byte) ^ IWP_ALAW_FLIP) & 0x7f)
#define IWP_ULAW_OF(code)                                                                      \
    ((((((code) & 15) << 3) + IWP_ULAW_BIAS) << ((code) >> 4)) - IWP_ULAW_BIAS)
#define IWP_ALAW_OF(code)                                                                      \
    (((((code) & 15) << 4) + ((code) < 16 ? 8 : 264)) << (((code) >> 4) - ((code) >= 16)))

/* The exponent of 1.0 in a float's top bits, seen above four bits of the fraction. */
#define IWP_FLOAT_ONE (127 * 16)

#endif
