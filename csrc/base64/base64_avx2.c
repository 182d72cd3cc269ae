/*
 * base64 by AVX2: 32 characters at a time, looked up in tables of sixteen.
 * Method: W. Mula, D. Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions",
 * ACM Transactions on the Web 12(3), 2018.
 */
#include "base64/iwp_base64.h"

#include <string.h>

#include "common/iwp_compiler.h"

#if IWP_HAVE_X86

#include <immintrin.h>

#define CHARACTERS 32u /* the characters in a register of text */
#define BYTES 24u      /* the decoded bytes of a register of text */

/* The same sixteen bytes in both halves of a register. The first byte is the lowest. */
#define BOTH_HALVES(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/*
 * Return the slot of each character. There are sixteen slots. The lower four bits of the
 * character select one of `numbers`. This number is added to the upper five bits of the
 * character, and half of the sum is the slot. values_of() uses two sets of numbers.
 *
 * With the first set, all characters of a slot have the same difference to their values:
 *
 *   3  +    4  0-9    5 6 12  A-Z    7 8 14  a-z    10  /
 *
 * With the second set, each slot has a threshold: a character of the slot belongs to the
 * alphabet if it is not below the threshold. The second set was found by a search that chose
 * the sixteen numbers one after another, and rejected a number as soon as a slot had no
 * threshold.
 *
 * The shift works on words of 32 bits, so it also shifts in three bits of the next byte. The
 * look-up ignores these bits if the top bit of the character is zero (ASCII). A character with
 * the top bit set is a negative number, and no negated threshold of values_of() is above zero.
 * So the sum of this number and any negated threshold is negative, which marks the character as
 * outside.
 */
IWP_AVX2 IWP_INLINE __m256i slot_of(__m256i text, __m256i numbers)
{
    const __m256i upper = _mm256_srli_epi32(text, 3);

    return _mm256_avg_epu8(_mm256_shuffle_epi8(numbers, text), upper);
}

/*
 * Return the values of characters. In *outside, the top bit of a byte is set if its character
 * is outside the alphabet.
 */
IWP_AVX2 IWP_INLINE __m256i values_of(__m256i text, __m256i *outside)
{
    const __m256i by_distance = BOTH_HALVES(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 15);
    const __m256i distances =
        BOTH_HALVES(0, 0, 0, 19, 4, -65, -65, -71, -71, 0, 16, 0, -65, 0, -71, 0);
    const __m256i by_threshold = BOTH_HALVES(0, 0, 0, 0, 0, 0, 0, 0, 6, 6, 4, 8, 12, 12, 12, 8);
    /*
     * The negated thresholds. The sum of a character and the negated threshold of its slot is
     * negative if the character is below the threshold. -128 marks a slot that has no character
     * of the alphabet.
     */
    const __m256i thresholds = BOTH_HALVES(-128, -128, -128, -'0', -'A', -'P', -'a', -'+', -'H',
                                           -'K', -'h', -'L', -128, -'l', -128, -128);

    *outside =
        _mm256_adds_epi8(text, _mm256_shuffle_epi8(thresholds, slot_of(text, by_threshold)));
    return _mm256_add_epi8(text, _mm256_shuffle_epi8(distances, slot_of(text, by_distance)));
}

/*
 * Decode 32 characters into the first 12 bytes of each half. base64_avx512.c shows how the
 * values are joined.
 */
IWP_AVX2 IWP_INLINE __m256i decode_32(const uint8_t *src, __m256i *outside)
{
    const __m256i turn = BOTH_HALVES(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i text = _mm256_loadu_si256((const void *)src);
    const __m256i values = values_of(text, outside);
    const __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
    const __m256i words = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));

    return _mm256_shuffle_epi8(words, turn);
}

/* Write the 24 bytes and four undefined bytes after them. */
IWP_AVX2 IWP_INLINE void store_halves(uint8_t *dst, __m256i bytes)
{
    _mm_storeu_si128((void *)dst, _mm256_castsi256_si128(bytes));
    _mm_storeu_si128((void *)(dst + BYTES / 2), _mm256_extracti128_si256(bytes, 1));
}

/*
 * Decode 32 characters and write exactly 24 bytes. Return 0 if a character is outside the
 * alphabet.
 */
