/*
 * mu-law and A-law by AVX-512 VBMI, 64 samples at a time. Decoding looks up the two bytes of a
 * magnitude. Encoding looks up the segment by the upper byte of a magnitude.
 */
#include "g711/iwp_g711.h"

#include "common/iwp_avx512.h"
#include "common/iwp_compiler.h"
#include "common/iwp_table.h"

#if IWP_HAVE_X86

#define CODES 64u /* the codes in one register; their samples fill two registers */

#define LOW_ULAW(byte) (uint8_t)IWP_ULAW_MAGNITUDE(byte)
#define HIGH_ULAW(byte) (uint8_t)(IWP_ULAW_MAGNITUDE(byte) >> 8)
#define LOW_ALAW(byte) (uint8_t)IWP_ALAW_MAGNITUDE(byte)
#define HIGH_ALAW(byte) (uint8_t)(IWP_ALAW_MAGNITUDE(byte) >> 8)
#define TABLE_128(of) {IWP_TABLE_64(of, 0), IWP_TABLE_64(of, 64)}

#define TWICE(at) ((at) * 2)

static const uint8_t lower_bytes_of_two[64] = {IWP_TABLE_64(TWICE, 0)};

/* The two bytes of the magnitude of each code without its sign. */
struct magnitudes {
    uint8_t low[128];
    uint8_t high[128];
};

static const struct magnitudes of_ulaw = {TABLE_128(LOW_ULAW), TABLE_128(HIGH_ULAW)};
static const struct magnitudes of_alaw = {TABLE_128(LOW_ALAW), TABLE_128(HIGH_ALAW)};

IWP_AVX512 IWP_INLINE __m512i words(int value)
{
    return _mm512_set1_epi16((short)value);
}

/* The look-up ignores the top bit of a code. */
IWP_AVX512 IWP_INLINE __m512i look_up(const uint8_t *table, __m512i codes)
{
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(table), codes,
                                    _mm512_loadu_si512(table + 64));
}

/* Decode 64 codes to two registers of samples. */
IWP_AVX512 IWP_INLINE void decode_64(__m512i codes, const struct magnitudes *of, __m512i *first,
                                     __m512i *second)
{
    /* Unpacking works within quarters of a register, so the codes are reordered first. */
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const __m512i ordered = _mm512_permutexvar_epi64(order, codes);
    const __m512i low = look_up(of->low, ordered);
    const __m512i high = look_up(of->high, ordered);
    const __mmask64 negative = ~_mm512_movepi8_mask(codes);
    const __m512i first_half = _mm512_unpacklo_epi8(low, high);
    const __m512i second_half = _mm512_unpackhi_epi8(low, high);

    *first = _mm512_mask_sub_epi16(first_half, (__mmask32)negative, words(0), first_half);
    *second =
        _mm512_mask_sub_epi16(second_half, (__mmask32)(negative >> 32), words(0), second_half);
}

IWP_AVX512 IWP_INLINE void decode(uint8_t *dst, const uint8_t *src, size_t samples,
                                  const struct magnitudes *of)
{
    __m512i first, second;

    for (; samples >= CODES; samples -= CODES, src += CODES, dst += 2 * CODES) {
        decode_64(_mm512_loadu_si512(src), of, &first, &second);
        _mm512_storeu_si512(dst, first);
        _mm512_storeu_si512(dst + CODES, second);
    }
    if (samples != 0) {
        const __mmask64 there = iwp_first(samples);

        decode_64(_mm512_maskz_loadu_epi8(there, src), of, &first, &second);
        _mm512_mask_storeu_epi16(dst, (__mmask32)there, first);
        _mm512_mask_storeu_epi16(dst + CODES, (__mmask32)(there >> 32), second);
    }
}

/*
 * The code of a magnitude is (magnitude >> SHIFT) + BASE. SHIFT and BASE are looked up by the
 * upper byte of the magnitude. The shift leaves the four bits of the step and, except in
 * segment 0, the highest bit above them. Segment 0 of A-law has the same steps as segment 1.
 * For mu-law, the bias is added to the magnitude before the look-up.
 */
