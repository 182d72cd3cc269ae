/* WebSocket kernels. Included by ws*.c and iwp_kernels.c. */
#ifndef IWP_WS_H
#define IWP_WS_H

#include <stddef.h>
#include <stdint.h>

/*
 * XOR bytes with a repeated key.
 *
 * dst  out, `bytes` bytes; may be src itself
 * src  in, `bytes` bytes
 * key  four bytes, the lowest byte for src[0]
 */
void iwp_ws_mask_scalar(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key);
void iwp_ws_mask_avx2(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key);
void iwp_ws_mask_avx512(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key);
void iwp_ws_mask_neon(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key);

#endif