IWP_AVX2 IWP_INLINE int decode_exactly(uint8_t *dst, const uint8_t *src)
{
    __m256i outside;
    const __m256i bytes = decode_32(src, &outside);
    const __m128i high = _mm256_extracti128_si256(bytes, 1);
    const int last = _mm_extract_epi32(high, 2);

    if (_mm256_movemask_epi8(outside) != 0)
        return 0;
    _mm_storeu_si128((void *)dst, _mm256_castsi256_si128(bytes));
    _mm_storel_epi64((void *)(dst + BYTES / 2), high);
    memcpy(dst + BYTES / 2 + 8, &last, sizeof last);
    return 1;
}

IWP_AVX2 size_t iwp_base64_decode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0, rest;

    /*
     * A store writes four bytes more than the 24 decoded bytes. The loop leaves at least six
     * characters for later, so dst has room for the four bytes.
     */
    for (; src_bytes - at >= 2 * CHARACTERS + 6; at += 2 * CHARACTERS, dst += 2 * BYTES) {
        __m256i outside[2];
        const __m256i first = decode_32(src + at, &outside[0]);
        const __m256i second = decode_32(src + at + CHARACTERS, &outside[1]);

        if (_mm256_movemask_epi8(_mm256_or_si256(outside[0], outside[1])) != 0)
            break;
        store_halves(dst, first);
        store_halves(dst + BYTES, second);
    }
    if (src_bytes - at >= CHARACTERS && decode_exactly(dst, src + at)) {
        at += CHARACTERS;
        dst += BYTES;
    }
    /* The last register of whole groups contains characters that were already decoded. */
    rest = (src_bytes - at) / 4;
    if (at != 0 && rest != 0 && rest <= CHARACTERS / 4 &&
        decode_exactly(dst + rest * 3 - BYTES, src + at + rest * 4 - CHARACTERS)) {
        at += rest * 4;
        dst += rest * 3;
    }
    return at + iwp_base64_decode_scalar(dst, src + at, src_bytes - at);
}

/*
 * Encode the 24 bytes at offset 4 of the register, 12 in each half. The three bytes p q r of a
 * group become the word q p r q. Multiplications move the four values to the four bytes of the
 * word.
 *
 *   qqqqqqqq rrrrrrrr pppppppp qqqqqqqq
 *       cccc ccdddddd aaaaaabb bbbb
 */
IWP_AVX2 IWP_INLINE __m256i encode_24(__m256i bytes)
{
    const __m256i spread =
        _mm256_setr_epi8(5, 4, 6, 5, 8, 7, 9, 8, 11, 10, 12, 11, 14, 13, 15, 14, /* 4 to 15 */
                         1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    /*
     * The difference from a value to its character: 0 A-Z, 1 a-z, 2-11 digits, 12 '+', 13 '/'.
     */
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

IWP_AVX2 IWP_INLINE __m256i join_halves(__m128i low, __m128i high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

IWP_AVX2 IWP_INLINE __m128i load_half(const uint8_t *src)
{
    return _mm_loadu_si128((const void *)src);
}

/* Load the first 24 bytes of a text, and read no byte before them. */
IWP_AVX2 IWP_INLINE __m256i load_first(const uint8_t *src)
{
    return join_halves(_mm_slli_si128(load_half(src), 4), load_half(src + 12));
}

/* Load 24 bytes from the middle of a text, with four bytes on each side. */
IWP_AVX2 IWP_INLINE __m256i load_middle(const uint8_t *src)
{
    return _mm256_loadu_si256((const void *)(src - 4));
}

/* Load the last 24 bytes of a text. Reads four bytes before them and no byte after them. */
IWP_AVX2 IWP_INLINE __m256i load_last(const uint8_t *src)
{
    return join_halves(load_half(src - 4), _mm_srli_si128(load_half(src + 8), 4));
}

IWP_AVX2 void iwp_base64_encode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t left = src_bytes;

    if (src_bytes < BYTES + 4) {
        iwp_base64_encode_scalar(dst, src, src_bytes);
        return;
    }
    _mm256_storeu_si256((void *)dst, encode_24(load_first(src)));
    for (left -= BYTES; left >= BYTES + 4; left -= BYTES) {
        src += BYTES;
        dst += CHARACTERS;
        _mm256_storeu_si256((void *)dst, encode_24(load_middle(src)));
    }
    /*
     * `left` bytes, 0 to 27, follow the 24 bytes at src. More than 24 bytes need two
     * registers.
     */
    if (left > BYTES)
        _mm256_storeu_si256((void *)(dst + CHARACTERS), encode_24(load_last(src + BYTES)));
    _mm256_storeu_si256((void *)(dst + left / 3 * 4), encode_24(load_last(src + left)));
}

#endif
