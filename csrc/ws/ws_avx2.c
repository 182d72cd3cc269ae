/* Masking by AVX2. */
#include "ws/iwp_ws.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

IWP_AVX2 IWP_INLINE void mask_32(uint8_t *dst, const uint8_t *src, __m256i keys)
{
    const __m256i payload = _mm256_loadu_si256((const void *)src);

    _mm256_storeu_si256((void *)dst, _mm256_xor_si256(payload, keys));
}

IWP_AVX2 void iwp_ws_mask_avx2(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key)
{
    const __m256i keys = _mm256_set1_epi32((int)key);

    for (; bytes >= 128; bytes -= 128, src += 128, dst += 128) {
        mask_32(dst, src, keys);
        mask_32(dst + 32, src + 32, keys);
        mask_32(dst + 64, src + 64, keys);
        mask_32(dst + 96, src + 96, keys);
    }
    iwp_ws_mask_scalar(dst, src, bytes, key);
}

#endif
