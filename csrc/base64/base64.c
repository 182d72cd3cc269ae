/* base64 by RFC 4648: the checks, the last group of a text, and the scalar kernels. */
#include "base64/iwp_base64.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "common/iwp_table.h"
#include "include/iw_api.h"

/*
 * There is one table for each of the four characters of a group. A table maps a character to
 * its six bits, at their place in the word below. The three bytes of the word are the decoded
 * group. A character outside the alphabet is mapped to OUTSIDE_MARK.
 *
 *   byte 2     byte 1     byte 0
 *   ccdddddd   bbbbcccc   aaaaaabb
 */
#define OUTSIDE_MARK 0x80000000u
#define PLACED(character, bits)                                                                \
    (IWP_BASE64_VALUE(character) == IWP_BASE64_OUTSIDE ? OUTSIDE_MARK : (uint32_t)(bits))
#define V(character) IWP_BASE64_VALUE(character)
#define AS_A(character) PLACED(character, V(character) << 2)
#define AS_B(character) PLACED(character, V(character) >> 4 | (V(character) & 15) << 12)
#define AS_C(character) PLACED(character, V(character) >> 2 << 8 | (V(character) & 3) << 22)
#define AS_D(character) PLACED(character, V(character) << 16)

static const uint32_t as_a[256] = {IWP_TABLE_256(AS_A)};
static const uint32_t as_b[256] = {IWP_TABLE_256(AS_B)};
static const uint32_t as_c[256] = {IWP_TABLE_256(AS_C)};
static const uint32_t as_d[256] = {IWP_TABLE_256(AS_D)};

IWP_INLINE int is_outside(uint8_t character)
{
    return as_a[character] == OUTSIDE_MARK;
}

/*
 * Decode a last group of two to four characters into one to three bytes. Returns `characters`,
 * or 0 if a character is outside the alphabet.
 */
IWP_INLINE size_t decode_last_group(uint8_t *dst, const uint8_t *src, size_t characters)
{
    uint32_t bytes = as_a[src[0]] | as_b[src[1]];

    if (characters > 2)
        bytes |= as_c[src[2]];
    if (characters > 3)
        bytes |= as_d[src[3]];
    if (bytes & OUTSIDE_MARK)
        return 0;
    dst[0] = (uint8_t)bytes;
    if (characters > 2)
        dst[1] = (uint8_t)(bytes >> 8);
    if (characters > 3)
        dst[2] = (uint8_t)(bytes >> 16);
    return characters;
}

size_t iwp_base64_decode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at;

    for (at = 0; src_bytes - at >= 6; at += 4, dst += 3) {
        const uint8_t *group = src + at;
        const uint32_t bytes =
            as_a[group[0]] | as_b[group[1]] | as_c[group[2]] | as_d[group[3]];

        if (bytes & OUTSIDE_MARK)
            return at;
        memcpy(dst, &bytes, 4); /* the next group overwrites the fourth byte */
    }
    return at == src_bytes ? at : at + decode_last_group(dst, src + at, src_bytes - at);
}

/* A table from 12 bits to two characters. The first character is in the low byte. */
#define PAIR(bits)                                                                             \
    (uint16_t)(IWP_BASE64_CHARACTER((bits) >> 6) | IWP_BASE64_CHARACTER((bits) & 63) << 8)

static const uint16_t pair_of[4096] = {IWP_TABLE_4096(PAIR)};

IWP_INLINE void encode_group(uint8_t *dst, uint32_t bits)
{
    memcpy(dst, &pair_of[bits >> 12], 2);
    memcpy(dst + 2, &pair_of[bits & 4095], 2);
}

void iwp_base64_encode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at;

    for (at = 0; at < src_bytes; at += 3, dst += 4)
        encode_group(dst, (uint32_t)src[at] << 16 | (uint32_t)src[at + 1] << 8 | src[at + 2]);
}

/*
 * Return whether the last character before the padding has a bit set that is not part of a
 * decoded byte. `characters` is how many characters are before the padding, two or three.
 */
