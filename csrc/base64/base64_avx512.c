/*
 * base64 by AVX-512 VBMI: one instruction looks up 64 characters.
 * Method: W. Mula, D. Lemire, "Base64 encoding and decoding at almost the speed of a memory
 * copy", Software: Practice and Experience 50(2), 2020.
 */
#include "base64/iwp_base64.h"

#include "common/iwp_avx512.h"
#include "common/iwp_compiler.h"
#include "common/iwp_table.h"

#if IWP_HAVE_X86

#define CHARACTERS 64u /* the characters in a register of text */
#define BYTES 48u      /* the decoded bytes of a register of text */
#define LONG_BYTES (16u << 10)

/*
 * The index of the decoded byte `at` in a register of words. A word has three decoded bytes in
 * reverse order.
 */
#define UNTURNED(at) ((at) / 3 * 4 + 2 - (at) % 3)
/*
 * The same index for byte `at` of the second and of the third register of decoded bytes. Each
 * look-up uses two registers of words, and the index is relative to the first of them.
 */
#define UNTURNED_SECOND(at) (UNTURNED((at) + 64) - 64)
#define UNTURNED_THIRD(at) (UNTURNED((at) + 128) - 128)
/* The index of the source byte for byte `at`: the bytes 0 1 2 of a group become 1 0 2 1. */
#define SPREAD(at) ((at) / 4 * 3 + ((at) % 4 == 1 ? 0 : (at) % 4 == 2 ? 2 : 1))

static const uint8_t value_of[128] = {IWP_TABLE_64(IWP_BASE64_VALUE, 0),
                                      IWP_TABLE_64(IWP_BASE64_VALUE, 64)};
static const uint8_t character_of[64] = {IWP_TABLE_64(IWP_BASE64_CHARACTER, 0)};
static const uint8_t unturned[64] = {IWP_TABLE_64(UNTURNED, 0)};
static const uint8_t unturned_second[64] = {IWP_TABLE_64(UNTURNED_SECOND, 0)};
static const uint8_t unturned_third[64] = {IWP_TABLE_64(UNTURNED_THIRD, 0)};
static const uint8_t spread[64] = {IWP_TABLE_64(SPREAD, 0)};

/*
 * Decode the characters of a register to words of three bytes. A character outside the alphabet
 * sets the top bit of its byte in *outside.
 *
 *   00dddddd 00cccccc 00bbbbbb 00aaaaaa    a word of values, the first value lowest
 *   0000cccc ccdddddd 0000aaaa aabbbbbb    pairs joined: times 64 and 1
 *   00000000 aaaaaabb bbbbcccc ccdddddd    pairs of pairs: times 4096 and 1
 */
IWP_AVX512 IWP_INLINE __m512i words_of(__m512i text, __m512i *outside)
{
    __m512i values, pairs;

    /* The look-up overwrites its index. Without this line, compilers load the text twice. */
    __asm__("" : "+v"(text));
    values = _mm512_permutex2var_epi8(_mm512_loadu_si512(value_of), text,
                                      _mm512_loadu_si512(value_of + 64));
    pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi32(0x01400140));
    /*
     * The look-up uses seven bits of a character. A character whose eighth bit is set is
     * outside the alphabet.
     */
    *outside = _mm512_or_si512(values, text);
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00011000));
}

/* Move the 48 decoded bytes of a register of words to the first 48 bytes of the result. */
IWP_AVX512 IWP_INLINE __m512i bytes_of(__m512i words)
{
    return _mm512_permutexvar_epi8(_mm512_loadu_si512(unturned), words);
}

/* Decode 256 characters to 192 bytes. Returns 0 if a character is outside the alphabet. */
IWP_AVX512 IWP_INLINE int decode_256(uint8_t *dst, const uint8_t *src)
{
    const __m512i second = _mm512_loadu_si512(unturned_second);
    const __m512i third = _mm512_loadu_si512(unturned_third);
    __m512i outside[4], words[4], any;
    unsigned at;

    for (at = 0; at < 4; at++)
        words[at] = words_of(_mm512_loadu_si512(src + CHARACTERS * at), &outside[at]);
    any = _mm512_ternarylogic_epi32(outside[0], outside[1], outside[2], 0xfe);
    if (_mm512_movepi8_mask(_mm512_or_si512(any, outside[3])) != 0)
        return 0;
    _mm512_storeu_si512(
        dst, _mm512_permutex2var_epi8(words[0], _mm512_loadu_si512(unturned), words[1]));
    _mm512_storeu_si512(dst + 64, _mm512_permutex2var_epi8(words[1], second, words[2]));
    _mm512_storeu_si512(dst + 128, _mm512_permutex2var_epi8(words[2], third, words[3]));
    return 1;
}

