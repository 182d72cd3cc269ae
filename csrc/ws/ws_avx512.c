/* Masking by AVX-512. */
#include "ws/iwp_ws.h"

#include "common/iwp_avx512.h"
#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

IWP_AVX512 IWP_INLINE void mask_64(uint8_t *dst, const uint8_t *src, __m512i keys)
{
    _mm512_storeu_si512(dst, _mm512_xor_si512(_mm512_loadu_si512(src), keys));
}

IWP_AVX512 void iwp_ws_mask_avx512(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key)
{
    const __m512i keys = _mm512_set1_epi32((int)key);
    __mmask64 there;

    for (; bytes >= 256; bytes -= 256, src += 256, dst += 256) {
        mask_64(dst, src, keys);
        mask_64(dst + 64, src + 64, keys);
        mask_64(dst + 128, src + 128, keys);
        mask_64(dst + 192, src + 192, keys);
    }
    for (; bytes >= 64; bytes -= 64, src += 64, dst += 64)
        mask_64(dst, src, keys);
    if (bytes == 0)
        return;
    there = iwp_first(bytes);
    _mm512_mask_storeu_epi8(dst, there,
                            _mm512_xor_si512(_mm512_maskz_loadu_epi8(there, src), keys));
}

#endif
