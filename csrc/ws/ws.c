/* Masking of WebSocket payloads, RFC 6455 section 5.3: dispatch and the scalar kernel. */
#include "ws/iwp_ws.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "include/iw_api.h"

void iwp_ws_mask_scalar(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key)
{
    const uint64_t twice = (uint64_t)key << 32 | key;
    uint64_t eight;
    size_t at = 0;

    for (; bytes - at >= 8; at += 8) {
        memcpy(&eight, src + at, 8);
        eight ^= twice;
        memcpy(dst + at, &eight, 8);
    }
    for (; at < bytes; at++)
        dst[at] = (uint8_t)(src[at] ^ key >> at % 4 * 8);
}

void iw_ws_mask(uint8_t *dst, const uint8_t *src, size_t bytes, const uint8_t *key,
                size_t offset_bytes)
{
    uint32_t word = 0;
    unsigned at;

    for (at = 0; at < 4; at++)
        word |= (uint32_t)key[(offset_bytes + at) % 4] << at * 8;
    iwp_kernels_active()->ws_mask(dst, src, bytes, word);
}