static int has_left_over_bits(uint8_t last, size_t characters)
{
    return (as_a[last] >> 2 & (characters == 2 ? 0x0fu : 0x03u)) != 0;
}

struct iwp_base64_span iwp_base64_decode_until(uint8_t *dst, size_t dst_bytes,
                                               const uint8_t *src, size_t src_bytes)
{
    const size_t room_groups = dst_bytes / 3;
    const size_t groups = src_bytes / 4 < room_groups ? src_bytes / 4 : room_groups;
    const size_t read = iwp_kernels_active()->base64_decode(dst, src, groups * 4);
    struct iwp_base64_span span = {read, read / 4 * 3};
    size_t characters;

    if (src_bytes - read < 4 || src[read + 3] != '=')
        return span;
    characters = src[read + 2] == '=' ? 2 : 3;
    if (dst_bytes - span.written_bytes < characters - 1 ||
        has_left_over_bits(src[read + characters - 1], characters) ||
        decode_last_group(dst + span.written_bytes, src + read, characters) == 0)
        return span;
    span.read_bytes += 4;
    span.written_bytes += characters - 1;
    return span;
}

/* Return the count of decoded bytes. `characters` is the text's length without padding. */
static size_t decoded_bytes(size_t characters)
{
    return characters / 4 * 3 + characters % 4 * 3 / 4;
}

ptrdiff_t iw_base64_decode(uint8_t *dst, size_t dst_bytes, const uint8_t *src, size_t src_bytes)
{
    const int padded = src_bytes >= 4 && src[src_bytes - 1] == '=';
    const size_t padding = padded ? 1u + (src[src_bytes - 2] == '=') : 0;
    const size_t characters = src_bytes - padding;
    size_t position;

    if (src_bytes % 4 != 0)
        return iw_base64_fault(&position, src, src_bytes);
    if (decoded_bytes(characters) > dst_bytes)
        return IW_NO_ROOM;
    if (iwp_kernels_active()->base64_decode(dst, src, characters) != characters ||
        (padded && has_left_over_bits(src[characters - 1], 4 - padding)))
        return iw_base64_fault(&position, src, src_bytes);
    return (ptrdiff_t)decoded_bytes(characters);
}

/* Return the fault of a text whose first character outside the alphabet is '=', at `first`. */
static enum iw_status padding_fault(size_t *position, const uint8_t *src, size_t src_bytes,
                                    size_t first)
{
    const size_t in_group = first % 4;

    *position = first;
    if (in_group < 2 || src_bytes != first + 4 - in_group || src[src_bytes - 1] != '=')
        return IW_BAD_PADDING;
    *position = first - 1;
    return has_left_over_bits(src[first - 1], in_group) ? IW_BAD_BITS : IW_OK;
}

enum iw_status iw_base64_fault(size_t *position, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    while (at < src_bytes && !is_outside(src[at]))
        at++;
    if (at < src_bytes && src[at] == '=')
        return padding_fault(position, src, src_bytes, at);
    *position = at;
    if (at < src_bytes)
        return IW_BAD_CHARACTER;
    return src_bytes % 4 == 0 ? IW_OK : IW_BAD_LENGTH;
}

ptrdiff_t iw_base64_encode(uint8_t *dst, size_t dst_bytes, const uint8_t *src, size_t src_bytes)
{
    const size_t rest = src_bytes % 3;
    const size_t whole_bytes = src_bytes - rest;
    const size_t groups = src_bytes / 3 + (rest != 0);
    uint8_t *last;

    if (groups > dst_bytes / 4)
        return IW_NO_ROOM;
    iwp_kernels_active()->base64_encode(dst, src, whole_bytes);
    if (rest != 0) {
        last = dst + whole_bytes / 3 * 4;
        encode_group(last, (uint32_t)src[whole_bytes] << 16 |
                               (rest == 2 ? (uint32_t)src[whole_bytes + 1] << 8 : 0));
        memset(last + rest + 1, '=', 3 - rest);
    }
    return (ptrdiff_t)(groups * 4);
}
