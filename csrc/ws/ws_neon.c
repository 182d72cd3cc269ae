/* Masking by NEON. */
#include "ws/iwp_ws.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_NEON

#include <arm_neon.h>

void iwp_ws_mask_neon(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key)
{
    const uint8x16_t keys = vreinterpretq_u8_u32(vdupq_n_u32(key));

    for (; bytes >= 64; bytes -= 64, src += 64, dst += 64) {
        vst1q_u8(dst, veorq_u8(vld1q_u8(src), keys));
        vst1q_u8(dst + 16, veorq_u8(vld1q_u8(src + 16), keys));
        vst1q_u8(dst + 32, veorq_u8(vld1q_u8(src + 32), keys));
        vst1q_u8(dst + 48, veorq_u8(vld1q_u8(src + 48), keys));
    }
    iwp_ws_mask_scalar(dst, src, bytes, key);
}

#endif
