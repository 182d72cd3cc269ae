/*
 * base64 by AVX2: 32 characters at a time, classed by the halves of each byte.
 * Method: W. Mula, D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions",
 * ACM Transactions on the Web 12(3), 2018.
 */
#include "base64/iwp_base64.h"

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

#define CHARACTERS 32u /* a register of text */
#define BYTES 24u      /* and what it stands for */

/* Sixteen bytes for each half of a register, the first one lowest. */
#define BOTH_HALVES(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/*
 * Which characters belong to the alphabet. The rows of ASCII, by their high half, are of five
 * kinds with a bit each; each low half lists the kinds where it is outside.
 *
 *   kind 0x01  row 2: '+' and '/' only         kind 0x08  rows 5 and 7: not b to f
 *   kind 0x02  row 3: digits, not a to f       kind 0x10  all other rows: nothing
 *   kind 0x04  rows 4 and 6: not 0
 */
IWP_AVX2 IWP_INLINE __m256i outside_of(__m256i high, __m256i low)
{
    const __m256i kinds = BOTH_HALVES(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10,
                                      0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
    const __m256i missing = BOTH_HALVES(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                        0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);

    return _mm256_and_si256(_mm256_shuffle_epi8(kinds, high),
                            _mm256_shuffle_epi8(missing, low));
}

/*
 * Decode a register into its first 24 bytes; *outside is not zero when a character does not
 * belong to the alphabet. The words are joined as in base64_avx512.c.
 */
IWP_AVX2 IWP_INLINE __m256i decode_32(__m256i text, __m256i *outside)
{
    /* From a character to its value, by high half; '/' is moved to the free place 1. */
    const __m256i to_value =
        BOTH_HALVES(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i turn = BOTH_HALVES(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i slash = _mm256_set1_epi8('/');
    /* '/' is 0x2f: bit 5 stays, but a look-up ignores it. */
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), slash);
    const __m256i low = _mm256_and_si256(text, slash);
    const __m256i is_slash = _mm256_cmpeq_epi8(text, slash);
    __m256i bytes = _mm256_shuffle_epi8(to_value, _mm256_add_epi8(is_slash, high));

    *outside = outside_of(high, low);
    bytes = _mm256_add_epi8(text, bytes);
    bytes = _mm256_maddubs_epi16(bytes, _mm256_set1_epi32(0x01400140));
    bytes = _mm256_madd_epi16(bytes, _mm256_set1_epi32(0x00011000));
    bytes = _mm256_shuffle_epi8(bytes, turn);
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
}

IWP_AVX2 size_t iwp_base64_decode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    /* The 8 bytes that a store writes too many are those of 11 characters behind. */
    for (; src_bytes - at >= 2 * CHARACTERS + 11; at += 2 * CHARACTERS, dst += 2 * BYTES) {
        __m256i outside[2];
        const __m256i first =
            decode_32(_mm256_loadu_si256((const void *)(src + at)), &outside[0]);
        const __m256i second =
            decode_32(_mm256_loadu_si256((const void *)(src + at + CHARACTERS)), &outside[1]);
        const __m256i any = _mm256_or_si256(outside[0], outside[1]);

        if (!_mm256_testz_si256(any, any))
            break;
        _mm256_storeu_si256((void *)dst, first);
        _mm256_storeu_si256((void *)(dst + BYTES), second);
    }
    if (src_bytes - at >= CHARACTERS + 11) {
        __m256i outside;
        const __m256i bytes = decode_32(_mm256_loadu_si256((const void *)(src + at)), &outside);

        if (_mm256_testz_si256(outside, outside)) {
            _mm256_storeu_si256((void *)dst, bytes);
            at += CHARACTERS;
            dst += BYTES;
        }
    }
    return at + iwp_base64_decode_scalar(dst, src + at, src_bytes - at);
}

/*
 * Encode 24 bytes, 12 in each half. A word gets the three bytes p q r of a group as q p r q;
 * multiplications move its four values to the places of bytes.
 *
 *   qqqqqqqq rrrrrrrr pppppppp qqqqqqqq
 *       cccc ccdddddd aaaaaabb bbbb
 */
IWP_AVX2 IWP_INLINE __m256i encode_24(__m256i bytes)
{
    const __m256i spread = BOTH_HALVES(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    /* From a value to its character, by class: 0 A-Z, 1 a-z, 2 to 11 digits, 12 '+', 13 '/'. */
    const __m256i to_character =
        BOTH_HALVES(65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0);
    const __m256i words = _mm256_shuffle_epi8(bytes, spread);
    const __m256i a_and_c = _mm256_mulhi_epu16(
        _mm256_and_si256(words, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    const __m256i b_and_d = _mm256_mullo_epi16(
        _mm256_and_si256(words, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    const __m256i values = _mm256_or_si256(a_and_c, b_and_d);
    const __m256i above_51 = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
    const __m256i above_25 = _mm256_cmpgt_epi8(values, _mm256_set1_epi8(25));
    const __m256i classes = _mm256_sub_epi8(above_51, above_25);

    return _mm256_add_epi8(values, _mm256_shuffle_epi8(to_character, classes));
}

IWP_AVX2 IWP_INLINE __m256i load_halves(const uint8_t *first, const uint8_t *second)
{
    const __m128i low = _mm_loadu_si128((const void *)first);
    const __m128i high = _mm_loadu_si128((const void *)second);

    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

IWP_AVX2 void iwp_base64_encode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    /* The second half is loaded from byte 12 on, and four bytes with it too many. */
    for (; src_bytes >= BYTES + 4; src_bytes -= BYTES) {
        _mm256_storeu_si256((void *)dst, encode_24(load_halves(src, src + 12)));
        src += BYTES;
        dst += CHARACTERS;
    }
    iwp_base64_encode_scalar(dst, src, src_bytes);
}

#endif
