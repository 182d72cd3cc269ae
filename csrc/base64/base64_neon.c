/*
 * base64 by NEON: 64 characters (16 groups) at a time, looked up in tables of 64 bytes. One
 * register has the first character of each group, the next register has the second character of
 * each group, and so on.
 */
#include "base64/iwp_base64.h"

#include "common/iwp_compiler.h"
#include "common/iwp_table.h"

#if IWP_HAVE_NEON

#include <arm_neon.h>

#define CHARACTERS 64u
#define BYTES 48u

static const uint8_t value_of[128] = {IWP_TABLE_64(IWP_BASE64_VALUE, 0),
                                      IWP_TABLE_64(IWP_BASE64_VALUE, 64)};
static const uint8_t character_of[64] = {IWP_TABLE_64(IWP_BASE64_CHARACTER, 0)};

/*
 * Decode sixteen groups. If a character is outside the alphabet, return 0 and write nothing.
 * For an index after the end of the table, vqtbl returns zero and vqtbx keeps the old value.
 * Neither table has an entry for a character with the top bit set, so the character itself is
 * added to `outside`.
 */
IWP_INLINE int decode_64(uint8_t *dst, const uint8_t *src, uint8x16x4_t low, uint8x16x4_t high)
{
    const uint8x16x4_t text = vld4q_u8(src);
    uint8x16_t values[4], outside = vdupq_n_u8(0);
    uint8x16x3_t bytes;
    int place;

    for (place = 0; place < 4; place++) {
        const uint8x16_t character = text.val[place];
        const uint8x16_t from_high = veorq_u8(character, vdupq_n_u8(64));

        values[place] = vqtbx4q_u8(vqtbl4q_u8(low, character), high, from_high);
        outside = vorrq_u8(outside, vorrq_u8(values[place], character));
    }
    if (vmaxvq_u8(outside) >= IWP_BASE64_OUTSIDE)
        return 0;
    bytes.val[0] = vorrq_u8(vshlq_n_u8(values[0], 2), vshrq_n_u8(values[1], 4));
    bytes.val[1] = vorrq_u8(vshlq_n_u8(values[1], 4), vshrq_n_u8(values[2], 2));
    bytes.val[2] = vorrq_u8(vshlq_n_u8(values[2], 6), values[3]);
    vst3q_u8(dst, bytes);
    return 1;
}

size_t iwp_base64_decode_neon(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    const uint8x16x4_t low = vld1q_u8_x4(value_of);
    const uint8x16x4_t high = vld1q_u8_x4(value_of + 64);
    size_t at = 0;

    while (src_bytes - at >= CHARACTERS && decode_64(dst, src + at, low, high)) {
        at += CHARACTERS;
        dst += BYTES;
    }
    return at + iwp_base64_decode_scalar(dst, src + at, src_bytes - at);
}

void iwp_base64_encode_neon(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    const uint8x16x4_t characters = vld1q_u8_x4(character_of);
    const uint8x16_t six_bits = vdupq_n_u8(63);

    for (; src_bytes >= BYTES; src_bytes -= BYTES) {
        const uint8x16x3_t bytes = vld3q_u8(src);
        const uint8x16_t p = bytes.val[0], q = bytes.val[1], r = bytes.val[2];
        uint8x16x4_t text;

        text.val[0] = vqtbl4q_u8(characters, vshrq_n_u8(p, 2));
        text.val[1] = vqtbl4q_u8(
            characters, vandq_u8(vorrq_u8(vshlq_n_u8(p, 4), vshrq_n_u8(q, 4)), six_bits));
        text.val[2] = vqtbl4q_u8(
            characters, vandq_u8(vorrq_u8(vshlq_n_u8(q, 2), vshrq_n_u8(r, 6)), six_bits));
        text.val[3] = vqtbl4q_u8(characters, vandq_u8(r, six_bits));
        vst4q_u8(dst, text);
        src += BYTES;
        dst += CHARACTERS;
    }
    iwp_base64_encode_scalar(dst, src, src_bytes);
}

#endif