/*
 * Decode up to 64 characters, and write exactly their bytes. Returns the count of characters
 * decoded.
 */
IWP_AVX512 IWP_INLINE size_t decode_some(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    const size_t there = src_bytes < CHARACTERS ? src_bytes : CHARACTERS;
    /* Lanes that are not loaded contain 'A', which decodes to zero. */
    const __m512i zeros = _mm512_set1_epi8('A');
    __m512i outside;
    const __m512i bytes =
        bytes_of(words_of(_mm512_mask_loadu_epi8(zeros, iwp_first(there), src), &outside));
    const __mmask64 wrong = _mm512_movepi8_mask(outside);
    const size_t good = wrong == 0 ? there : (size_t)_tzcnt_u64(wrong) & ~(size_t)3;

    _mm512_mask_storeu_epi8(dst, iwp_first(good * 3 / 4), bytes);
    return good;
}

IWP_AVX512 size_t iwp_base64_decode_avx512(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0, good;

    while (src_bytes - at >= 4 * CHARACTERS && decode_256(dst, src + at)) {
        at += 4 * CHARACTERS;
        dst += 4 * BYTES;
    }
    /*
     * A store writes 16 bytes more than the 48 decoded bytes. The loop leaves at least 22
     * characters for later, so dst has room for the 16 bytes.
     */
    for (; src_bytes - at >= CHARACTERS + 22; at += CHARACTERS, dst += BYTES) {
        __m512i outside;
        const __m512i words = words_of(_mm512_loadu_si512(src + at), &outside);

        if (_mm512_movepi8_mask(outside) != 0)
            break;
        _mm512_storeu_si512(dst, bytes_of(words));
    }
    do {
        good = decode_some(dst, src + at, src_bytes - at);
        at += good;
        dst += BYTES;
    } while (good == CHARACTERS);
    return at;
}

/*
 * Encode 48 bytes. The three bytes p q r of a group become the word q p r q. Each of the four
 * characters is in six bits of the word. These bits begin at bit 10, at bit 4, at bit 22 and
 * at bit 16.
 *
 *   qqqqqqqq rrrrrrrr pppppppp qqqqqqqq
 *       cccc ccdddddd aaaaaabb bbbb
 */
IWP_AVX512 IWP_INLINE __m512i encode_48(__m512i bytes)
{
    const __m512i begins = _mm512_set1_epi64(0x3036242a1016040a);
    const __m512i words = _mm512_permutexvar_epi8(_mm512_loadu_si512(spread), bytes);
    const __m512i values = _mm512_multishift_epi64_epi8(begins, words);

    /* The look-up uses only six bits of each byte. */
    return _mm512_permutexvar_epi8(values, _mm512_loadu_si512(character_of));
}

IWP_AVX512 void iwp_base64_encode_avx512(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    unsigned part;

    /*
     * Write one register, then continue at the next start of a cache line in dst. Each store of
     * the loop then writes one cache line instead of two. This is faster for texts that are
     * larger than the first-level cache.
     */
    if (src_bytes >= LONG_BYTES && (uintptr_t)dst % 4 == 0) {
        const size_t groups = (CHARACTERS - (uintptr_t)dst % CHARACTERS) / 4;

        _mm512_storeu_si512(dst, encode_48(_mm512_loadu_si512(src)));
        src += 3 * groups;
        dst += 4 * groups;
        src_bytes -= 3 * groups;
    }
    /* The loads read 192 bytes and 16 bytes after them. */
    for (; src_bytes >= 4 * BYTES + 16; src_bytes -= 4 * BYTES) {
        for (part = 0; part < 4; part++)
            _mm512_storeu_si512(dst + CHARACTERS * part,
                                encode_48(_mm512_loadu_si512(src + BYTES * part)));
        src += 4 * BYTES;
        dst += 4 * CHARACTERS;
    }
    for (; src_bytes >= BYTES; src_bytes -= BYTES) {
        _mm512_storeu_si512(dst, encode_48(_mm512_maskz_loadu_epi8(iwp_first(BYTES), src)));
        src += BYTES;
        dst += CHARACTERS;
    }
    if (src_bytes != 0)
        _mm512_mask_storeu_epi8(dst, iwp_first(src_bytes / 3 * 4),
                                encode_48(_mm512_maskz_loadu_epi8(iwp_first(src_bytes), src)));
}

#endif