#define HIGHEST_BIT(byte)                                                                      \
    ((byte) < 2 ? (byte)                                                                       \
                : 2 + ((byte) >= 4) + ((byte) >= 8) + ((byte) >= 16) + ((byte) >= 32) +        \
                      ((byte) >= 64))
#define SHIFT_ULAW(byte) (uint8_t)(HIGHEST_BIT(byte) + 3)
#define BASE_ULAW(byte) (uint8_t)(HIGHEST_BIT(byte) * 16 - 16)
#define SHIFT_ALAW(byte) (uint8_t)((byte) == 0 ? 4 : HIGHEST_BIT(byte) + 3)
#define BASE_ALAW(byte) (uint8_t)((byte) == 0 ? 0 : HIGHEST_BIT(byte) * 16 - 16)

/* The constants of mu-law or A-law. */
struct encoder {
    uint8_t shift[128];
    uint8_t base[128];
    int16_t bias; /* added to a magnitude before the look-up */
    uint8_t flip; /* the bits of a code that are inverted at the end */
};

static const struct encoder to_ulaw = {TABLE_128(SHIFT_ULAW), TABLE_128(BASE_ULAW),
                                       IWP_ULAW_BIAS, 0xff};
static const struct encoder to_alaw = {TABLE_128(SHIFT_ALAW), TABLE_128(BASE_ALAW), 0,
                                       IWP_ALAW_FLIP | 0x80};

/*
 * Return 32 codes before the inversion of bits. A code is in the lower byte of a word. The
 * upper byte is undefined.
 */
IWP_AVX512 IWP_INLINE __m512i codes_of(__m512i samples, const struct encoder *to)
{
    const __mmask64 lower_bytes = 0x5555555555555555;
    const __m512i ones = _mm512_srai_epi16(samples, 15); /* 0, or all bits set if negative */
    /* The sum is limited to 32767, where mu-law clips. */
    const __m512i magnitude =
        _mm512_adds_epi16(_mm512_xor_si512(samples, ones), words(to->bias));
    const __m512i upper = _mm512_srli_epi16(magnitude, 8);
    const __m512i shift = _mm512_maskz_permutex2var_epi8(
        lower_bytes, _mm512_loadu_si512(to->shift), upper, _mm512_loadu_si512(to->shift + 64));
    const __m512i base = look_up(to->base, upper);
    const __m512i code = _mm512_add_epi8(base, _mm512_srlv_epi16(magnitude, shift));

    return _mm512_ternarylogic_epi64(ones, words(0x80), code, 0x6a); /* (ones & 0x80) ^ code */
}

/* Encode two registers of samples to 64 codes. */
IWP_AVX512 IWP_INLINE __m512i encode_64(__m512i first, __m512i second, const struct encoder *to)
{
    const __m512i bytes = _mm512_permutex2var_epi8(
        codes_of(first, to), _mm512_loadu_si512(lower_bytes_of_two), codes_of(second, to));

    return _mm512_xor_si512(bytes, _mm512_set1_epi8((char)to->flip));
}

IWP_AVX512 IWP_INLINE void encode(uint8_t *dst, const uint8_t *src, size_t samples,
                                  const struct encoder *to)
{
    for (; samples >= CODES; samples -= CODES, src += 2 * CODES, dst += CODES)
        _mm512_storeu_si512(
            dst, encode_64(_mm512_loadu_si512(src), _mm512_loadu_si512(src + CODES), to));
    if (samples != 0) {
        const __mmask64 there = iwp_first(samples);
        const __m512i first = _mm512_maskz_loadu_epi16((__mmask32)there, src);
        const __m512i second = _mm512_maskz_loadu_epi16((__mmask32)(there >> 32), src + CODES);

        _mm512_mask_storeu_epi8(dst, there, encode_64(first, second, to));
    }
}

IWP_AVX512 void iwp_g711_decode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    decode(dst, src, samples, &of_ulaw);
}

IWP_AVX512 void iwp_g711_decode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    decode(dst, src, samples, &of_alaw);
}

IWP_AVX512 void iwp_g711_encode_ulaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    encode(dst, src, samples, &to_ulaw);
}

IWP_AVX512 void iwp_g711_encode_alaw_avx512(uint8_t *dst, const uint8_t *src, size_t samples)
{
    encode(dst, src, samples, &to_alaw);
}

#endif
