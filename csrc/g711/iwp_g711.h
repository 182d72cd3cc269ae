/* G.711 kernels; iw_api.h describes each iw_ function. Included by g711*.c, iwp_kernels.c. */
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
 * mu-law: the inverted byte has a sign, 3 bits of segment and 4 bits of step. The highest bit
 * of magnitude + 132 is at 7 + segment, and the step is in the four bits below it.
 *
 * A-law: the byte has the same fields if every second bit is inverted. The highest bit of a
 * magnitude is at 7 + segment. Segment 0 is an exception: it has the same steps as segment 1.
 */
#define IWP_ULAW_BIAS 132
#define IWP_ULAW_CLIP (32767 - IWP_ULAW_BIAS)
#define IWP_ALAW_FLIP 0x55

/* The magnitude of a byte, for tables. The sign, which is the top bit, is ignored. */
#define IWP_ULAW_MAGNITUDE(byte) IWP_ULAW_OF(~(byte) & 0x7f)
#define IWP_ALAW_MAGNITUDE(byte) IWP_ALAW_OF(((byte) ^ IWP_ALAW_FLIP) & 0x7f)
#define IWP_ULAW_OF(code)                                                                      \
    ((((((code) & 15) << 3) + IWP_ULAW_BIAS) << ((code) >> 4)) - IWP_ULAW_BIAS)
#define IWP_ALAW_OF(code)                                                                      \
    (((((code) & 15) << 4) + ((code) < 16 ? 8 : 264)) << (((code) >> 4) - ((code) >= 16)))

/* The top bits of the float 1.0: its exponent, and four bits of the fraction. */
#define IWP_FLOAT_ONE (127 * 16)

#endif
